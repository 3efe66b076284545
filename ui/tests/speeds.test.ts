import { describe, expect, it } from 'vitest';
import { after, graphOf, type Speeds } from '../src/lib/speeds';
import { sampleJob } from '../src/lib/samples';

describe('the speeds of jobs', () => {
  const job = sampleJob({ job: 3, bytes_per_second: 5 });

  it('are remembered while a job runs, and no longer', () => {
    let speeds: Speeds = new Map();
    for (let i = 0; i < 500; i++) speeds = after(speeds, [{ ...job, bytes_per_second: i }]);
    expect(speeds.get(3)).toHaveLength(120);
    expect(speeds.get(3)?.at(-1)).toBe(499);
    expect(after(speeds, [{ ...job, status: 'paused' }]).has(3)).toBe(false);
  });

  it('are drawn when there is something to see', () => {
    let speeds: Speeds = new Map();
    for (let i = 0; i < 3; i++) speeds = after(speeds, [job]);
    expect(graphOf(speeds, job)).toBeNull();
    expect(graphOf(after(speeds, [job]), job)).toEqual([5, 5, 5, 5]);
    const still = { ...job, bytes_per_second: 0 };
    let none: Speeds = new Map();
    for (let i = 0; i < 9; i++) none = after(none, [still]);
    expect(graphOf(none, still)).toBeNull();
  });
});
