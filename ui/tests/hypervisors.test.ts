import { fireEvent, render, screen, waitFor, within } from '@testing-library/svelte';
import { describe, expect, it } from 'vitest';
import AppView from '../src/App.svelte';
import { App } from '../src/lib/app.svelte';
import type { LivePc } from '../src/lib/bindings/LivePc';
import type { MachineState } from '../src/lib/bindings/MachineState';
import { FakeHost, type FakeOptions } from '../src/lib/fake';
import { sample } from '../src/lib/samples';
import { menuOf } from '../src/machines/menu';
import { isIn } from '../src/machines/status';

const STARTS = ['Start in VMware', 'Start in QEMU'];
const looks = (host: FakeHost) => host.asked.filter((r) => r.verb === 'hypervisors').length;

async function looked(options: FakeOptions = {}) {
  const host = new FakeHost(options);
  const app = new App(host);
  await app.hypervisors.look();
  return { host, app };
}

describe('the menu', () => {
  const offers = (app: App, over: Partial<LivePc>) =>
    menuOf(sample(over), app, false)
      .flat()
      .map((i) => i.label)
      .filter((label) => STARTS.includes(label));

  it('offers both hypervisors where a machine can be started', async () => {
    const { app } = await looked();
    const states: MachineState[] = ['absent', 'preparing', 'ready', 'starting', 'running', 'stalled', 'suspended', 'stopping', 'stopped', 'failed'];
    const found = states.filter((state) => {
      const labels = offers(app, { state, suspended: state === 'suspended' ? '2026-05-09T10:00:00Z' : null });
      if (labels.length > 0) expect(labels).toEqual(STARTS);
      return labels.length > 0;
    });
    expect(found).toEqual(['absent', 'preparing', 'ready', 'stopped', 'failed']);
  });

  it('offers no choice where memory or kept changes belong to one of them', async () => {
    const { app } = await looked();
    expect(offers(app, { keep_changes: true, hypervisor: 'qemu' })).toEqual([]);
    expect(offers(app, { keep_changes: true, hypervisor: null }), 'nothing was changed yet').toEqual(STARTS);
    expect(offers(app, { keep_changes: false, hypervisor: 'qemu' }), 'what is not kept binds nobody').toEqual(STARTS);
  });

  it('offers no choice where there is one hypervisor, or nobody has looked', async () => {
    expect(offers((await looked({ scene: 'running' })).app, {})).toEqual([]);
    expect(offers((await looked({ scene: 'failed' })).app, {})).toEqual([]);
    expect(offers(new App(new FakeHost()), {})).toEqual([]);
  });

  it('starts in the one that was chosen', async () => {
    const { host, app } = await looked();
    const item = menuOf(sample({ id: 'gis-studio' }), app, false).flat().find((i) => i.label === 'Start in QEMU');
    item?.run();
    expect(host.asked.at(-1)).toMatchObject({ verb: 'start', id: 'gis-studio', hypervisor: 'qemu' });
    await app.load();
    expect(app.byId('gis-studio')).toMatchObject({ state: 'starting', hypervisor: 'qemu' });
  });
});

describe('looking for hypervisors', () => {
  it('is done once however many menus need it, and again after a look that failed', async () => {
    const host = new FakeHost();
    const app = new App(host);
    const call = host.call.bind(host);
    host.call = () => Promise.reject({ code: 'busy', message: 'Not now.', hint: '' });
    app.hypervisors.need();
    await waitFor(() => expect(app.hypervisors.problem?.message).toBe('Not now.'));
    host.call = call;
    app.hypervisors.need();
    app.hypervisors.need();
    await waitFor(() => expect(app.hypervisors.usable).toEqual(['vmware', 'qemu']));
    app.hypervisors.need();
    expect(looks(host)).toBe(1);
    expect(app.hypervisors.problem).toBeNull();
  });

  it('believes the look that began last, though another answers later', async () => {
    const host = new FakeHost();
    const app = new App(host);
    const call = host.call.bind(host);
    let late = () => {};
    host.call = async (request) => {
      const answer = await call(request);
      await new Promise<void>((done) => (late = done));
      if (answer.answer === 'hypervisors') answer.hypervisors = [];
      return answer;
    };
    const first = app.hypervisors.look();
    await waitFor(() => expect(looks(host)).toBe(1));
    host.call = call;
    await app.hypervisors.look();
    late();
    await first;
    expect(app.hypervisors.usable).toEqual(['vmware', 'qemu']);
    expect(app.hypervisors.looking).toBe(false);
  });
});

async function settings(options: FakeOptions = {}) {
  const host = new FakeHost(options);
  render(AppView, { host });
  await fireEvent.click(screen.getByTestId('nav-settings'));
  const block = (kind: string) => screen.getByTestId(`hypervisor-${kind}`);
  return { host, block };
}

describe('the settings of hypervisors', () => {
  it('say what was found in words that people know', async () => {
    const { block } = await settings();
    await waitFor(() => expect(block('qemu').textContent).toContain('with the processor’s help'));
    expect(within(block('vmware')).getByText('VMware Workstation')).toBeTruthy();
    expect(block('vmware').textContent).toContain('vmrun.exe');
    expect(within(block('vmware')).getByTestId('limits').textContent).toContain('completely here');
    expect(screen.queryByTestId('no-hypervisor')).toBeNull();
  });

  it('say that a machine without the processor’s help is slow', async () => {
    const { block } = await settings({ scene: 'offline' });
    await waitFor(() => expect(block('qemu').textContent).toContain('by slow emulation'));
    expect(within(block('qemu')).getByTestId('limits').textContent).toContain('ten times slower');
  });

  it('are calm about one that is missing, and loud if all are', async () => {
    const { block } = await settings({ scene: 'running' });
    const note = await within(block('vmware')).findByTestId('note');
    expect(note.textContent).toContain('Install VMware');
    expect(note.classList.contains('info')).toBe(true);
    expect(screen.queryByTestId('no-hypervisor')).toBeNull();
    document.body.replaceChildren();
    await settings({ scene: 'failed' });
    expect((await screen.findByTestId('no-hypervisor')).classList.contains('bad')).toBe(true);
  });

  it('show that they look, and look again when they are asked to', async () => {
    const { host, block } = await settings({ delay: 20 });
    expect(block('qemu').textContent).toContain('Looking for it');
    expect(screen.getByRole('button', { name: 'Looking…' }).hasAttribute('disabled')).toBe(true);
    const again = await screen.findByRole('button', { name: 'Look again' }, { timeout: 3000 });
    expect(looks(host)).toBe(1);
    await fireEvent.click(again);
    await waitFor(() => expect(looks(host)).toBe(2));
  });

  it('look again after a program was chosen, but not after a refusal', async () => {
    const { host, block } = await settings({ scene: 'running' });
    await within(block('vmware')).findByTestId('note');
    const choose = async (path: string) => {
      const field = within(block('vmware')).getByRole('textbox');
      await fireEvent.input(field, { target: { value: path } });
      await fireEvent.submit(field.closest('form')!);
    };
    await choose('/nowhere')
    expect((await within(block('vmware')).findByTestId('error')).textContent).toContain('There is no /nowhere.');
    expect(looks(host)).toBe(1);
    await choose(' /opt/vmware/bin ');
    await waitFor(() => expect(looks(host)).toBe(2));
    expect(host.asked).toContainEqual({ verb: 'config-set', name: 'vmware.program', value: '/opt/vmware/bin' });
    await waitFor(() => expect(within(block('vmware')).queryByTestId('note')).toBeNull());
    expect(within(block('vmware')).queryByTestId('error')).toBeNull();
  });

  it('choose which is tried first, and go back where that could not be saved', async () => {
    const { host } = await settings();
    const radio = (name: RegExp) => screen.getByRole<HTMLInputElement>('radio', { name });
    await waitFor(() => expect(radio(/^Automatic/).checked).toBe(true));
    await fireEvent.click(radio(/^QEMU/));
    await waitFor(() => expect(host.asked).toContainEqual({ verb: 'config-set', name: 'hypervisor', value: 'qemu' }));
    expect(radio(/^QEMU/).checked).toBe(true);
    host.call = () => Promise.reject({ code: 'failed', message: 'It cannot be written.', hint: '' });
    await fireEvent.click(radio(/^VMware/));
    expect(await screen.findByText('It cannot be written.')).toBeTruthy();
    await waitFor(() => expect(radio(/^QEMU/).checked).toBe(true));
  });

  it('let VMware stream only with a warning', async () => {
    const { host, block } = await settings();
    const check = within(block('vmware')).getByRole<HTMLInputElement>('checkbox');
    await waitFor(() => expect(check.disabled).toBe(false));
    expect(document.getElementById(check.getAttribute('aria-describedby') ?? '')?.textContent).toContain('disk errors');
    await within(block('vmware')).findByTestId('limits');
    await fireEvent.click(check);
    await waitFor(() => expect(host.asked).toContainEqual({ verb: 'config-set', name: 'vmware.streaming', value: 'true' }));
    await waitFor(() => expect(within(block('vmware')).queryByTestId('limits'), 'it was looked at again').toBeNull());
  });
});

describe('where a machine is', () => {
  it('is told while it runs, or belongs to one of them', () => {
    expect(isIn(sample({ state: 'running', hypervisor: 'vmware' }))).toEqual(['in VMware']);
    expect(isIn(sample({ state: 'suspended', suspended: '2026-05-09T10:00:00Z', hypervisor: 'qemu' }))).toEqual(['in QEMU']);
    expect(isIn(sample({ keep_changes: true, hypervisor: 'qemu' }))).toEqual(['in QEMU']);
    expect(isIn(sample({ hypervisor: 'qemu' })), 'changes that are not kept are gone at the next start').toEqual([]);
    expect(isIn(sample({ state: 'running' })), 'it is not chosen yet').toEqual([]);
  });

  it('stands in its row and on its page, with why it is not another', async () => {
    const host = new FakeHost();
    render(AppView, { host });
    await fireEvent.click(screen.getByTestId('nav-machines'));
    const [row] = await waitFor(() => screen.getAllByTestId('machine-row').filter((r) => r.dataset.id === 'net-lab'));
    if (!row) throw new Error('no row');
    expect(row.textContent).toContain('in QEMU');
    await fireEvent.click(within(row).getByText('Net Lab'));
    expect((await screen.findByTestId('hypervisor')).textContent).toBe('in QEMU');
    expect(screen.getByTestId('passed-over').textContent).toContain('does not run with VMware');
    await host.call({ verb: 'stop', id: 'net-lab', force: true, timeout: 1 });
    await waitFor(() => expect(screen.queryByTestId('passed-over')).toBeNull());
    expect(screen.queryByTestId('hypervisor')).toBeNull();
  });
});
