import { isLive } from '../lib/app.svelte';
import type { HypervisorKind } from '../lib/bindings/HypervisorKind';
import type { Job } from '../lib/bindings/Job';
import type { LivePc } from '../lib/bindings/LivePc';
import type { ReleaseInfo } from '../lib/bindings/ReleaseInfo';
import { bytes, bytesOf, since, speed, timeLeft } from '../lib/format';
import { words } from '../lib/words';

/** What is here of a LivePC, as one line. */
export function local(livepc: LivePc): string {
  if (livepc.complete) return words.machines.complete(livepc.bytes_total);
  if (livepc.boot_ready) return words.machines.bootReady(livepc.bytes_local, livepc.bytes_total);
  if (livepc.bytes_total > 0 && livepc.bytes_local > 0) {
    return words.machines.partial(livepc.bytes_local, livepc.bytes_total);
  }
  return words.machines.absent;
}

/** What a card says of a LivePC that is subscribed: one or two short lines. */
export function status(livepc: LivePc, job: Job | null): string[] {
  if (livepc.state === 'preparing' && job) {
    const [done, total] = livepc.has_boot_map
      ? [livepc.boot_bytes_local, livepc.boot_bytes_total]
      : [livepc.bytes_local, livepc.bytes_total];
    const left = timeLeft(total - done, job.bytes_per_second);
    const moving = total > 0 ? `${bytesOf(done, total)} · ${speed(job.bytes_per_second)}` : words.activity.phase[job.phase];
    return left ? [left, moving] : [moving];
  }
  if (livepc.suspended !== null) return [...suspended(livepc).slice(0, 1), local(livepc)];
  const label = livepc.label_in_use ?? livepc.label_available;
  const first = livepc.update_bytes !== null ? words.machines.updateReady(livepc.update_bytes) : label && words.machines.release(label);
  return [...(first ? [first] : []), local(livepc)];
}

/** A release by its label, where that is known; else by its number. */
export function releaseName(livepc: LivePc, sequence: number, releases: ReleaseInfo[] = []): string {
  const known = releases.find((r) => r.sequence === sequence)?.label;
  if (known) return known;
  if (sequence === livepc.release_in_use && livepc.label_in_use) return livepc.label_in_use;
  if (sequence === livepc.release_available && livepc.label_available) return livepc.label_available;
  return words.machines.unnamed(sequence);
}

/** The release that it stays on, because somebody chose it or because its changes are kept; null if it takes updates. */
export function staysOnSequence(livepc: LivePc): number | null {
  return livepc.pinned ?? (livepc.keep_changes ? (livepc.release_in_use ?? livepc.release_available) : null);
}

/** The name of the release that it stays on; null if it takes updates. */
export function staysOn(livepc: LivePc): string | null {
  const sequence = staysOnSequence(livepc);
  return sequence === null ? null : releaseName(livepc, sequence);
}

/** The only hypervisor that can start it, since its memory or its kept changes belong to that one. */
export function boundTo(livepc: LivePc): HypervisorKind | null {
  return livepc.suspended !== null || livepc.keep_changes ? livepc.hypervisor : null;
}

/** The hypervisor that it is in, if it runs or belongs to one. */
export function isIn(livepc: LivePc): string[] {
  const kind = isLive(livepc) ? livepc.hypervisor : boundTo(livepc);
  return kind === null ? [] : [words.machines.isIn(kind)];
}

/** Since when it is suspended, and with how much. */
export function suspended(livepc: LivePc): string[] {
  if (livepc.suspended === null) return [];
  return [words.machines.suspended(since(livepc.suspended)), ...(livepc.suspended_bytes > 0 ? [words.machines.memory(livepc.suspended_bytes)] : [])];
}

/** What its page tells of the disk that its releases take: what unsubscribing frees, and what others need too. */
export function storeFacts(livepc: LivePc): { name: string; value: string; note?: string }[] {
  const { store_bytes_private: own, store_bytes_shared: shared } = livepc;
  if (own + shared === 0) return [];
  return [{ name: words.detail.onDisk, value: bytes(own), ...(shared > 0 ? { note: words.detail.shared(shared) } : {}) }];
}

/** What its page tells of its changes, its memory and its updates. */
export function lifeFacts(livepc: LivePc): { name: string; value: string; note?: string }[] {
  const stays = staysOn(livepc);
  return [
    ...(livepc.suspended !== null
      ? [{ name: words.detail.suspended, value: words.detail.since(since(livepc.suspended)), note: words.machines.memory(livepc.suspended_bytes) }]
      : []),
    ...(livepc.keep_changes || livepc.changes_bytes > 0
      ? [{ name: words.detail.changes, value: bytes(livepc.changes_bytes), note: livepc.keep_changes ? words.detail.kept : words.detail.notKept }]
      : []),
    { name: words.detail.updates, value: stays === null ? words.detail.policy[livepc.policy] : words.machines.stays(stays) },
  ];
}
