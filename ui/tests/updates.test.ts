import { fireEvent, render, screen, waitFor, within } from '@testing-library/svelte';
import { describe, expect, it } from 'vitest';
import AppView from '../src/App.svelte';
import type { LivePc } from '../src/lib/bindings/LivePc';
import type { Request } from '../src/lib/bindings/Request';
import { FakeHost } from '../src/lib/fake';

const ID = 'gis-studio';
const CHANGES = 'A fourth router.\n<b>bold</b> <img src="x" alt="">';
const plain = (text: string | null | undefined) => (text ?? '').replace(/[\u00a0\u202f]/g, ' ').replace(/\s+/g, ' ').trim();

/** A host on which GIS Studio is as `over` says, and its newest release changes what `CHANGES` says. */
function hostWith(over: Partial<LivePc>): { host: FakeHost; asked: Request[] } {
  const host = new FakeHost();
  const asked: Request[] = [];
  const call = host.call.bind(host);
  host.call = async (request) => {
    asked.push(request);
    const answer = await call(request);
    if (answer.answer === 'snapshot') for (const l of answer.snapshot.livepcs) if (l.id === ID) Object.assign(l, over);
    if (answer.answer === 'shown') for (const r of answer.releases.slice(0, 1)) r.changelog = CHANGES;
    return answer;
  };
  return { host, asked };
}

async function rowOf(host: FakeHost): Promise<HTMLElement> {
  render(AppView, { host });
  await fireEvent.click(screen.getByTestId('nav-machines'));
  const rows = await screen.findAllByTestId('machine-row');
  return rows.find((r) => r.dataset.id === ID)!;
}

async function pageOf(host: FakeHost): Promise<void> {
  const row = await rowOf(host);
  await fireEvent.click(within(row).getByRole('button', { name: 'GIS Studio' }));
}

describe('an update', () => {
  it('is told with its size and, as plain text, its changes before it is fetched', async () => {
    const { host, asked } = hostWith({ update_bytes: 11e6 });
    await pageOf(host);
    const notice = await screen.findByTestId('update-notice');
    expect(plain(notice.textContent)).toContain('Release 2025.11 is available: 11 MB to fetch.');
    const changes = await within(notice).findByTestId('changelog');
    expect(changes.textContent).toBe(CHANGES);
    expect(changes.children, 'a publisher cannot put elements into the page').toHaveLength(0);
    expect(asked.some((r) => r.verb === 'update' || r.verb === 'download'), 'nothing is fetched yet').toBe(false);
    await fireEvent.click(within(notice).getByTestId('fetch-update'));
    await waitFor(() => expect(asked).toContainEqual({ verb: 'update', id: ID, check: false }));
  });

  it('that is here already needs nothing', async () => {
    const { host } = hostWith({ update_bytes: 0 });
    await pageOf(host);
    const notice = await screen.findByTestId('update-notice');
    expect(plain(notice.textContent)).toContain('Release 2025.11 is here, and the next start uses it.');
    expect(within(notice).queryByTestId('fetch-update')).toBeNull();
  });

  it('is not offered to who stays on another release', async () => {
    const { host } = hostWith({ update_bytes: 11e6, pinned: 30, stale: { why: 'unreachable', since: '2026-01-02T12:00:00Z' } });
    await pageOf(host);
    await screen.findByTestId('stale-notice');
    expect(screen.queryByTestId('update-notice')).toBeNull();
  });
});

describe('a publisher’s word', () => {
  const since = '2026-01-02T12:00:00Z';
  for (const [why, mark, text] of [
    ['expired', 'feed not renewed since Jan 2, 2026', 'The publisher’s feed has not been renewed since Jan 2, 2026'],
    ['refused', 'feed refused, last accepted Jan 2, 2026', 'accepted last on Jan 2, 2026'],
    ['unreachable', 'feed not read since Jan 2, 2026', 'could not be read since Jan 2, 2026'],
  ] as const) {
    it(`that is ${why} is shown with when it was fresh`, async () => {
      const { host } = hostWith({ stale: { why, since } });
      const row = await rowOf(host);
      await waitFor(() => expect(within(row).getByTestId('stale').textContent).toBe(mark));
      await fireEvent.click(within(row).getByRole('button', { name: 'GIS Studio' }));
      expect(plain((await screen.findByTestId('stale-notice')).textContent)).toContain(text);
    });
  }

  it('that takes back a release is shown', async () => {
    const { host } = hostWith({ yanked: 30 });
    const row = await rowOf(host);
    await waitFor(() => expect(within(row).getByTestId('yanked').textContent).toBe('release 2025.10 was taken back'));
    await fireEvent.click(within(row).getByRole('button', { name: 'GIS Studio' }));
    expect(plain((await screen.findByTestId('yanked-notice')).textContent)).toContain('taken back release 2025.10 for a fault');
  });

  it('that is fresh needs no word', async () => {
    const row = await rowOf(hostWith({}).host);
    expect([within(row).queryByTestId('stale'), within(row).queryByTestId('yanked')]).toEqual([null, null]);
  });
});
