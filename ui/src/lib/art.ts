/** Pictures made from a feed's URL, the same wherever it is shown. */

/** What a picture is drawn from. */
export interface Art {
  /** The initial of the title. */
  letter: string;
  /** Colours from light to dark. */
  light: string;
  mid: string;
  deep: string;
  motif: 'rings' | 'hills' | 'facets' | 'orbits';
  /** Numbers between 0 and 1 that the motif uses. */
  seeds: number[];
}

// Hues with a saturation at which white text can be read on the dark colour; greens and yellows need less light.
const HUES: readonly [hue: number, saturation: number, shift: number][] = [
  [350, 58, 0],
  [18, 62, 0],
  [34, 58, -3],
  [75, 42, -5],
  [152, 40, -2],
  [182, 48, -2],
  [200, 56, 0],
  [222, 52, 3],
  [248, 44, 4],
  [280, 38, 2],
  [318, 42, 0],
];

const MOTIFS = ['rings', 'hills', 'facets', 'orbits'] as const;

/** FNV-1a, 32 bits: enough to tell feeds apart, and the same everywhere. */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) {
    h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  }
  return h >>> 0;
}

/** A generator of numbers between 0 and 1 (mulberry32). */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** The picture of a LivePC. */
export function artOf(feedUrl: string, title: string): Art {
  const next = numbers(hash(feedUrl));
  next();
  const [hue, saturation, shift] = HUES[Math.floor(next() * HUES.length)] ?? HUES[0]!;
  const motif = MOTIFS[Math.floor(next() * MOTIFS.length)] ?? 'rings';
  const seeds = Array.from({ length: 12 }, () => next());
  const letter = [...title.trim()].find((c) => /[\p{L}\p{N}]/u.test(c))?.toLocaleUpperCase() ?? '·';
  return {
    letter,
    light: `hsl(${hue - 8} ${saturation}% ${62 + shift}%)`,
    mid: `hsl(${hue} ${saturation}% ${45 + shift}%)`,
    deep: `hsl(${hue + 10} ${saturation}% ${29 + shift}%)`,
    motif,
    seeds,
  };
}
