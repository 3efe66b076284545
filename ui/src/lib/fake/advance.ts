import type { Job } from '../bindings/Job';
import type { LivePc } from '../bindings/LivePc';
import type { Snapshot } from '../bindings/Snapshot';

/** The snapshot after `milliseconds`: downloads have moved on, machines have started or stopped. */
export function advance(snapshot: Snapshot, milliseconds: number): Snapshot {
  const seconds = milliseconds / 1000;
  const jobs = snapshot.jobs.map((job) => (snapshot.paused ? job : move(job, seconds)));
  const livepcs = snapshot.livepcs.map((livepc) => settle(livepc, jobs.find((j) => j.id === livepc.id && j.kind === 'download')));
  return { ...snapshot, jobs, livepcs };
}

function move(job: Job, seconds: number): Job {
  if (job.status !== 'running') return job;
  // A speed that breathes, so that the numbers look alive.
  const speed = Math.max(1e6, job.bytes_per_second * (0.97 + Math.random() * 0.06));
  const done = Math.min(job.bytes_total, job.bytes_done + speed * seconds);
  const over = done >= job.bytes_total;
  return {
    ...job,
    bytes_done: Math.round(done),
    bytes_per_second: Math.round(speed),
    status: over ? 'done' : 'running',
    ended: over ? new Date().toISOString() : null,
  };
}

/** What a machine is when it has ended: its system disk is clean again, unless changes are kept. */
export function ended(livepc: LivePc): Partial<LivePc> {
  const kept = livepc.keep_changes;
  return { state: 'stopped', changes_bytes: kept ? livepc.changes_bytes : 0, hypervisor: kept ? livepc.hypervisor : null, passed_over: null };
}

function settle(livepc: LivePc, job: Job | undefined): LivePc {
  const next = { ...livepc };
  if (next.state === 'starting') next.state = 'running';
  else if (next.state === 'stopping') Object.assign(next, ended(next));
  if (job && job.status !== 'cancelled' && !next.complete) {
    next.bytes_local = Math.max(next.bytes_local, job.bytes_done);
    next.boot_bytes_local = Math.min(next.boot_bytes_total, Math.max(next.boot_bytes_local, next.bytes_local));
    next.complete = next.bytes_local >= next.bytes_total;
    next.boot_ready = next.complete || (next.has_boot_map && next.boot_bytes_local >= next.boot_bytes_total);
    if (next.state === 'preparing' && next.boot_ready) next.state = 'ready';
  }
  return next;
}
