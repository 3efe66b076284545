import { fireEvent, render, screen, waitFor, within } from '@testing-library/svelte';
import { describe, expect, it } from 'vitest';
import App from '../src/App.svelte';
import { FakeHost } from '../src/lib/fake';

async function settings() {
  const host = new FakeHost();
  render(App, { host });
  await fireEvent.click(screen.getByTestId('nav-settings'));
  const set = () => host.asked.filter((r) => r.verb === 'config-set');
  return { host, set };
}

describe('the settings of updates', () => {
  it('are hours, which must differ', async () => {
    const { set } = await settings();
    const check = screen.getByLabelText('Fetch new releases only at certain hours');
    await waitFor(() => expect((check as HTMLInputElement).disabled).toBe(false));
    await fireEvent.click(check);
    expect(set().at(-1)).toMatchObject({ name: 'updates.hours', value: '22:00-07:00' });
    const from = screen.getByLabelText('From');
    await fireEvent.input(from, { target: { value: '07:00' } });
    await fireEvent.change(from);
    await screen.findByText('Give two different times.');
    expect(set()).toHaveLength(1);
    await fireEvent.click(check);
    expect(set().at(-1)).toMatchObject({ name: 'updates.hours', value: '' });
  });

  it('ask over a metered connection, unless somebody does not mind', async () => {
    const { set } = await settings();
    const check = screen.getByLabelText('Ask first over a metered connection');
    await waitFor(() => expect((check as HTMLInputElement).checked).toBe(true));
    await fireEvent.click(check);
    expect(set().at(-1)).toMatchObject({ name: 'updates.metered', value: 'fetch' });
  });
});

describe('the settings of the store', () => {
  it('are a limit in gigabytes', async () => {
    const { set } = await settings();
    const check = screen.getByLabelText('Keep at most');
    await waitFor(() => expect((check as HTMLInputElement).disabled).toBe(false));
    await fireEvent.click(check);
    await waitFor(() => expect(set().at(-1)).toMatchObject({ name: 'store.max-bytes', value: '50000000000' }));
  });

  it('tell what would go, and remove it when somebody says so', async () => {
    const { host } = await settings();
    const pruned = () => host.asked.filter((r) => r.verb === 'prune');
    await fireEvent.click(screen.getByTestId('prune'));
    const dialog = await screen.findByRole('dialog');
    await within(dialog).findByText('GIS Studio, 2026.1');
    within(dialog).getByText('forensics-101-9c0f, release 1');
    within(dialog).getByText('What belongs to no release');
    expect(pruned()).toEqual([{ verb: 'prune', dry_run: true, wanted: false }]);
    expect(document.activeElement?.textContent).toBe('Close');
    await fireEvent.click(within(dialog).getByTestId('prune-go'));
    await screen.findByText(/are free again/);
    expect(pruned().at(-1)).toEqual({ verb: 'prune', dry_run: false, wanted: false });
    expect(screen.queryByRole('dialog')).toBeNull();

    await fireEvent.click(screen.getByTestId('prune'));
    await screen.findByText(/There is nothing else to free/);
    expect(screen.queryByTestId('prune-go')).toBeNull();
  });

  it('tell what is kept since somebody has fetched it by its number, which goes only if they say so', async () => {
    const { host } = await settings();
    const pruned = () => host.asked.filter((r) => r.verb === 'prune');
    const plain = (e: HTMLElement) => e.textContent?.replace(/[\u00a0\u202f]/g, ' ');
    await fireEvent.click(screen.getByTestId('prune'));
    const dialog = await screen.findByRole('dialog');
    const kept = await within(dialog).findByTestId('prune-kept');
    within(kept).getByText('Net Lab, 3.0');
    expect(plain(within(dialog).getByTestId('prune-go'))).toContain('Free 3 GB');
    await fireEvent.click(within(kept).getByRole('checkbox'));
    await waitFor(() => expect(plain(within(dialog).getByTestId('prune-go'))).toContain('Free 3.4 GB'));
    expect(within(within(dialog).getByTestId('prune-kept')).queryByText('Net Lab, 3.0')).toBeNull();
    within(dialog).getByText('Net Lab, 3.0');
    expect(pruned().at(-1)).toEqual({ verb: 'prune', dry_run: true, wanted: true });
    await fireEvent.click(within(dialog).getByTestId('prune-go'));
    await screen.findByText(/are free again/);
    expect(pruned().at(-1)).toEqual({ verb: 'prune', dry_run: false, wanted: true });

    await fireEvent.click(screen.getByTestId('prune'));
    await screen.findByText(/all that is kept is needed/);
    expect(screen.queryByTestId('prune-kept')).toBeNull();
  });

  it('say why it cannot be done, and try again', async () => {
    const { host } = await settings();
    const call = host.call.bind(host);
    host.call = (request) => (request.verb === 'prune' ? Promise.reject({ code: 'busy', message: 'Not now.', hint: '' }) : call(request));
    await fireEvent.click(screen.getByTestId('prune'));
    const dialog = await screen.findByRole('dialog');
    await within(dialog).findByText('Not now.');
    host.call = call;
    await fireEvent.click(within(dialog).getByRole('button', { name: 'Retry' }));
    await within(dialog).findByText('GIS Studio, 2026.1');
  });
});
