import { describe, expect, it } from 'vitest';
import { ask } from '../src/lib/host';
import { FakeHost } from '../src/lib/fake';
import { SCENES, world } from '../src/lib/fake/scenes';

describe('the invented host', () => {
  it.each(SCENES)('is consistent in scene %s', (scene) => {
    const { snapshot, entries, sources } = world(scene);
    const ids = new Set(snapshot.livepcs.map((l) => l.id));
    expect(ids.size, 'ids are unique').toBe(snapshot.livepcs.length);
    expect(new Set(entries.map((e) => e.feed_url)).size, 'feeds are unique').toBe(entries.length);
    for (const entry of entries) {
      if (entry.subscribed !== null && scene !== 'downloading') expect([...ids, 'rust-workshop', 'gis-studio', 'net-lab', 'debian-desktop']).toContain(entry.subscribed);
      expect(sources.length, 'an entry comes from a source').toBeGreaterThan(0);
    }
    for (const l of snapshot.livepcs) {
      expect(l.bytes_local).toBeLessThanOrEqual(l.bytes_total);
      expect(l.boot_bytes_local).toBeLessThanOrEqual(l.boot_bytes_total);
      if (l.complete) expect(l.boot_ready, 'what is complete is boot-ready').toBe(true);
    }
    for (const j of snapshot.jobs) expect(j.bytes_reused).toBeLessThanOrEqual(j.bytes_done);
  });

  it('goes from subscribing to ready and complete', async () => {
    const host = new FakeHost();
    const feed_url = 'https://feeds.example.org/retro-basic/feed.atom';
    const { preview } = await ask(host, { verb: 'preview', feed_url }, 'preview');
    expect(preview.subscribed).toBeNull();
    await ask(host, { verb: 'subscribe', feed_url, fingerprint: preview.fingerprint, download: true }, 'live-pc');
    const state = async () => (await ask(host, { verb: 'show', id: 'retro-basic' }, 'shown')).livepc;
    expect((await state()).state).toBe('preparing');
    host.tick(500);
    expect((await state()).state, 'boot-ready is 2 MB').toBe('ready');
    host.tick(5000);
    expect((await state()).complete).toBe(true);
    await host.call({ verb: 'start', id: 'retro-basic', display: 'window', serial: null, fill: true });
    host.tick(500);
    expect((await state()).state).toBe('running');
  });

  it('moves nothing while all is paused', async () => {
    const host = new FakeHost();
    await host.call({ verb: 'pause-all', paused: true });
    const job = async () => (await ask(host, { verb: 'snapshot' }, 'snapshot')).snapshot.jobs.find((j) => j.status === 'running')?.bytes_done;
    const was = await job();
    host.tick(10_000);
    expect(await job()).toBe(was);
  });

  it('rejects an answer of another kind with a Problem', async () => {
    await expect(ask(new FakeHost(), { verb: 'list' }, 'snapshot')).rejects.toMatchObject({ code: 'update-livepc' });
  });
});
