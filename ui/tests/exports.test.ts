import { fireEvent, render, screen, waitFor, within } from '@testing-library/svelte';
import { describe, expect, it } from 'vitest';
import AppView from '../src/App.svelte';
import { App } from '../src/lib/app.svelte';
import type { LivePc } from '../src/lib/bindings/LivePc';
import { FakeHost } from '../src/lib/fake';
import { sample, sampleJob } from '../src/lib/samples';
import { exportable, exportName } from '../src/machines/exports';
import { menuOf } from '../src/machines/menu';

const OWN = [
  { role: 'user', size: 8e9, made: true },
  { role: 'scratch', size: 2e9, made: false },
];

/** Opens a dialog of Net Lab, which has changes and own disks. */
async function dialog(item: string) {
  const host = new FakeHost({ scene: 'kept' });
  render(AppView, { host });
  await fireEvent.click(screen.getByTestId('nav-machines'));
  await waitFor(() => expect(screen.getAllByTestId('machine-row')).toHaveLength(4));
  const row = document.querySelector<HTMLElement>('[data-testid=machine-row][data-id=net-lab]')!;
  await fireEvent.click(within(row).getByRole('button', { name: /^More about/ }));
  await fireEvent.click(within(await within(row).findByRole('menu')).getByText(item));
  return host;
}

const button = (testid: string) => screen.getByTestId(testid) as HTMLButtonElement;
const last = (host: FakeHost, verb: string) => host.asked.findLast((r) => r.verb === verb);

describe('what can be exported', () => {
  const of = (over: Partial<LivePc>) => exportable(sample({ own_disks: OWN, changes_bytes: 5, ...over })).map((s) => s.value);

  it('of a machine that is stopped has its changes and the own disks that are made', () => {
    expect(of({})).toEqual(['changed', 'published', 'own-user']);
    expect(of({ changes_bytes: 0 })).toEqual(['published', 'own-user']);
  });

  it('of one that writes to its disks is the release alone', () => {
    for (const state of ['running', 'stalled', 'suspended', 'starting', 'stopping'] as const) expect(of({ state })).toEqual(['published']);
  });

  it('is named after the LivePC and the disk', () => {
    const sources = exportable(sample({ own_disks: OWN }));
    expect(exportName(sample(), sources[0]!, 'vmx')).toBe('net-lab');
    expect(exportName(sample(), sources[0]!, 'qcow2')).toBe('net-lab.qcow2');
    expect(exportName(sample(), sources[1]!, 'raw')).toBe('net-lab-user.raw');
  });
});

describe('the menu', () => {
  const labels = (over: Partial<LivePc>) => menuOf(sample(over), new App(new FakeHost()), false).flat().map((i) => i.label);

  it('offers to make a disk larger where there is one that nothing uses', () => {
    expect(labels({ own_disks: OWN })).toContain('Make a disk larger…');
    expect(labels({})).not.toContain('Make a disk larger…');
    for (const state of ['running', 'suspended'] as const) expect(labels({ own_disks: OWN, state })).not.toContain('Make a disk larger…');
  });

  it('offers a CD where a start is a cold one', () => {
    expect(labels({})).toContain('Start with a CD…');
    for (const state of ['running', 'suspended', 'stalled'] as const) expect(labels({ state })).not.toContain('Start with a CD…');
  });
});

describe('an export', () => {
  it('asks for what was chosen, and goes where the dialog suggests', async () => {
    const host = await dialog('Export…');
    const place = (await screen.findByTestId('export-place')) as HTMLInputElement;
    await waitFor(() => expect(place.value).toMatch(/net-lab/));
    await fireEvent.click(screen.getByLabelText(/Your own disk “user”/));
    await waitFor(() => expect(place.value).toBe('/home/ada/Documents/net-lab-user.qcow2'));
    await fireEvent.click(screen.getByLabelText(/^Raw/));
    await waitFor(() => expect(place.value).toBe('/home/ada/Documents/net-lab-user.raw'));
    expect(screen.queryByLabelText(/^VMware/), 'a folder has all disks').toBeNull();
    await fireEvent.click(button('confirm-export'));
    await waitFor(() => expect(screen.queryByTestId('confirm-export')).toBeNull());
    expect(last(host, 'export')).toEqual({
      verb: 'export',
      id: 'net-lab',
      release: 7,
      export: { format: 'raw', disk: 'user', changes: false, place: '/home/ada/Documents/net-lab-user.raw', force: false },
    });
  });

  it('replaces only what the system’s dialog has asked about, and shows what went wrong', async () => {
    const host = await dialog('Export…');
    const place = (await screen.findByTestId('export-place')) as HTMLInputElement;
    await waitFor(() => expect(place.value).not.toBe(''));
    await fireEvent.click(screen.getByText('Choose…'));
    await fireEvent.input(place, { target: { value: 'nowhere.raw' } });
    await fireEvent.click(button('confirm-export'));
    await screen.findByText(/is not an absolute path/);
    expect(last(host, 'export')).toMatchObject({ export: { place: 'nowhere.raw', force: false, changes: true } });
    await fireEvent.click(screen.getByText('Choose…'));
    await fireEvent.click(button('confirm-export'));
    await waitFor(() => expect(last(host, 'export')).toMatchObject({ export: { force: true } }));
  });

  it('that is done is told with its place', () => {
    const app = new App(new FakeHost());
    const snapshot = (job: object) => ({ livepcs: [], jobs: [sampleJob({ export: { format: 'raw', disk: null, changes: false, place: '/tmp/x.raw', force: false }, ...job })], paused: false, store: { place: '/store', bytes: 0, free: 0 }, library_revision: 0 });
    app.accept(snapshot({}));
    app.accept(snapshot({ status: 'done' }));
    app.accept(snapshot({ status: 'done' }));
    expect(app.toasts.list.map((t) => t.text)).toEqual(['Net Lab was exported to /tmp/x.raw.']);
  });
});

describe('a disk', () => {
  it('can only be made larger, in whole sectors', async () => {
    const host = await dialog('Make a disk larger…');
    const size = (await screen.findByTestId('grow-size')) as HTMLInputElement;
    expect(button('confirm-grow').disabled).toBe(true);
    for (const wrong of ['8', '7,5', '-1', 'much', '1e30']) {
      await fireEvent.input(size, { target: { value: wrong } });
      expect(button('confirm-grow').disabled, wrong).toBe(true);
      expect(screen.getByRole('alert', { hidden: true }).textContent).toContain('8');
    }
    await fireEvent.input(size, { target: { value: '8,0000001' } });
    await fireEvent.click(button('confirm-grow'));
    await waitFor(() => expect(last(host, 'grow-disk')).toEqual({ verb: 'grow-disk', id: 'net-lab', disk: 'user', size: 8_000_000_512 }));
  });
});

describe('a CD', () => {
  it('is chosen or typed, and goes along with the start', async () => {
    const host = await dialog('Start with a CD…');
    expect((await screen.findByTestId('confirm-cd') as HTMLButtonElement).disabled).toBe(true);
    await fireEvent.click(screen.getByText('Choose…'));
    await waitFor(() => expect(button('confirm-cd').disabled).toBe(false));
    await fireEvent.click(button('confirm-cd'));
    await waitFor(() => expect(last(host, 'start')).toMatchObject({ id: 'net-lab', cd: '/home/ada/Downloads/tools.iso' }));
  });
});
