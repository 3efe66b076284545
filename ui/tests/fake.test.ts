import { describe, expect, it } from 'vitest';
import { ask } from '../src/lib/host';
import { FakeHost } from '../src/lib/fake';
import { SCENES, world } from '../src/lib/fake/scenes';

const show = async (host: FakeHost, id: string) => (await ask(host, { verb: 'show', id, exact: true }, 'shown')).livepc;

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
      expect(l.suspended !== null, 'it has a time exactly if it is suspended').toBe(l.state === 'suspended');
      if (l.rollback_to !== null) expect(l.rollback_to, 'back is earlier').toBeLessThan(l.release_in_use ?? 0);
      const live = ['running', 'stalled'].includes(l.state);
      if (live || l.suspended !== null) expect(l.hypervisor, 'it is in one of them').not.toBeNull();
      if (l.passed_over !== null) expect(live, 'only what runs has another that was to be preferred').toBe(true);
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
    const state = async () => (await ask(host, { verb: 'show', id: 'retro-basic', exact: true }, 'shown')).livepc;
    expect((await state()).state).toBe('preparing');
    host.tick(500);
    expect((await state()).state, 'boot-ready is 2 MB').toBe('ready');
    host.tick(5000);
    expect((await state()).complete).toBe(true);
    await host.call({ verb: 'start', id: 'retro-basic', display: 'window', serial: null, fill: true, hypervisor: null, cd: null, overcommit: false });
    host.tick(500);
    expect((await state()).state).toBe('running');
  });

  it('suspends what runs, and goes on or is reverted from there', async () => {
    const host = new FakeHost({ scene: 'running' });
    const { livepc } = await ask(host, { verb: 'suspend', id: 'net-lab' }, 'live-pc');
    expect(livepc).toMatchObject({ state: 'suspended', suspended: expect.any(String) });
    expect(livepc.suspended_bytes).toBeGreaterThan(0);
    await expect(host.call({ verb: 'suspend', id: 'net-lab' }), 'only what runs').rejects.toMatchObject({ code: 'busy' });
    await host.call({ verb: 'start', id: 'net-lab', display: 'window', serial: null, fill: true, hypervisor: null, cd: null, overcommit: false });
    host.tick(500);
    expect((await show(host, 'net-lab')).state).toBe('running');
    await host.call({ verb: 'suspend', id: 'net-lab' });
    const reverted = (await ask(host, { verb: 'revert', id: 'net-lab' }, 'live-pc')).livepc;
    expect(reverted).toMatchObject({ state: 'stopped', suspended: null, suspended_bytes: 0 });
    await expect(host.call({ verb: 'revert', id: 'net-lab' })).rejects.toMatchObject({ code: 'busy' });
  });

  it('has changes until they are reset, or no longer kept', async () => {
    const host = new FakeHost({ scene: 'kept' });
    expect((await ask(host, { verb: 'keep', id: 'net-lab', keep: false }, 'live-pc')).livepc).toMatchObject({ keep_changes: false, changes_bytes: 0 });
    const other = new FakeHost({ scene: 'kept' });
    expect((await ask(other, { verb: 'reset', id: 'net-lab' }, 'live-pc')).livepc).toMatchObject({ keep_changes: true, changes_bytes: 0 });
    await expect(other.call({ verb: 'reset', id: 'debian-desktop' }), 'suspended').rejects.toMatchObject({ code: 'busy' });
  });

  it('starts the release that was chosen, and the newest again', async () => {
    const host = new FakeHost({ scene: 'kept' });
    const id = 'signal-bench';
    const start = async () => {
      await host.call({ verb: 'start', id, display: 'window', serial: null, fill: true, hypervisor: null, cd: null, overcommit: false });
      await host.call({ verb: 'stop', id, force: true, timeout: 1 });
      return (await show(host, id)).release_in_use;
    };
    expect(await start()).toBe(5);
    await host.call({ verb: 'pin', id, release: null });
    expect(await start()).toBe(6);
    expect((await ask(host, { verb: 'rollback', id, release: null }, 'live-pc')).livepc.pinned, 'the one before').toBe(5);
    expect(await start()).toBe(5);
    await expect(host.call({ verb: 'pin', id, release: 99 })).rejects.toMatchObject({ code: 'not-found' });
    expect((await ask(host, { verb: 'set-policy', id, policy: 'auto' }, 'live-pc')).livepc.policy).toBe('auto');
    expect((await ask(host, { verb: 'rollback', id: 'gis-studio', release: 30 }, 'live-pc')).livepc).toMatchObject({ pinned: 30, rollback_to: null });
  });

  it('starts in the hypervisor that was asked for, that it belongs to, or that can run it', async () => {
    const host = new FakeHost();
    const start = (id: string, hypervisor: 'qemu' | 'vmware' | null) =>
      ask(host, { verb: 'start', id, display: 'window', serial: null, fill: true, hypervisor, cd: null, overcommit: false }, 'live-pc');
    expect((await start('gis-studio', null)).livepc).toMatchObject({ hypervisor: 'vmware', passed_over: null });
    const { livepc } = await start('debian-desktop', null);
    expect(livepc, 'VMware waits for all of it').toMatchObject({ hypervisor: 'qemu', passed_over: expect.stringContaining('VMware') });
    await host.call({ verb: 'stop', id: 'debian-desktop', force: true, timeout: 1 });
    await expect(start('debian-desktop', 'vmware')).rejects.toMatchObject({ code: 'hypervisor' });
    await host.call({ verb: 'config-set', name: 'vmware.streaming', value: 'true' });
    expect((await start('debian-desktop', 'vmware')).livepc.hypervisor).toBe('vmware');
    await expect(new FakeHost({ scene: 'kept' }).call({ verb: 'start', id: 'signal-bench', display: 'window', serial: null, fill: true, hypervisor: 'vmware', cd: null, overcommit: false })).rejects.toMatchObject({ message: expect.stringContaining('not found') });
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
