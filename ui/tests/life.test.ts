import { fireEvent, render, screen, waitFor, within } from '@testing-library/svelte';
import { describe, expect, it } from 'vitest';
import AppView from '../src/App.svelte';
import { App, type Step } from '../src/lib/app.svelte';
import type { LivePc } from '../src/lib/bindings/LivePc';
import type { MachineState } from '../src/lib/bindings/MachineState';
import type { Request } from '../src/lib/bindings/Request';
import { FakeHost } from '../src/lib/fake';
import { releases } from '../src/lib/fake/content';
import { bytes, since } from '../src/lib/format';
import { sample } from '../src/lib/samples';
import { menuOf } from '../src/machines/menu';
import { lifeFacts, releaseName, staysOn, storeFacts } from '../src/machines/status';
import { earlier, planOf } from '../src/machines/steps';

const plain = (text: string | null | undefined) => (text ?? '').replace(/[\u00a0\u202f]/g, ' ').replace(/\s+/g, ' ').trim();
const STATES: MachineState[] = ['absent', 'preparing', 'ready', 'starting', 'running', 'stalled', 'suspended', 'stopping', 'stopped', 'failed'];

/** Only what changes something; not what asks or reads. */
const steps = (host: FakeHost) =>
  host.asked.filter((r) => ['suspend', 'revert', 'reset', 'keep', 'set-policy', 'pin', 'rollback', 'stop', 'start'].includes(r.verb));

describe('the menu', () => {
  const labels = (over: Partial<LivePc>) => menuOf(sample(over), new App(new FakeHost()), false).flat().map((i) => i.label);
  const EXPECTED: Record<string, MachineState[]> = {
    Suspend: ['running'],
    'Stop at once…': ['starting', 'running', 'stalled', 'stopping'],
    'Revert…': ['suspended'],
    'Reset changes…': ['ready', 'stopped', 'failed'],
    'Roll back…': ['ready', 'stopped', 'failed'],
    'Keep changes': STATES,
    'Updates…': STATES,
    'Unsubscribe…': STATES,
  };
  for (const [label, states] of Object.entries(EXPECTED)) {
    it(`offers ${label} where it can be done`, () => {
      const found = STATES.filter((state) => labels({ state, changes_bytes: 1e6 }).includes(label));
      expect(found).toEqual(states);
    });
  }

  it('resets only what was changed, and goes back only from a release that is not the first', () => {
    expect(labels({ changes_bytes: 0 })).not.toContain('Reset changes…');
    expect(labels({ release_in_use: 1, release_available: 1 })).not.toContain('Roll back…');
  });

  it('has what is damaged fetched again when what is here is verified', () => {
    const host = new FakeHost();
    menuOf(sample(), new App(host), false).flat().find((i) => i.label === 'Verify what is here')?.run();
    expect(host.asked).toContainEqual({ verb: 'verify', id: 'net-lab', repair: true });
  });

  it('leads back to the newest release from a chosen one only', async () => {
    expect(labels({})).not.toContain('Use the newest release');
    const host = new FakeHost({ scene: 'kept' });
    const item = menuOf(sample({ id: 'signal-bench', pinned: 4 }), new App(host), false).flat().find((i) => i.label === 'Use the newest release');
    item?.run();
    expect(steps(host)).toEqual([{ verb: 'pin', id: 'signal-bench', release: null }]);
  });

  it('says whether changes are kept, and asks only where keeping or not has a price', () => {
    const host = new FakeHost({ scene: 'kept' });
    const app = new App(host);
    const toggle = (over: Partial<LivePc>) => {
      app.asking = null;
      const item = menuOf(sample(over), app, false).flat().find((i) => i.label === 'Keep changes');
      item?.run();
      return [item?.checked, (app.asking as { step: Step } | null)?.step];
    };
    expect(toggle({})).toEqual([false, 'keep']);
    expect(toggle({ keep_changes: true, changes_bytes: 1 })).toEqual([true, 'unkeep']);
    expect(steps(host), 'nothing is lost before it was named').toEqual([]);
    expect(toggle({ keep_changes: true })).toEqual([true, undefined]);
    expect(steps(host)).toEqual([{ verb: 'keep', id: 'net-lab', keep: false }]);
  });
});

describe('what is said', () => {
  it('of a release is its label where that is known', () => {
    const livepc = sample({ release_in_use: 6, label_in_use: 'six', release_available: 7, label_available: 'seven' });
    expect([releaseName(livepc, 6), releaseName(livepc, 7), releaseName(livepc, 5)]).toEqual(['six', 'seven', 'no. 5']);
    expect(releaseName(livepc, 5, releases('net-lab', 7))).toBe('5.0');
  });

  it('of the disk is what unsubscribing frees, and what others need too', () => {
    expect(storeFacts(sample({ store_bytes_private: 0, store_bytes_shared: 0 }))).toEqual([]);
    expect(storeFacts(sample({ store_bytes_private: 2e9, store_bytes_shared: 0 }))).toEqual([{ name: 'On disk', value: bytes(2e9) }]);
    const [shared] = storeFacts(sample({ store_bytes_private: 0, store_bytes_shared: 3e9 }));
    expect([shared?.value, shared?.note]).toEqual([bytes(0), `and ${bytes(3e9)} shared with others`]);
  });

  it('of staying is the chosen release, else the one that changes belong to', () => {
    expect(staysOn(sample())).toBeNull();
    expect(staysOn(sample({ pinned: 7 }))).toBe('7.0');
    expect(staysOn(sample({ keep_changes: true, release_in_use: 7, release_available: 9, label_available: '9.0' }))).toBe('7.0');
  });

  it('in the facts has sizes', () => {
    const rows = lifeFacts(sample({ suspended: new Date(2026, 4, 9, 9, 5).toISOString(), suspended_bytes: 1.1e9, changes_bytes: 96e6, policy: 'notify' }));
    expect(rows.map((r) => [r.name, plain(`${r.value} ${r.note ?? ''}`)])).toEqual([
      ['Suspended', 'since May 9, 2026, 1.1 GB of memory'],
      ['Changes', '96 MB not kept'],
      ['Updates', 'ask first'],
    ]);
  });

  it('of a time is short: today’s by the clock, others by the date', () => {
    const now = new Date(2026, 4, 10, 18, 0);
    expect(plain(since(new Date(2026, 4, 10, 9, 5).toISOString(), now))).toBe('9:05 AM');
    expect(since(new Date(2026, 4, 9, 9, 5).toISOString(), now)).toBe('May 9, 2026');
    expect(since('nonsense')).toBe('nonsense');
  });

  it('to be lost by a revert are the changes too, unless they are kept', () => {
    const of = (keep_changes: boolean) => planOf('revert', sample({ state: 'suspended', suspended_bytes: 5, changes_bytes: 7, keep_changes })).losses.map((l) => l.bytes);
    expect(of(false)).toEqual([5, 7]);
    expect(of(true)).toEqual([5]);
  });

  it('to go back to are earlier releases that their publisher did not take back', () => {
    expect(earlier(sample({ release_in_use: 7 }), releases('net-lab', 7)).map((r) => r.sequence)).toEqual([6, 4]);
    expect(earlier(sample({ pinned: 6 }), releases('net-lab', 7)).map((r) => r.sequence), 'earlier than the chosen one').toEqual([4]);
    expect(earlier(sample({ rollback_to: 5 }), releases('net-lab', 7)).map((r) => r.sequence), 'and what the agent offers').toEqual([6, 5, 4]);
  });
});

async function machines() {
  const host = new FakeHost({ scene: 'kept' });
  render(AppView, { host });
  await fireEvent.click(screen.getByTestId('nav-machines'));
  await waitFor(() => expect(screen.getAllByTestId('machine-row')).toHaveLength(4));
  return host;
}

const row = (id: string) => document.querySelector<HTMLElement>(`[data-testid=machine-row][data-id=${id}]`)!;

async function choose(id: string, label: string) {
  await fireEvent.click(within(row(id)).getByRole('button', { name: /^More about/ }));
  await fireEvent.click(within(await within(row(id)).findByRole('menu')).getByText(label));
}

describe('a step that gives something up', () => {
  const CASES: [id: string, item: string, step: Step, losses: string[], request: Request][] = [
    ['debian-desktop', 'Revert…', 'revert', ['What it has in memory 1.1 GB', 'Changes of the system disk 96 MB'], { verb: 'revert', id: 'debian-desktop' }],
    ['net-lab', 'Reset changes…', 'reset', ['Changes of the system disk 420 MB'], { verb: 'reset', id: 'net-lab' }],
    ['net-lab', 'Keep changes', 'unkeep', ['Changes of the system disk 420 MB'], { verb: 'keep', id: 'net-lab', keep: false }],
    ['net-lab', 'Roll back…', 'rollback', ['Changes of the system disk 420 MB'], { verb: 'rollback', id: 'net-lab', release: 6 }],
  ];
  for (const [id, item, step, losses, request] of CASES) {
    it(`${step} names what is lost, has the focus on Cancel, and asks only after the yes`, async () => {
      const host = await machines();
      await choose(id, item);
      const confirm = await screen.findByTestId(`confirm-${step}`);
      await waitFor(() => expect((confirm as HTMLButtonElement).disabled).toBe(false));
      expect(document.activeElement?.textContent).toBe('Cancel');
      expect(confirm.classList.contains('danger'), 'it looks like what it is').toBe(true);
      const list = screen.getByRole('list', { name: 'This is lost', hidden: true });
      expect([...list.querySelectorAll('li')].map((li) => plain(li.textContent))).toEqual(losses);
      await fireEvent.click(screen.getByText('Cancel'));
      expect(screen.queryByTestId(`confirm-${step}`)).toBeNull();
      expect(steps(host)).toEqual([]);

      await choose(id, item);
      const again = await screen.findByTestId(`confirm-${step}`);
      await waitFor(() => expect((again as HTMLButtonElement).disabled).toBe(false));
      await fireEvent.click(again);
      await waitFor(() => expect(screen.queryByTestId(`confirm-${step}`)).toBeNull());
      expect(steps(host)).toEqual([request]);
    });
  }

  it('shows a refusal in its dialog, and stays open', async () => {
    const host = await machines();
    await choose('net-lab', 'Reset changes…');
    host.call = () => Promise.reject({ code: 'busy', message: 'Its disk is in use.', hint: '' });
    await fireEvent.click(await screen.findByTestId('confirm-reset'));
    const dialog = screen.getByTestId('confirm-reset').closest('dialog')!;
    expect(await within(dialog).findByText('Its disk is in use.')).toBeTruthy();
  });

  it('unsubscribing names the memory of what is suspended', async () => {
    await machines();
    await fireEvent.keyDown(row('debian-desktop'), { key: 'Delete' });
    const dialog = (await screen.findByTestId('confirm-unsubscribe')).closest('dialog')!;
    expect(plain(dialog.textContent)).toContain('What it has in memory 1.1 GB');
    expect(document.activeElement?.textContent).toBe('Cancel');
  });
});

describe('keeping changes', () => {
  it('warns of the release that it stays on', async () => {
    const host = await machines();
    await choose('signal-bench', 'Keep changes');
    const confirm = await screen.findByTestId('confirm-keep');
    expect(confirm.closest('dialog')!.textContent).toContain('it stays on release 5.0');
    await fireEvent.click(confirm);
    await waitFor(() => expect(steps(host)).toEqual([{ verb: 'keep', id: 'signal-bench', keep: true }]));
  });
});

describe('updates', () => {
  const radio = (value: string) => document.querySelector<HTMLInputElement>(`dialog input[value=${value}]`)!;

  it('go from a chosen release back to the newest', async () => {
    const host = await machines();
    expect(within(row('signal-bench')).getByTestId('stays').textContent).toBe('stays on release 5.0');
    await choose('signal-bench', 'Updates…');
    await screen.findByTestId('confirm-updates');
    expect(radio('stay').checked).toBe(true);
    await fireEvent.click(radio('auto'));
    await fireEvent.click(screen.getByTestId('confirm-updates'));
    await waitFor(() => expect(within(row('signal-bench')).queryByTestId('stays')).toBeNull());
    expect(steps(host)).toEqual([
      { verb: 'set-policy', id: 'signal-bench', policy: 'auto' },
      { verb: 'pin', id: 'signal-bench', release: null },
    ]);
  });

  it('stay on the release in use, and ask for nothing where nothing was changed', async () => {
    const host = await machines();
    await choose('debian-desktop', 'Updates…');
    await fireEvent.click(await screen.findByTestId('confirm-updates'));
    await waitFor(() => expect(screen.queryByTestId('confirm-updates')).toBeNull());
    expect(steps(host)).toEqual([]);
    await choose('debian-desktop', 'Updates…');
    await screen.findByTestId('confirm-updates');
    await fireEvent.click(radio('stay'));
    await fireEvent.click(screen.getByTestId('confirm-updates'));
    await waitFor(() => expect(within(row('debian-desktop')).getByTestId('stays').textContent).toBe('stays on release 12.4'));
  });
});

describe('a release that does not start', () => {
  it('is left for the one that is offered', async () => {
    const host = await machines();
    const notice = await within(row('gis-studio')).findByTestId('rollback-notice');
    expect(plain(notice.textContent)).toContain('Release 2025.11 has failed to start twice. Go back to 2025.10?');
    await fireEvent.click(within(notice).getByTestId('rollback'));
    await waitFor(() => expect(within(row('gis-studio')).queryByTestId('rollback-notice')).toBeNull());
    expect(steps(host)).toEqual([{ verb: 'rollback', id: 'gis-studio', release: 30 }]);
    expect(within(row('gis-studio')).getByTestId('stays')).toBeTruthy();
  });

  it('asks before changes are lost with it', async () => {
    const host = new FakeHost({ scene: 'kept' });
    const asked: Request[] = [];
    const call = host.call.bind(host);
    host.call = async (request) => {
      asked.push(request);
      const answer = await call(request);
      if (answer.answer === 'snapshot') for (const l of answer.snapshot.livepcs) if (l.id === 'gis-studio') Object.assign(l, { keep_changes: true, changes_bytes: 5e6 });
      return answer;
    };
    render(AppView, { host });
    await fireEvent.click(screen.getByTestId('nav-machines'));
    await fireEvent.click(await screen.findByTestId('rollback'));
    const dialog = (await screen.findByTestId('confirm-rollback')).closest('dialog')!;
    await waitFor(() => expect(plain(dialog.textContent)).toContain('Changes of the system disk 5 MB'));
    expect(dialog.querySelector<HTMLInputElement>('input[value="30"]')?.checked, 'it begins with what was offered').toBe(true);
    expect(asked.some((r) => r.verb === 'rollback')).toBe(false);
  });
});

describe('the button of a suspended machine', () => {
  it('resumes it by an ordinary start', async () => {
    const host = await machines();
    const button = within(row('debian-desktop')).getByTestId('state-button');
    expect(button.textContent).toContain('Resume');
    await fireEvent.click(button);
    await waitFor(() => expect(within(row('debian-desktop')).getByTestId('state-button').dataset.state).toBe('starting'));
    expect(steps(host)).toEqual([{ verb: 'start', id: 'debian-desktop', display: 'window', serial: null, fill: true, hypervisor: null, cd: null, overcommit: false }]);
    expect(plain(row('debian-desktop').textContent)).not.toContain('suspended since');
  });
});
