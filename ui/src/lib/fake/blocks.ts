import type { BlockMap } from '../bindings/BlockMap';
import type { LivePc } from '../bindings/LivePc';

const CELLS = 640;

/** A map as it looks on the way: what a start reads came first, from here and there; then the rest in order. */
export function blockMap(livepc: LivePc, release: number): BlockMap {
  const boot = Array.from({ length: CELLS }, (_, at) => (at * 7919) % 100 < 14);
  const share = livepc.bytes_total > 0 ? livepc.bytes_local / livepc.bytes_total : 0;
  const front = Math.floor(share * CELLS);
  const here = boot.map((isBoot, at) => {
    if (at < front || (isBoot && livepc.boot_ready)) return 100;
    if (at === front) return 40;
    return isBoot && (at * 31) % 100 < share * 300 ? 100 : 0;
  });
  const fetching = here.map((part, at) => part < 100 && at >= front && at < front + 4);
  return { release, here, boot, fetching };
}
