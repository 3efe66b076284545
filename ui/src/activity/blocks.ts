import type { BlockMap } from '../lib/bindings/BlockMap';

/** What a cell of a block map shows. */
export type CellKind = 'absent' | 'boot' | 'fetching' | 'here';

/** What is shown of a cell: what moves, then what is here, then what a start would wait for. */
export function kindOf(map: BlockMap, at: number): CellKind {
  if (map.fetching[at]) return 'fetching';
  if ((map.here[at] ?? 0) === 100) return 'here';
  if (map.boot[at]) return 'boot';
  return (map.here[at] ?? 0) > 0 ? 'here' : 'absent';
}

/** A map in numbers, for those who do not see it: hundredths that are here, and cells in which a start misses something. */
export function summary(map: BlockMap): { here: number; boot: number } {
  const sum = map.here.reduce((all, one) => all + one, 0);
  const missing = map.boot.filter((boot, at) => boot && map.here[at] !== 100);
  return { here: map.here.length > 0 ? Math.floor(sum / map.here.length) : 0, boot: missing.length };
}
