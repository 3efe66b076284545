// The views that shots.mjs makes pictures of, and checks.

const DIALOG = 'dialog';
const MENU = '[role=menu]';
const HYPERVISORS = '[aria-labelledby=s-hypervisors]';
/** Another view has all of it. */
const NOTHING = 'nothing';

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

const hypervisors = async (page) => {
  await to('settings')(page);
  await page.getByRole('heading', { name: 'Hypervisors' }).evaluate((e) => e.scrollIntoView());
};
const wrongProgram = async (page) => {
  await to('settings')(page);
  const block = page.getByTestId('hypervisor-qemu');
  await block.getByRole('textbox').fill('/opt/nothing/bin');
  await block.getByRole('button', { name: 'Save' }).click();
  await block.getByTestId('error').waitFor();
};

const addPrivate = async (page) => {
  await page.getByTestId('add-source').click();
  await page.getByTestId('source-url').fill('https://campus.example.org/private/catalog.atom');
  await page.getByTestId('source-confirm').click();
  await page.getByTestId('sign-in').click();
};

/**
 * Every screen: its name, its scene, the way to it, and the part of it that no other view has, if that is not all of it. What
 * lies behind a dialog or menu is checked once, in its own view.
 */
export const VIEWS = [
  ['library', 'lively'],
  ['library-empty', 'empty'],
  ['library-offline', 'offline'],
  ['library-many', 'many', async (page) => page.locator('.screen-body').evaluate((e) => e.scrollBy(0, 20000))],
  ['library-nothing', 'lively', async (page) => page.getByTestId('search').fill('qwertz')],
  ['library-filter', 'lively', async (page) => page.getByRole('button', { name: 'Education' }).click()],
  ['add-source', 'lively', async (page) => page.getByTestId('add-source').click(), DIALOG],
  [
    'add-source-error',
    'lively',
    async (page) => {
      await page.getByTestId('add-source').click();
      await page.getByTestId('source-url').fill('https://unreachable.example.org/catalog.atom');
      await page.getByTestId('source-confirm').click();
      await page.getByTestId('error').waitFor();
    },
    DIALOG,
  ],
  [
    'sign-in',
    'lively',
    async (page) => {
      await addPrivate(page);
      await page.getByTestId('sign-in-user').fill('ada');
      await page.getByTestId('sign-in-password').fill('wrong');
      await page.getByTestId('sign-in-confirm').click();
      await page.locator('dialog').last().getByTestId('error').waitFor();
    },
    DIALOG,
  ],
  [
    'settings-logins',
    'lively',
    async (page) => {
      await addPrivate(page);
      await page.getByTestId('sign-in-user').fill('ada');
      await page.getByTestId('sign-in-password').fill('right');
      await page.getByTestId('sign-in-confirm').click();
      await page.locator('dialog').first().waitFor({ state: 'detached' });
      await to('settings')(page);
      await page.getByRole('heading', { name: 'Signed in to' }).evaluate((e) => e.scrollIntoView({ block: 'nearest' }));
    },
    '[aria-labelledby=s-logins]',
  ],
  [
    'subscribe',
    'lively',
    async (page) => {
      await card(page, 'forensics-101').getByTestId('state-button').click();
      await page.getByTestId('fingerprint').waitFor();
    },
    DIALOG,
  ],
  [
    'subscribe-error',
    'failed',
    async (page) => {
      await card(page, 'net-lab').getByTestId('state-button').click();
      await page.locator('dialog').getByTestId('error').waitFor();
    },
    DIALOG,
  ],
  ['machines', 'lively', to('machines')],
  ['machines-running', 'running', to('machines')],
  ['machines-failed', 'failed', to('machines')],
  ['machines-offline', 'offline', to('machines')],
  ['machines-empty', 'empty', to('machines')],
  ['machines-menu', 'lively', menu('Rust Workshop'), MENU],
  ['machines-kept', 'kept', to('machines')],
  ['machines-kept-menu', 'kept', menu('Net Lab'), MENU],
  ['machines-suspended-menu', 'kept', menu('Debian Desktop'), MENU],
  ['machines-running-menu', 'running', menu('Net Lab'), MENU],
  ['step-revert', 'kept', step('Debian Desktop', 'Revert…'), DIALOG],
  ['step-reset', 'kept', step('Net Lab', 'Reset changes…'), DIALOG],
  ['step-unkeep', 'kept', step('Net Lab', 'Keep changes'), DIALOG],
  ['step-keep', 'kept', step('Signal Bench', 'Keep changes'), DIALOG],
  ['step-cd', 'kept', step('Net Lab', 'Start with a CD…'), DIALOG],
  [
    'step-grow',
    'kept',
    async (page) => {
      await step('Net Lab', 'Make a disk larger…')(page);
      await page.getByTestId('grow-size').fill('7');
    },
    DIALOG,
  ],
  ['step-export', 'kept', step('Net Lab', 'Export…'), DIALOG],
  ['step-export-running', 'lively', step('Net Lab', 'Export…'), DIALOG],
  ['step-updates', 'kept', step('Signal Bench', 'Updates…'), DIALOG],
  ['step-rollback', 'kept', step('Net Lab', 'Roll back…'), DIALOG],
  ['page-suspended', 'kept', pageMenu('debian-desktop', 'Debian Desktop'), MENU],
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
    DIALOG,
  ],
  ['page', 'lively', open('gis-studio', 'GIS Studio')],
  ['page-passed-over', 'lively', open('net-lab', 'Net Lab')],
  ['page-unsubscribed', 'lively', async (page) => card(page, 'forensics-101').getByRole('button', { name: 'Forensics 101', exact: true }).click()],
  ['activity', 'lively', to('activity')],
  [
    'activity-map',
    'lively',
    async (page) => {
      await to('activity')(page);
      await page.getByText('Block map').first().click();
      await page.getByTestId('block-map').waitFor();
    },
  ],
  ['activity-failed', 'failed', to('activity')],
  ['activity-offline', 'offline', to('activity')],
  ['activity-empty', 'empty', to('activity')],
  ['settings', 'lively', to('settings')],
  [
    'settings-store',
    'lively',
    async (page) => {
      await to('settings')(page);
      await page.getByText('livepc store move').evaluate((e) => e.scrollIntoView({ block: 'nearest' }));
    },
    NOTHING,
  ],
  ['settings-hypervisors', 'lively', hypervisors, NOTHING],
  ['settings-hypervisors-none', 'failed', hypervisors, HYPERVISORS],
  ['settings-hypervisors-slow', 'offline', hypervisors, NOTHING],
  ['settings-hypervisors-error', 'lively', wrongProgram, HYPERVISORS],
  [
    'settings-prune',
    'lively',
    async (page) => {
      await to('settings')(page);
      await page.getByTestId('prune').click();
      await page.getByTestId('prune-go').waitFor();
    },
    DIALOG,
  ],
  [
    'settings-prune-wanted',
    'lively',
    async (page) => {
      await to('settings')(page);
      await page.getByTestId('prune').click();
      await page.getByTestId('prune-kept').getByRole('checkbox').check();
      await page.getByText('Net Lab, 3.0').waitFor();
    },
    DIALOG,
  ],
  ['settings-offline', 'offline', to('settings')],
  ['shortcuts', 'lively', async (page) => page.keyboard.press('F1'), DIALOG],
  [
    'toast',
    'failed',
    async (page) => {
      await to('machines')(page);
      await page.locator('[data-testid=machine-row][data-id=gis-studio]').getByTestId('state-button').click();
      await page.locator('.toasts').getByTestId('error').waitFor();
    },
    '.toasts',
  ],
  ['alike', 'alike'],
  [
    'alike-cards',
    'alike',
    async (page) => card(page, 'plan-9').evaluate((e) => e.scrollIntoView({ block: 'center' })),
    NOTHING,
  ],
  [
    'alike-subscribe',
    'alike',
    async (page) => {
      await card(page, 'plan-9').getByTestId('state-button').click();
      await page.getByTestId('fingerprint').waitFor();
    },
    DIALOG,
  ],
  ['alike-machines', 'alike', to('machines')],
  ['alike-page', 'alike', open('net-lab', 'Net Lab')],
  ['mended', 'mended'],
  ['mended-all', 'mended', async (page) => page.getByRole('button', { name: 'Show all' }).click(), '[data-testid=state-notice]'],
  ['mended-machines', 'mended', to('machines')],
  ['mended-page', 'mended', open('gis-studio', 'GIS Studio')],
  [
    'mended-omitted',
    'mended',
    async (page) => {
      await to('machines')(page);
      await page.getByTestId('omitted').evaluate((e) => e.scrollIntoView({ block: 'nearest' }));
    },
    NOTHING,
  ],
  ['away', 'away', async (page) => page.getByTestId('error').first().waitFor()],
  ['buttons', 'buttons'],
];
