import type { Job } from '../lib/bindings/Job';
import { ago, bytes, bytesOf, fraction, speed, timeLeft } from '../lib/format';
import { words } from '../lib/words';

/** True for a job that goes on no more. */
export function isOver(job: Job): boolean {
  return job.status === 'failed' || job.status === 'cancelled' || job.status === 'done';
}

/** How far a job is, 0 to 1. */
export function progress(job: Job): number {
  return job.status === 'done' ? 1 : fraction(job.bytes_done, job.bytes_total);
}

/** The first line about a job: what it does, or how it stands. */
export function phaseOf(job: Job): string {
  if (job.status === 'running') return words.activity.phase[job.phase];
  if (job.status === 'done' && job.ended) return `${words.activity.kind[job.kind]} ${words.activity.status.done.toLowerCase()} ${ago(job.ended)}`;
  if (isOver(job) && job.ended) return `${words.activity.status[job.status]} ${ago(job.ended)}`;
  return words.activity.status[job.status];
}

/** The numbers of a job: done of total, speed, time left, reused. */
export function numbersOf(job: Job): string[] {
  const numbers: string[] = [];
  if (job.bytes_total > 0) {
    numbers.push(job.status === 'done' ? bytes(job.bytes_total) : bytesOf(job.bytes_done, job.bytes_total));
  }
  if (job.status === 'running' && job.bytes_per_second > 0) {
    numbers.push(speed(job.bytes_per_second));
    const left = timeLeft(job.bytes_total - job.bytes_done, job.bytes_per_second);
    if (left) numbers.push(left);
  }
  if (job.export) numbers.push(job.export.place);
  if (job.damage && job.damage.chunks > 0) numbers.push(words.activity.damage(job.damage));
  if (job.bytes_reused > 0) numbers.push(words.activity.reused(job.bytes_reused));
  return numbers;
}
