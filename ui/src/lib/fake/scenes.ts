import type { Notes } from '../host';
import type { LibraryEntry } from '../bindings/LibraryEntry';
import type { LivePc } from '../bindings/LivePc';
import type { Problem } from '../bindings/Problem';
import type { Snapshot } from '../bindings/Snapshot';
import type { SourceStatus } from '../bindings/SourceStatus';
import { sample, sampleJob } from '../samples';
import { before, entries, labelOf, manyEntries, sources } from './content';

/** What the invented host shows, chosen with ?scene=… in the address. */
export const SCENES = ['lively', 'empty', 'offline', 'downloading', 'running', 'failed', 'kept', 'many', 'buttons', 'away', 'alike', 'mended'] as const;
export type Scene = (typeof SCENES)[number];

/** Everything that the invented host keeps. */
export interface World {
  snapshot: Snapshot;
  entries: LibraryEntry[];
  sources: SourceStatus[];
}

const MB = 1e6;

const STORE = '/home/ada/.local/share/livepc/store';
export const UNREACHABLE: Problem = {
  code: 'network',
  message: 'The server community.example.org could not be reached: the connection timed out after 20 s.',
  hint: 'Check your network. What is on this computer still works.',
};
export const NO_SPACE: Problem = {
  code: 'disk-full',
  message: 'There is no space left: 3.1 GB more are needed on the disk of the store, and 0.4 GB are free.',
  hint: 'Free some space, then try again: what is already here is kept.',
};
export const NO_KVM: Problem = {
  code: 'hypervisor',
  message: 'QEMU ended at once: it could not open /dev/kvm, because your user is not in the group kvm.',
  hint: 'Add yourself to that group, sign in again, then start it again.',
};
export const NO_BOOT: Problem = {
  code: 'hypervisor',
  message: 'The guest ended before its system was up.',
  hint: 'Start it again, or go back to the release before.',
};
const PASSED_OVER = 'This machine does not run with VMware: its disk “system” is read over a connection that VMware does not know.';
export const WRONG_KEY: Problem = {
  code: 'trust',
  message: 'The feed is signed with another key than the one that the head names.',
  hint: 'Nothing was changed here. Ask the publisher by another way than this server before you go on.',
};

const MENDED =
  'LivePC’s state, /home/ada/.local/share/livepc/state.db, was damaged (database disk image is malformed). It was made again from the copy of 2026-11-27 21:14 UTC, and from what is kept of each subscription. The damaged file is /home/ada/.local/share/livepc/state.damaged-20261128T091503Z.db.\nThe subscription “forensics-101” could not be read and was set aside; it is back, from what is kept of it.';

/** What there is to say of the agent in a scene. */
export function notesOf(scene: Scene): Notes {
  return scene === 'mended' ? { notice: MENDED, older: '0.1.0' } : { notice: null, older: null };
}

/** Two publishers with the same title: one that is subscribed, one whose key is not known yet, and one whose key is. */
function lookAlike(all: LibraryEntry[]): void {
  const of = (slug: string) => all.find((e) => e.feed_url.includes(`/${slug}/`));
  const [net, plan, signal] = [of('net-lab'), of('plan-9'), of('signal-bench')];
  for (const entry of [net, plan, signal]) if (entry) Object.assign(entry, { title: 'Net Lab', alike: true });
  if (plan) plan.feed_url = 'https://net-lab.downloads.tu-networks.example.net/plan-9/feed.atom';
  if (signal) signal.fingerprint = 'aaaa 0bcd 1234 5678 90ab cdef 0011 2233';
}

function livepc(all: LibraryEntry[], slug: string, over: Partial<LivePc>): LivePc {
  const entry = all.find((e) => e.feed_url.includes(`/${slug}/`));
  if (!entry) throw new Error(`no invented LivePC ${slug}`);
  entry.subscribed = slug;
  const total = entry.full_bytes ?? 900 * MB;
  const boot = entry.boot_ready_bytes ?? 0;
  return sample({
    id: slug,
    title: entry.title,
    summary: entry.summary,
    publisher: entry.publisher,
    guest_os: entry.guest_os,
    feed_url: entry.feed_url,
    bytes_local: total,
    bytes_total: total,
    boot_bytes_local: boot,
    boot_bytes_total: boot,
    has_boot_map: boot > 0,
    ...over,
  });
}

/** The release in use and the newest one. */
export function using(slug: string, used: number, newest: number): Partial<LivePc> {
  return { release_in_use: used, label_in_use: labelOf(slug, used), release_available: newest, label_available: labelOf(slug, newest) };
}

/** A LivePC that was just subscribed to. */
export function fresh(all: LibraryEntry[], slug: string): LivePc {
  return livepc(all, slug, {
    state: 'preparing',
    boot_ready: false,
    complete: false,
    bytes_local: 0,
    boot_bytes_local: 0,
    last_used: null,
    store_bytes_private: 0,
    machine_bytes: 0,
    release_in_use: null,
    label_in_use: null,
    release_available: 3,
    label_available: '3.0',
  });
}

function preparing(all: LibraryEntry[]) {
  const one = fresh(all, 'rust-workshop');
  return { ...one, boot_bytes_local: 18 * MB, bytes_local: 31 * MB };
}

/** The world of a scene, as it begins. */
export function world(scene: Scene): World {
  const all = scene === 'many' ? manyEntries(3000) : entries();
  const snapshot: Snapshot = {
    livepcs: [],
    jobs: [],
    paused: false,
    store: { place: STORE, bytes: 41.2e9, free: 118e9 },
    library_revision: 1,
  };
  const result: World = { snapshot, entries: all, sources: sources() };
  if (scene === 'empty') {
    return { snapshot: { ...snapshot, store: { place: STORE, bytes: 0, free: 159e9 } }, entries: [], sources: [] };
  }
  if (scene === 'many') {
    result.sources = [{ ...(sources()[0] as SourceStatus), entries: 3000 }];
    return result;
  }
  const debian = livepc(all, 'debian-desktop', { complete: false, bytes_local: 1180 * MB, last_used: before(3 * 1440), ...using('debian-desktop', 12, 12), machine_bytes: 640 * MB });
  const gis = livepc(all, 'gis-studio', { update_bytes: 11 * MB, ...using('gis-studio', 30, 31), last_used: before(6 * 1440), machine_bytes: 2.3e9 });
  const net = livepc(all, 'net-lab', { state: 'running', hypervisor: 'qemu', last_used: before(26) });
  const rust = preparing(all);
  const download = sampleJob({ job: 14, id: 'rust-workshop', title: 'Rust Workshop', release: 3, phase: 'boot-ready', bytes_done: 31 * MB, bytes_total: 2300 * MB, bytes_per_second: 3.4e6, bytes_reused: 0 });
  const fill = sampleJob({ job: 13, id: 'debian-desktop', title: 'Debian Desktop', release: 12, status: 'paused', bytes_done: 1180 * MB, bytes_total: 1900 * MB, bytes_reused: 420 * MB, bytes_per_second: 0 });
  const done = sampleJob({ job: 11, id: 'net-lab', title: 'Net Lab', status: 'done', bytes_done: 1400 * MB, bytes_total: 1400 * MB, bytes_reused: 1290 * MB, ended: before(190) });
  const checked = sampleJob({ job: 9, id: 'gis-studio', title: 'GIS Studio', kind: 'verify', phase: 'checking', status: 'done', bytes_done: 6100 * MB, bytes_total: 6100 * MB, ended: before(1500) });
  const failed = sampleJob({ job: 12, id: 'gis-studio', title: 'GIS Studio', status: 'failed', bytes_done: 3.2e9, bytes_total: 6.1e9, ended: before(44), problem: NO_SPACE });
  const order = (livepcs: LivePc[]) => [...livepcs].sort((a, b) => a.title.localeCompare(b.title));

  switch (scene) {
    case 'offline':
      result.sources = result.sources.map((s, i) => (i === 1 ? { ...s, problem: UNREACHABLE, checked: before(3000) } : s));
      snapshot.livepcs = order([debian, { ...net, state: 'stalled', problem: { ...UNREACHABLE, message: 'The machine waits for data: the server feeds.example.org could not be reached.', hint: 'It goes on by itself as soon as the server answers.' } }]);
      snapshot.jobs = [{ ...fill, status: 'waiting', problem: UNREACHABLE }];
      break;
    case 'downloading':
      snapshot.livepcs = [rust];
      snapshot.jobs = [download];
      break;
    case 'running':
      snapshot.livepcs = order([{ ...debian, state: 'running', hypervisor: 'qemu' }, gis, net]);
      snapshot.jobs = [{ ...fill, status: 'running', bytes_per_second: 8.2e6 }, done];
      break;
    case 'failed':
      snapshot.livepcs = order([{ ...debian, state: 'failed', problem: NO_KVM }, { ...gis, trust: 'first-seen', stale: { why: 'expired', since: before(40 * 1440) }, yanked: 30 }]);
      snapshot.jobs = [failed, done];
      break;
    // Suspended, failing after an update, keeping its changes, and on a release that somebody chose.
    case 'kept':
      snapshot.livepcs = order([
        { ...debian, state: 'suspended', hypervisor: 'qemu', suspended: before(150), suspended_bytes: 1.1e9, changes_bytes: 96 * MB, last_used: before(400) },
        { ...gis, ...using('gis-studio', 31, 31), update_bytes: null, state: 'failed', rollback_to: 30, problem: NO_BOOT },
        { ...net, state: 'stopped', keep_changes: true, changes_bytes: 420 * MB, own_disks: [{ role: 'user', size: 8e9, made: true }, { role: 'scratch', size: 2e9, made: false }] },
        livepc(all, 'signal-bench', { ...using('signal-bench', 5, 6), pinned: 5, update_bytes: 240 * MB, policy: 'notify', last_used: before(9 * 1440) }),
      ]);
      snapshot.jobs = [done];
      break;
    case 'alike':
      lookAlike(all);
      snapshot.livepcs = order([debian, { ...net, alike: true }, { ...livepc(all, 'signal-bench', {}), fingerprint: 'aaaa 0bcd 1234 5678 90ab cdef 0011 2233', alike: true }]);
      break;
    // The state was made again, an older agent runs, and a publisher no longer offers what is in use.
    case 'mended':
      snapshot.livepcs = order([
        { ...debian, withdrawn: 12, pinned: 12, ...using('debian-desktop', 12, 14) },
        { ...gis, withdrawn: 30, keep_changes: true, changes_bytes: 96 * MB },
        net,
      ]);
      snapshot.omitted = 12;
      break;
    default:
      // It runs in QEMU although VMware is there.
      snapshot.livepcs = order([debian, gis, { ...net, passed_over: PASSED_OVER }, rust]);
      snapshot.jobs = [download, fill, failed, done, checked];
  }
  return result;
}
