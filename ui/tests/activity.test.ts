import { fireEvent, render, screen, within } from '@testing-library/svelte';
import { describe, expect, it } from 'vitest';
import App from '../src/App.svelte';
import { kindOf, summary } from '../src/activity/blocks';
import { FakeHost, type FakeOptions } from '../src/lib/fake';

const asked = (host: FakeHost) => host.asked.filter((r) => r.verb === 'block-map');

async function activity(options: FakeOptions = {}) {
  const host = new FakeHost(options);
  render(App, { host });
  await fireEvent.click(screen.getByTestId('nav-activity'));
  await screen.findAllByTestId('job-row');
  return host;
}

describe('a block map', () => {
  const map = {
    release: 1,
    here: [100, 100, 40, 40, 0, 0, 0],
    boot: [true, false, true, false, true, false, true],
    fetching: [false, false, false, false, false, false, true],
  };

  it('shows what moves, what is here, and what a start would wait for', () => {
    const kinds = map.here.map((_, at) => kindOf(map, at));
    expect(kinds).toEqual(['here', 'here', 'boot', 'here', 'boot', 'absent', 'fetching']);
  });

  it('is told in words too', () => {
    expect(summary(map)).toEqual({ here: 40, boot: 3 });
    expect(summary({ ...map, here: map.here.map(() => 100) })).toEqual({ here: 100, boot: 0 });
    expect(summary({ release: 1, here: [], boot: [], fetching: [] })).toEqual({ here: 0, boot: 0 });
  });
});

describe('Activity', () => {
  it('draws the map of a download while it is open, and asks for none before', async () => {
    const host = await activity();
    const row = screen.getAllByTestId('job-row').find((r) => within(r).queryByText('Block map'));
    expect(row).toBeDefined();
    expect(asked(host)).toEqual([]);
    const details = row!.querySelector('details')!;
    details.open = true;
    await fireEvent(details, new Event('toggle'));
    const drawn = await within(row!).findByTestId('block-map');
    expect(drawn.querySelectorAll('rect')).toHaveLength(640);
    expect(drawn.getAttribute('aria-label')).toMatch(/\d+ % is here/);
    expect(within(row!).getByText('being fetched')).toBeTruthy();
  });

  it('says when there is nothing to draw yet', async () => {
    const host = await activity();
    const call = host.call.bind(host);
    host.call = (request) =>
      request.verb === 'block-map' ? Promise.reject({ code: 'not-found', message: 'Not yet.', hint: '' }) : call(request);
    const details = document.querySelector('[data-testid=job-row] details') as HTMLDetailsElement;
    details.open = true;
    await fireEvent(details, new Event('toggle'));
    await screen.findByText(/when the index of the release is here/);
  });
});
