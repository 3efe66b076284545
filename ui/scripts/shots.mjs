// Screenshots of every screen with the invented host, in light and dark at two sizes, and accessibility checks of each.
//   node scripts/shots.mjs [outdir] [--only=name] [--axe-only]
// The page is served with the app's content security policy, so that a violation shows here first.
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import AxeBuilder from '@axe-core/playwright';
import { chromium } from 'playwright-core';
import { build, preview } from 'vite';
import { VIEWS } from './views.mjs';

const args = process.argv.slice(2);
const flag = (name) => args.find((a) => a.startsWith(`--${name}=`))?.slice(name.length + 3);
const axeOnly = args.includes('--axe-only');
const only = flag('only');
const out = resolve(args.find((a) => !a.startsWith('--')) ?? join(tmpdir(), 'livepc-shots'));
const CSP =
  "default-src 'self'; img-src 'self' data:; style-src 'self'; connect-src ipc: http://ipc.localhost; base-uri 'none'; object-src 'none'";
const SIZES = [
  { width: 1280, height: 800 },
  { width: 900, height: 600 },
];
const SCHEMES = ['light', 'dark'];
const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
/** The rules that depend on colours: all that can differ where the same page is dark. */
const COLOURS = ['color-contrast', 'link-in-text-block'];

const begun = Date.now();
const seconds = (since) => `${((Date.now() - since) / 1000).toFixed(1)} s`;
const dist = join(tmpdir(), `livepc-ui-${process.pid}`);
await build({ mode: 'shots', logLevel: 'warn', build: { outDir: dist, emptyOutDir: true } });
const server = await preview({
  build: { outDir: dist },
  preview: { port: 0, host: '127.0.0.1', headers: { 'Content-Security-Policy': CSP } },
});
const address = server.resolvedUrls?.local[0] ?? '';
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] });
await mkdir(out, { recursive: true });
console.log(`Built and begun in ${seconds(begun)}.`);

const faults = [];
let label = '';
let checks = 0;
const fault = (text) => faults.push(`${label}: ${text}`);

async function newPage() {
  const page = await browser.newPage({ reducedMotion: 'reduce', bypassCSP: false });
  page.on('pageerror', (error) => fault(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error') fault(message.text());
  });
  return page;
}

/** Waits until what was set off has been drawn: the invented host answers at once. */
async function settle(page) {
  await page.evaluate(() => new Promise((done) => setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(done)), 20)));
}

async function check(page, part, scheme) {
  const runOnly = scheme === SCHEMES[0] ? { type: 'tag', values: TAGS } : { type: 'rule', values: COLOURS };
  // The other mode would open a second page for each check; it is for frames of other origins.
  const axe = new AxeBuilder({ page }).options({ runOnly, resultTypes: ['violations'] }).setLegacyMode();
  if (part) axe.include(part);
  const { violations } = await axe.analyze();
  checks++;
  for (const v of violations) {
    fault(`${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160) + ' | ' + (n.any[0]?.message ?? '')).join('\n    ')}`);
  }
}

/** Opens a view once, and looks at it in each colour scheme: those are the same page. */
async function look(page, [name, scene, go, part], size) {
  label = `${name}-${size.width}`;
  await page.emulateMedia({ colorScheme: SCHEMES[0] });
  await page.goto(`${address}?scene=${scene}&still`);
  await page.getByRole('heading', { level: 1 }).first().waitFor();
  await page.waitForFunction(() => document.querySelector('[data-testid=card], .empty, [data-testid=error], [data-testid=state-button]'));
  await go?.(page);
  for (const scheme of SCHEMES) {
    label = `${name}-${scheme}-${size.width}`;
    await page.emulateMedia({ colorScheme: scheme });
    await settle(page);
    if (!axeOnly) await page.screenshot({ path: join(out, `${label}.png`) });
    if (size === SIZES[0] && part !== 'nothing') await check(page, part, scheme);
  }
}

const wanted = ([name, , , part]) => (!only || name.startsWith(only)) && !(axeOnly && part === 'nothing');
const views = VIEWS.filter(wanted);
const page = await newPage();
for (const size of axeOnly ? SIZES.slice(0, 1) : SIZES) {
  await page.setViewportSize(size);
  for (const view of views) {
    const [since, before] = [Date.now(), faults.length];
    try {
      await look(page, view, size);
    } catch (error) {
      fault(error.message.split('\n').slice(0, 4).join(' '));
    }
    const found = faults.length - before;
    console.log(`${String(size.width).padStart(5)}  ${view[0].padEnd(28)} ${seconds(since).padStart(7)}${found > 0 ? `  ${found} at fault` : ''}`);
  }
}

await browser.close();
await new Promise((done) => server.httpServer.close(done));
if (faults.length > 0) {
  console.error(faults.join('\n'));
  process.exitCode = 1;
}
console.log(`${views.length} views, ${checks} checks, ${faults.length} faults, ${seconds(begun)}.${axeOnly ? '' : ` Screenshots are in ${out}.`}`);
