// Screenshots of every screen with the invented host, in light and dark at two sizes, and accessibility checks of each.
//   node scripts/shots.mjs [outdir] [--only=name] [--axe-only]
// The page is served with the app's content security policy, so that a violation shows here first.
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import AxeBuilder from '@axe-core/playwright';
import { chromium } from 'playwright-core';
import { build, preview } from 'vite';

const args = process.argv.slice(2);
const flag = (name) => args.find((a) => a.startsWith(`--${name}=`))?.slice(name.length + 3);
const axeOnly = args.includes('--axe-only');
const only = flag('only');
const out = resolve(args.find((a) => !a.startsWith('--')) ?? join(tmpdir(), 'livepc-shots'));
const CSP =
  "default-src 'self'; img-src 'self' data:; style-src 'self'; connect-src ipc: http://ipc.localhost; base-uri 'none'; object-src 'none'";

const to = (screen) => async (page) => page.getByTestId(`nav-${screen}`).click();
const card = (page, slug) => page.locator(`[data-testid=card][data-feed*="/${slug}/"]`);

const open = (slug, title) => async (page) => {
  await card(page, slug).getByRole('button', { name: title, exact: true }).click();
  await page.locator('ol li').first().waitFor();
};
const pageMenu = (slug, title) => async (page) => {
  await open(slug, title)(page);
  await page.getByRole('button', { name: `More about ${title}` }).click();
};
const menu = (title) => async (page) => {
  await to('machines')(page);
  await page.getByRole('button', { name: `More about ${title}` }).click();
};
const step = (title, item) => async (page) => {
  await menu(title)(page);
  await page.getByRole('menu').getByText(item, { exact: true }).click();
  await page.locator('dialog').waitFor();
};

/** Every screen: its name, its scene, and the way to it. */
const SHOTS = [
  ['library', 'lively'],
  ['library-empty', 'empty'],
  ['library-offline', 'offline'],
  ['library-many', 'many', async (page) => page.locator('.screen-body').evaluate((e) => e.scrollBy(0, 20000))],
  ['library-nothing', 'lively', async (page) => page.getByTestId('search').fill('qwertz')],
  ['library-filter', 'lively', async (page) => page.getByRole('button', { name: 'Education' }).click()],
  ['add-source', 'lively', async (page) => page.getByTestId('add-source').click()],
  [
    'add-source-error',
    'lively',
    async (page) => {
      await page.getByTestId('add-source').click();
      await page.getByTestId('source-url').fill('https://unreachable.example.org/catalog.atom');
      await page.getByTestId('source-confirm').click();
      await page.getByTestId('error').waitFor();
    },
  ],
  [
    'subscribe',
    'lively',
    async (page) => {
      await card(page, 'forensics-101').getByTestId('state-button').click();
      await page.getByTestId('fingerprint').waitFor();
    },
  ],
  [
    'subscribe-error',
    'failed',
    async (page) => {
      await card(page, 'net-lab').getByTestId('state-button').click();
      await page.locator('dialog').getByTestId('error').waitFor();
    },
  ],
  ['machines', 'lively', to('machines')],
  ['machines-running', 'running', to('machines')],
  ['machines-failed', 'failed', to('machines')],
  ['machines-offline', 'offline', to('machines')],
  ['machines-empty', 'empty', to('machines')],
  ['machines-menu', 'lively', menu('Rust Workshop')],
  ['machines-kept', 'kept', to('machines')],
  ['machines-kept-menu', 'kept', menu('Net Lab')],
  ['machines-suspended-menu', 'kept', menu('Debian Desktop')],
  ['machines-running-menu', 'running', menu('Net Lab')],
  ['step-revert', 'kept', step('Debian Desktop', 'Revert…')],
  ['step-reset', 'kept', step('Net Lab', 'Reset changes…')],
  ['step-unkeep', 'kept', step('Net Lab', 'Keep changes')],
  ['step-keep', 'kept', step('Signal Bench', 'Keep changes')],
  ['step-updates', 'kept', step('Signal Bench', 'Updates…')],
  ['step-rollback', 'kept', step('Net Lab', 'Roll back…')],
  ['page-suspended', 'kept', pageMenu('debian-desktop', 'Debian Desktop')],
  ['page-kept', 'kept', pageMenu('net-lab', 'Net Lab')],
  ['page-pinned', 'kept', open('signal-bench', 'Signal Bench')],
  ['page-resting', 'kept', open('debian-desktop', 'Debian Desktop')],
  ['page-rollback', 'kept', open('gis-studio', 'GIS Studio')],
  [
    'unsubscribe',
    'lively',
    async (page) => {
      await to('machines')(page);
      await page.locator('[data-testid=machine-row][data-id=gis-studio]').focus();
      await page.keyboard.press('Delete');
      await page.locator('dialog input[value=delete]').check();
    },
  ],
  ['page', 'lively', open('gis-studio', 'GIS Studio')],
  ['page-unsubscribed', 'lively', async (page) => card(page, 'forensics-101').getByRole('button', { name: 'Forensics 101', exact: true }).click()],
  ['activity', 'lively', to('activity')],
  ['activity-failed', 'failed', to('activity')],
  ['activity-offline', 'offline', to('activity')],
  ['activity-empty', 'empty', to('activity')],
  ['settings', 'lively', to('settings')],
  ['settings-offline', 'offline', to('settings')],
  ['shortcuts', 'lively', async (page) => page.keyboard.press('F1')],
  [
    'toast',
    'failed',
    async (page) => {
      await to('machines')(page);
      await page.locator('[data-testid=machine-row][data-id=gis-studio]').getByTestId('state-button').click();
      await page.locator('.toasts').getByTestId('error').waitFor();
    },
  ],
  ['away', 'away', async (page) => page.getByTestId('error').first().waitFor()],
  ['buttons', 'buttons'],
];
const SIZES = [
  { width: 1280, height: 800 },
  { width: 900, height: 600 },
];

const dist = join(tmpdir(), `livepc-ui-${process.pid}`);
await build({ mode: 'shots', logLevel: 'warn', build: { outDir: dist, emptyOutDir: true } });
const server = await preview({
  build: { outDir: dist },
  preview: { port: 0, host: '127.0.0.1', headers: { 'Content-Security-Policy': CSP } },
});
const address = server.resolvedUrls?.local[0] ?? '';
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] });
await mkdir(out, { recursive: true });
const faults = [];

for (const scheme of ['light', 'dark']) {
  for (const size of axeOnly ? SIZES.slice(0, 1) : SIZES) {
    const context = await browser.newContext({ viewport: size, colorScheme: scheme, reducedMotion: 'reduce', bypassCSP: false });
    for (const [name, scene, go] of SHOTS) {
      if (only && !name.startsWith(only)) continue;
      const label = `${name}-${scheme}-${size.width}`;
      const page = await context.newPage();
      page.on('pageerror', (error) => faults.push(`${label}: ${error.message}`));
      page.on('console', (message) => {
        if (message.type() === 'error') faults.push(`${label}: ${message.text()}`);
      });
      try {
        await page.goto(`${address}?scene=${scene}&still`);
        await page.getByRole('heading', { level: 1 }).first().waitFor();
        await page.waitForFunction(() => document.querySelector('[data-testid=card], .empty, [data-testid=error], [data-testid=state-button]'));
        await go?.(page);
        // Answers of the invented host take 60 ms; the last of them may still be on its way.
        await page.waitForTimeout(250);
        if (!axeOnly) await page.screenshot({ path: join(out, `${label}.png`) });
        if (size.width === SIZES[0].width) {
          const { violations } = await new AxeBuilder({ page }).analyze();
          for (const v of violations) {
            faults.push(`${label}: ${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160) + ' | ' + (n.any[0]?.message ?? '')).join('\n    ')}`);
          }
        }
      } catch (error) {
        faults.push(`${label}: ${error.message.split('\n').slice(0, 4).join(' ')}`);
      }
      await page.close();
    }
    await context.close();
  }
}

await browser.close();
await new Promise((done) => server.httpServer.close(done));
console.log(axeOnly ? 'Checked.' : `Screenshots are in ${out}.`);
if (faults.length > 0) {
  console.error(faults.join('\n'));
  process.exitCode = 1;
}
