import { flushSync } from 'svelte';
import { describe, expect, it } from 'vitest';
import { numbersOf, phaseOf, progress } from '../src/activity/jobs';
import { App } from '../src/lib/app.svelte';
import type { Snapshot } from '../src/lib/bindings/Snapshot';
import { FakeHost } from '../src/lib/fake';
import { entries } from '../src/lib/fake/content';
import { canRetry, details } from '../src/lib/problem';
import { sample, sampleJob } from '../src/lib/samples';
import { chipsOf, filter, Library } from '../src/library/library.svelte';
import { menuOf } from '../src/machines/menu';
import { status } from '../src/machines/status';
import { addressIn, feedOfLink, offer } from '../src/shell/drop';

const plain = (texts: string[]) => texts.map((t) => t.replaceAll('\u00a0', ' '));
const snapshot = (over: Partial<Snapshot>): Snapshot => ({ livepcs: [], jobs: [], paused: false, store: { place: '/store', bytes: 0, free: 1 }, library_revision: 0, ...over });
const problem = { code: 'disk-full' as const, message: 'Full.', hint: 'Free some.' };

describe('app', () => {
  it('tells of a job that fails while it is watched, but not of one that had failed before', () => {
    const app = new App(new FakeHost());
    const failed = sampleJob({ status: 'failed', problem });
    app.accept(snapshot({ jobs: [failed] }));
    expect(app.toasts.list).toHaveLength(0);
    app.accept(snapshot({ jobs: [failed, sampleJob({ job: 2 })] }));
    app.accept(snapshot({ jobs: [failed, sampleJob({ job: 2, title: 'Two', status: 'failed', problem })] }));
    expect(app.toasts.list.map((t) => t.title)).toEqual(['Two']);
  });

  it('tells of a machine that stalls', () => {
    const app = new App(new FakeHost());
    app.accept(snapshot({ livepcs: [sample({ state: 'running' })] }));
    app.accept(snapshot({ livepcs: [sample({ state: 'stalled', problem })] }));
    expect(app.toasts.list[0]?.problem).toEqual(problem);
  });

  it('asks a feed only after the confirmation has opened, and goes where the tray says', async () => {
    const host = new FakeHost();
    const app = new App(host);
    const end = app.begin();
    await app.act('subscribe', 'https://a.example/feed', null);
    expect(app.confirming).toBe('https://a.example/feed');
    expect(host.asked.some((r) => r.verb === 'preview')).toBe(false);
    host.link('https://b.example/feed');
    expect(app.confirming).toBe('https://b.example/feed');
    host.navigate('activity');
    expect(app.screen).toBe('activity');
    end();
  });

  it('makes a toast of what went wrong in the tray', () => {
    const host = new FakeHost();
    const app = new App(host);
    const end = app.begin();
    host.navigate('machines', problem);
    expect(app.screen).toBe('machines');
    expect(app.toasts.list[0]?.problem).toEqual(problem);
    end();
  });

  it('knows that the agent is away, and that it is back', async () => {
    const app = new App(new FakeHost({ scene: 'away' }));
    await app.load();
    expect(app.away?.code).toBe('agent-gone');
    app.accept(snapshot({}));
    expect(app.away).toBeNull();
  });

  it('makes a toast with Retry of an action that fails', async () => {
    const app = new App(new FakeHost({ scene: 'failed' }));
    await app.load();
    await app.act('start', '', app.byId('gis-studio'));
    expect(app.toasts.list[0]?.problem?.code).toBe('hypervisor');
    expect(app.toasts.list[0]?.retry).not.toBeNull();
  });
});

describe('library', () => {
  it('offers only filters that can tell entries apart', () => {
    const all = entries();
    expect(chipsOf(all).filter((c) => c.kind === 'guest').map((c) => c.label)).toEqual(['Linux', 'Windows', 'DOS', 'FreeBSD', 'Other']);
    expect(chipsOf(all.filter((e) => e.guest_os === 'linux')).some((c) => c.kind === 'guest')).toBe(false);
    expect(chipsOf([])).toEqual([]);
  });

  it('takes any of a kind and all kinds', () => {
    const all = entries();
    const chips = chipsOf(all);
    const titles = (...keys: string[]) => filter(all, new Set(keys), chips).map((e) => e.title);
    expect(titles('guest:dos', 'guest:freebsd')).toEqual(['Retro BASIC', 'ZFS Playground']);
    expect(titles('guest:dos', 'category:Education')).toEqual([]);
    expect(titles('guest:gone'), 'a filter without a chip hides nothing').toHaveLength(all.length);
  });

  it('goes through all pages of a search', async () => {
    const host = new FakeHost();
    const all = entries();
    const asked: (string | undefined)[] = [];
    host.call = (request) => {
      if (request.verb !== 'search') throw new Error(request.verb);
      asked.push(request.after);
      const from = Number(request.after ?? 0);
      const page = { entries: all.slice(from, from + 2), total: all.length, sources: [] };
      return Promise.resolve({ answer: 'library', ...page, ...(from + 2 < all.length ? { next: String(from + 2) } : {}) });
    };
    const library = new Library(new App(host));
    await library.search();
    expect(library.entries.map((e) => e.title)).toEqual(all.map((e) => e.title));
    expect(asked.slice(0, 2)).toEqual([undefined, '2']);
  });

  it('ends also where a page leads to itself', async () => {
    const host = new FakeHost();
    host.call = () => Promise.resolve({ answer: 'library', entries: entries().slice(0, 1), total: 1, sources: [], next: 'x' });
    const library = new Library(new App(host));
    await library.search();
    expect(library.entries).toHaveLength(2);
  });

  it('keeps what it has when a search fails', async () => {
    const host = new FakeHost();
    const library = new Library(new App(host));
    await library.search();
    const had = library.entries.length;
    host.call = () => Promise.reject({ code: 'network', message: 'No.', hint: '' });
    await library.search();
    flushSync();
    expect(library.problem?.code).toBe('network');
    expect(library.entries).toHaveLength(had);
  });
});

describe('lines', () => {
  it('of a card tell what is left while preparing', () => {
    const livepc = sample({ state: 'preparing', boot_ready: false, complete: false, boot_bytes_local: 18e6, boot_bytes_total: 41e6 });
    expect(plain(status(livepc, sampleJob({ bytes_per_second: 1e6 })))).toEqual(['about 25 seconds left', '18 of 41 MB · 1 MB/s']);
  });

  it('of a card tell of an update', () => {
    expect(plain(status(sample({ update_bytes: 11e6 }), null))).toEqual(['update ready: 11 MB', 'complete · 1.9 GB']);
  });

  it('of a job tell its numbers', () => {
    const damage = { chunks: 2, bytes: 5e5, repaired_chunks: 1, repaired_bytes: 2e5 };
    const verify = sampleJob({ kind: 'verify', status: 'done', damage });
    expect(plain(numbersOf(verify))).toEqual(['1.9 GB', '500 kB damaged, 200 kB of it fetched again']);
    expect(numbersOf({ ...verify, damage: { ...damage, chunks: 0 } })).toHaveLength(1);
    expect(plain(numbersOf(sampleJob({ bytes_reused: 0.4e9 })))).toEqual(['800 MB of 1.9 GB', '11 MB/s', 'about 2 minutes left', '400 MB reused']);
    expect(phaseOf(sampleJob({ status: 'waiting' }))).toBe('Waiting for the network');
    expect(progress(sampleJob({ status: 'done', bytes_total: 0 }))).toBe(1);
  });
});

describe('the menu of a machine', () => {
  it('offers to stop it in order also while it is stopping', () => {
    const app = new App(new FakeHost());
    const labels = (state: 'stopping' | 'stopped') => menuOf(sample({ state }), app, false).flat().map((item) => item.label);
    expect(labels('stopping')).toContain('Stop');
    expect(labels('stopped')).not.toContain('Stop');
  });
});

describe('problems', () => {
  it('are copied with all that a report needs', () => {
    expect(details(problem, 'Net Lab')).toMatch(/About: Net Lab\nCode: disk-full\nMessage: Full\.\nHint: Free some\.\nVersion: LivePC \d/);
  });

  it('offer Retry only where it can help', () => {
    expect(canRetry(problem)).toBe(true);
    expect(canRetry({ ...problem, code: 'trust' })).toBe(false);
  });
});

describe('what is dropped or pasted', () => {
  it('is an address, or nothing', () => {
    expect(addressIn('# from a list\r\nhttps://a.example/x')).toBe('https://a.example/x');
    for (const bad of ['', 'hello', 'javascript:alert(1)', 'data:text/html,x', `https://a.example/${'x'.repeat(3000)}`]) expect(addressIn(bad), bad.slice(0, 20)).toBeNull();
  });

  it('opens the confirmation for a link, the source dialog for another address', () => {
    const app = new App(new FakeHost());
    expect(feedOfLink('livepc://subscribe?feed=https%3A%2F%2Fa.example%2Ff')).toBe('https://a.example/f');
    expect(feedOfLink('livepc://subscribe?feed=javascript:x')).toBeNull();
    expect(offer('livepc://subscribe?feed=https://a.example/f', app)).toBe(true);
    expect(app.confirming).toBe('https://a.example/f');
    expect(offer('https://a.example/catalog', app)).toBe(true);
    expect(app.addingSource).toBe('https://a.example/catalog');
    expect(offer('livepc://start?id=x', app), 'no other verb is reachable from a link').toBe(false);
  });
});
