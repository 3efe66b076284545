import type { Job } from '../lib/bindings/Job';
import type { LivePc } from '../lib/bindings/LivePc';
import { bytesOf, speed, timeLeft } from '../lib/format';
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
  const label = livepc.label_in_use ?? livepc.label_available;
  const first = livepc.update_bytes !== null ? words.machines.updateReady(livepc.update_bytes) : label && words.machines.release(label);
  return [...(first ? [first] : []), local(livepc)];
}
