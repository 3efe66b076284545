import type { Job } from './bindings/Job';

/** Speeds that are remembered of a job: half a minute, if snapshots come as often as they can. */
const REMEMBERED = 120;
/** With fewer there is nothing to see. */
const FEW = 4;

/** Bytes a second of the jobs that run, oldest first. */
export type Speeds = ReadonlyMap<number, number[]>;

/** The speeds after one more snapshot; those of jobs that do not run any more are forgotten. */
export function after(speeds: Speeds, jobs: Job[]): Speeds {
  const running = jobs.filter((job) => job.status === 'running');
  return new Map(running.map((job) => [job.job, [...(speeds.get(job.job) ?? []), job.bytes_per_second].slice(-REMEMBERED)]));
}

/** What is shown of a job's speeds; null if that would be nothing. */
export function graphOf(speeds: Speeds, job: Job): number[] | null {
  const of = speeds.get(job.job);
  return of && of.length >= FEW && of.some((speed) => speed > 0) ? of : null;
}
