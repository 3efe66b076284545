import { fireEvent, render, screen, waitFor, within } from '@testing-library/svelte';
import { describe, expect, it } from 'vitest';
import App from '../src/App.svelte';
import type { LivePc } from '../src/lib/bindings/LivePc';
import type { Problem } from '../src/lib/bindings/Problem';
import { FakeHost } from '../src/lib/fake';

const plain = (text: string | null | undefined) => (text ?? '').replace(/[\u00a0\u202f]/g, ' ').replace(/\s+/g, ' ').trim();
const FAILED: Problem = { code: 'failed', message: 'The app has failed at files.rs:1:1: a mistake.', hint: 'Please report it.' };

/** A host whose snapshot is changed. */
function hostWith({ omitted, id, over }: { omitted?: number; id?: string; over?: Partial<LivePc> }): FakeHost {
  const host = new FakeHost();
  const call = host.call.bind(host);
  host.call = async (request) => {
    const answer = await call(request);
    if (answer.answer !== 'snapshot') return answer;
    for (const l of answer.snapshot.livepcs) if (l.id === id) Object.assign(l, over);
    return { ...answer, snapshot: { ...answer.snapshot, omitted } };
  };
  return host;
}

describe('a state that was made again', () => {
  it('is told on every screen until a person puts it away', async () => {
    const host = new FakeHost({ scene: 'mended' });
    const dismissed: string[] = [];
    const dismiss = host.dismissNotice.bind(host);
    host.dismissNotice = (notice) => {
      dismissed.push(notice);
      return dismiss(notice);
    };
    render(App, { host });
    const notice = await screen.findByTestId('state-notice');
    expect(plain(notice.textContent)).toContain('It was made again from the copy of 2026-11-27 21:14 UTC');
    await fireEvent.click(screen.getByTestId('nav-settings'));
    await fireEvent.click(within(screen.getByTestId('state-notice')).getByRole('button', { name: 'Dismiss' }));
    await waitFor(() => expect(screen.queryByTestId('state-notice')).toBeNull());
    expect(dismissed).toHaveLength(1);
    expect(dismissed[0], 'all of it, so that no other one goes').toContain('set aside');
  });

  it('is told to an app that is open already, and no longer when the command line has told it', async () => {
    const host = new FakeHost();
    render(App, { host });
    await screen.findAllByTestId('card');
    expect(screen.queryByTestId('state-notice')).toBeNull();
    host.note({ notice: 'It was damaged.' });
    await screen.findByText('It was damaged.');
    host.note({ notice: null });
    await waitFor(() => expect(screen.queryByTestId('state-notice')).toBeNull());
  });

  it('that comes while another one is put away is told', async () => {
    const host = new FakeHost({ scene: 'mended' });
    host.dismissNotice = async () => host.note({ notice: 'It was damaged again.' });
    render(App, { host });
    await fireEvent.click(within(await screen.findByTestId('state-notice')).getByRole('button', { name: 'Dismiss' }));
    await screen.findByText('It was damaged again.');
  });

  it('that cannot be put away stays, and says why', async () => {
    const host = new FakeHost({ scene: 'mended' });
    host.dismissNotice = () => Promise.reject(FAILED);
    render(App, { host });
    await fireEvent.click(within(await screen.findByTestId('state-notice')).getByRole('button', { name: 'Dismiss' }));
    await screen.findByText(FAILED.message);
    expect(screen.getByTestId('state-notice')).toBeTruthy();
  });
});

describe('an older agent', () => {
  it('is told for as long as it is there', async () => {
    const host = new FakeHost({ scene: 'mended' });
    render(App, { host });
    const line = await screen.findByTestId('older-agent');
    expect(plain(line.textContent)).toContain('LivePC 0.1.0, which is older, does the work until its machines and downloads end.');
    host.note({ older: null });
    await waitFor(() => expect(screen.queryByTestId('older-agent')).toBeNull());
    expect(screen.getByTestId('state-notice'), 'which has nothing to do with it').toBeTruthy();
  });
});

describe('a list that has no place for all', () => {
  it('says how many are not in it', async () => {
    render(App, { host: hostWith({ omitted: 12 }) });
    await fireEvent.click(screen.getByTestId('nav-machines'));
    const told = await screen.findByTestId('omitted');
    expect(plain(told.textContent)).toBe('12 more LivePCs have no place here. All, in a terminal: livepc list');
  });

  it('says so of one', async () => {
    render(App, { host: hostWith({ omitted: 1 }) });
    await fireEvent.click(screen.getByTestId('nav-machines'));
    expect(plain((await screen.findByTestId('omitted')).textContent)).toMatch(/^1 more LivePC has/);
  });

  it('is told of only then', async () => {
    render(App, { host: hostWith({}) });
    await fireEvent.click(screen.getByTestId('nav-machines'));
    await screen.findAllByTestId('machine-row');
    expect(screen.queryByTestId('omitted')).toBeNull();
  });
});

describe('a release that its publisher no longer offers', () => {
  const page = async (over: Partial<LivePc>) => {
    render(App, { host: hostWith({ id: 'gis-studio', over }) });
    await fireEvent.click(screen.getByTestId('nav-machines'));
    const row = (await screen.findAllByTestId('machine-row')).find((r) => r.dataset.id === 'gis-studio')!;
    const mark = within(row).queryByTestId('withdrawn')?.textContent ?? null;
    await fireEvent.click(within(row).getByRole('button', { name: 'GIS Studio' }));
    await screen.findByText('Key fingerprint');
    return mark;
  };

  it('is told where it is in use', async () => {
    expect(await page({ withdrawn: 30 })).toBe('release 2025.10 is no longer offered');
    const told = plain(screen.getByTestId('withdrawn-notice').textContent);
    expect(told).toContain('no longer offers release 2025.10');
    expect(told).toContain('All of it is on this computer');
  });

  it('and is not all here says what cannot come any more', async () => {
    await page({ withdrawn: 30, complete: false });
    expect(plain(screen.getByTestId('withdrawn-notice').textContent)).toContain('what is missing can no longer be fetched');
  });

  it('leaves no empty list behind, if it was the only one', async () => {
    const host = hostWith({ id: 'gis-studio', over: { withdrawn: 30 } });
    const call = host.call.bind(host);
    host.call = async (request) => {
      const answer = await call(request);
      return answer.answer === 'shown' ? { ...answer, releases: [] } : answer;
    };
    render(App, { host });
    await fireEvent.click(await screen.findByText('GIS Studio'));
    await screen.findByText('Its publisher offers no release at the moment.');
  });

  it('is told of only then', async () => {
    expect(await page({})).toBeNull();
    expect(screen.queryByTestId('withdrawn-notice')).toBeNull();
  });
});

describe('a dialog of the system that fails', () => {
  it('is told, and the path stays', async () => {
    const host = new FakeHost({ scene: 'kept' });
    host.chooseCd = () => Promise.reject(FAILED);
    render(App, { host });
    await fireEvent.click(screen.getByTestId('nav-machines'));
    await fireEvent.click(await screen.findByRole('button', { name: 'More about Net Lab' }));
    await fireEvent.click(screen.getByText('Start with a CD…'));
    const dialog = await screen.findByRole('dialog');
    await fireEvent.click(within(dialog).getByRole('button', { name: 'Choose…' }));
    await screen.findByText(FAILED.message);
    expect(screen.getByRole('dialog')).toBeTruthy();
  });
});
