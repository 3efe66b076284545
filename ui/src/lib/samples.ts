import type { Job } from './bindings/Job';
import type { LivePc } from './bindings/LivePc';

/** A LivePC with all of it here, changed by `over`: for the invented host, screenshots and tests. */
export function sample(over: Partial<LivePc> = {}): LivePc {
  return {
    id: 'net-lab',
    title: 'Net Lab',
    summary: 'Twelve routers and a packet analyser, wired and waiting.',
    publisher: 'TU Networks',
    guest_os: 'linux',
    feed_url: 'https://lab.example.edu/net-lab/feed.atom',
    publisher_key: 'RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3',
    fingerprint: '3f9a 02c7 b81e 4d56 90aa 17f3 6be2 c404',
    trust: 'verified',
    release_in_use: 7,
    label_in_use: '7.0',
    release_available: 7,
    label_available: '7.0',
    boot_ready: true,
    complete: true,
    has_boot_map: true,
    bytes_local: 1.9e9,
    bytes_total: 1.9e9,
    boot_bytes_local: 41e6,
    boot_bytes_total: 41e6,
    update_bytes: null,
    state: 'stopped',
    problem: null,
    stale: null,
    yanked: null,
    checked: new Date(Date.now() - 12 * 60_000).toISOString(),
    last_used: new Date(Date.now() - 2 * 86_400_000).toISOString(),
    store_bytes_private: 2.4e9,
    store_bytes_shared: 0,
    machine_bytes: 312e6,
    hypervisor: null,
    passed_over: null,
    policy: 'auto',
    pinned: null,
    keep_changes: false,
    changes_bytes: 0,
    suspended: null,
    suspended_bytes: 0,
    own_disks: [],
    rollback_to: null,
    ...over,
  };
}

/** A running download, changed by `over`. */
export function sampleJob(over: Partial<Job> = {}): Job {
  return {
    job: 1,
    id: 'net-lab',
    title: 'Net Lab',
    kind: 'download',
    release: 7,
    until: 'complete',
    export: null,
    repair: false,
    damage: null,
    phase: 'complete',
    status: 'running',
    bytes_done: 0.8e9,
    bytes_total: 1.9e9,
    bytes_reused: 0,
    bytes_per_second: 11e6,
    started: new Date(Date.now() - 90_000).toISOString(),
    ended: null,
    problem: null,
    ...over,
  };
}
