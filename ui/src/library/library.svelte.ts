import type { LibraryEntry } from '../lib/bindings/LibraryEntry';
import type { Problem } from '../lib/bindings/Problem';
import type { SourceStatus } from '../lib/bindings/SourceStatus';
import type { App } from '../lib/app.svelte';
import { asProblem } from '../lib/host';

/** A filter of the Library, made from what is in it. */
export interface Chip {
  key: string;
  label: string;
  kind: 'guest' | 'category' | 'subscribed';
}

const CATEGORIES = 8;

/** What the Library shows: the entries that a search found, and the filters that narrow them. */
export class Library {
  text = $state('');
  entries = $state.raw<LibraryEntry[]>([]);
  total = $state(0);
  sources = $state.raw<SourceStatus[]>([]);
  problem = $state.raw<Problem | null>(null);
  /** True once an answer has come. */
  loaded = $state(false);
  chosen = $state.raw<ReadonlySet<string>>(new Set());
  refreshing = $state(false);

  readonly chips: Chip[] = $derived(chipsOf(this.entries));
  readonly shown: LibraryEntry[] = $derived(filter(this.entries, this.chosen, this.chips));
  readonly #app: App;
  #latest = 0;

  constructor(app: App) {
    this.#app = app;
  }

  /** Searches; of several at a time only the last one counts. */
  async search(): Promise<void> {
    const mine = ++this.#latest;
    try {
      const text = this.text.trim();
      const found: LibraryEntry[] = [];
      let after: string | undefined;
      // A Library of many entries comes in pages. What is shown stays until all are there; where there is nothing, the first is.
      do {
        const answer = await this.#app.ask({ verb: 'search', text, after }, 'library');
        if (mine !== this.#latest) return;
        found.push(...answer.entries);
        // A page that ends where it began would be asked for for ever.
        after = answer.next === after ? undefined : answer.next;
        if (after === undefined || this.entries.length === 0) this.entries = [...found];
        this.loaded = true;
        this.total = answer.total;
        this.sources = answer.sources;
        this.problem = null;
      } while (after !== undefined);
    } catch (error) {
      if (mine !== this.#latest) return;
      this.problem = asProblem(error);
    }
    this.loaded = true;
  }

  /** Reads all sources again. */
  async refresh(): Promise<void> {
    this.refreshing = true;
    await this.#app.run({ verb: 'source-refresh' });
    await this.search();
    this.refreshing = false;
  }

  /** Turns a filter on or off. */
  toggle(key: string): void {
    const next = new Set(this.chosen);
    if (!next.delete(key)) next.add(key);
    this.chosen = next;
  }

  /** Shows everything again. */
  clear(): void {
    this.text = '';
    this.chosen = new Set();
  }
}

/** The filters that can tell these entries apart. */
export function chipsOf(entries: LibraryEntry[]): Chip[] {
  const guests = counted(entries.map((e) => e.guest_os).filter(Boolean));
  const categories = counted(entries.flatMap((e) => e.categories));
  const subscribed = entries.filter((e) => e.subscribed !== null).length;
  return [
    ...guests.filter(([, n]) => n < entries.length).map(([guest]) => chip('guest', guest, guestName(guest))),
    ...categories
      .filter(([, n]) => n < entries.length)
      .slice(0, CATEGORIES)
      .map(([category]) => chip('category', category, category)),
    ...(subscribed > 0 && subscribed < entries.length ? [chip('subscribed', '', '')] : []),
  ];
}

function chip(kind: Chip['kind'], value: string, label: string): Chip {
  return { key: `${kind}:${value}`, label, kind };
}

/** Values with their number, the most frequent first. */
function counted(values: string[]): [string, number][] {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0]));
}

/** Entries that pass: any of the chosen of each kind, and every kind. */
export function filter(entries: LibraryEntry[], chosen: ReadonlySet<string>, chips: Chip[]): LibraryEntry[] {
  // A filter whose chip has gone with a new search would hide entries with nothing to turn it off.
  const active = chips.filter((c) => chosen.has(c.key));
  if (active.length === 0) return entries;
  const of = (kind: Chip['kind']) => active.filter((c) => c.kind === kind).map((c) => c.key);
  const [guests, categories, subscribed] = [of('guest'), of('category'), of('subscribed')];
  return entries.filter(
    (e) =>
      (guests.length === 0 || guests.includes(`guest:${e.guest_os}`)) &&
      (categories.length === 0 || e.categories.some((c) => categories.includes(`category:${c}`))) &&
      (subscribed.length === 0 || e.subscribed !== null),
  );
}

const GUESTS: Record<string, string> = {
  linux: 'Linux',
  windows: 'Windows',
  macos: 'macOS',
  freebsd: 'FreeBSD',
  openbsd: 'OpenBSD',
  netbsd: 'NetBSD',
  bsd: 'BSD',
  dos: 'DOS',
  other: 'Other',
};

/** A guest's operating system as people write it. */
export function guestName(guest: string): string {
  return GUESTS[guest.toLowerCase()] ?? guest;
}
