import type { LibraryEntry } from '../bindings/LibraryEntry';
import type { ReleaseInfo } from '../bindings/ReleaseInfo';
import type { SourceStatus } from '../bindings/SourceStatus';

const MB = 1e6;
const CAMPUS = 'https://livepc.example.edu/catalog.atom';
const COMMUNITY = 'https://community.example.org/livepcs.atom';

/** A moment that is `minutes` ago. */
export function before(minutes: number): string {
  return new Date(Date.now() - minutes * 60_000).toISOString();
}

/** The sources of the invented Library. */
export function sources(): SourceStatus[] {
  return [
    { url: CAMPUS, title: 'Campus catalog', entries: 7, problem: null, checked: before(12) },
    { url: COMMUNITY, title: 'Community LivePCs', entries: 5, problem: null, checked: before(34) },
  ];
}

type Row = [
  slug: string,
  title: string,
  publisher: string,
  guest: string,
  boot: number | null,
  full: number | null,
  categories: string[],
  summary: string,
];

const ROWS: Row[] = [
  ['debian-desktop', 'Debian Desktop', 'Debian Live Team', 'linux', 41, 1900, ['Desktop'], 'Calm everyday desktop with office, browser and media.'],
  ['forensics-101', 'Forensics 101', 'Blue Team School', 'linux', 63, 4200, ['Education', 'Security'], 'Evidence images and the tools to read them; clean again at each start.'],
  ['gis-studio', 'GIS Studio', 'Open Maps', 'linux', 88, 6100, ['Science'], 'Maps, projections and a year of sample data.'],
  ['net-lab', 'Net Lab', 'TU Networks', 'linux', 36, 1400, ['Education'], 'Twelve routers and a packet analyser, wired and waiting.'],
  ['plan-9', 'Plan 9', 'Museum of Code', 'other', 9, 320, ['History'], 'The system that came after Unix, with its manual.'],
  ['postgres-tuning', 'Postgres Tuning', 'Query Works', 'linux', 47, 2600, ['Development', 'Education'], 'A database of 40 million rows with slow queries, and a workbook that makes them fast.'],
  ['retro-basic', 'Retro BASIC', 'Museum of Code', 'dos', 2, 14, ['History'], 'Boots straight into a prompt, as it was in 1984.'],
  ['rust-workshop', 'Rust Workshop', 'Ferris Academy', 'linux', 52, 2300, ['Development', 'Education'], 'Toolchain, editor and exercises for the two-day course.'],
  ['signal-bench', 'Signal Bench', 'Institute for Radio Astronomy and Geodesy of the Northern Universities', 'linux', 71, 3800, ['Science'], 'Software radio with recorded bands.'],
  ['soc-simulator', 'SOC Simulator', 'Blue Team School', 'windows', 240, 11800, ['Security'], 'A night shift in a security operations centre, with an incident that you have not seen yet.'],
  ['test-bench', 'Browser Test Bench', 'QA Guild', 'windows', 310, 14200, ['Development'], 'Six browsers at the versions that your customers still have.'],
  ['zfs-playground', 'ZFS Playground', 'Storage Club', 'freebsd', null, 900, ['Education'], 'Pools, snapshots and disks that fail on command.'],
];

const DESCRIPTION =
  'Everything that the exercises need is installed and set up; nothing has to be fetched in the room.\n\nThe system disk is clean at each start. Your own files are on the user disk, which survives updates.';

/** The entries of the invented Library, by title. */
export function entries(): LibraryEntry[] {
  return ROWS.map(([slug, title, publisher, guest_os, boot, full, categories, summary], i) => ({
    feed_url: `https://feeds.example.org/${slug}/feed.atom`,
    title,
    summary,
    description: DESCRIPTION,
    publisher,
    categories,
    guest_os,
    boot_ready_bytes: boot === null ? null : boot * MB,
    full_bytes: full === null ? null : full * MB,
    source: i % 2 === 0 ? CAMPUS : COMMUNITY,
    subscribed: null,
    fingerprint: null,
    alike: false,
  }));
}

/** A Library of thousands. */
export function manyEntries(count: number): LibraryEntry[] {
  const base = entries();
  return Array.from({ length: count }, (_, i) => {
    const of = base[i % base.length] as LibraryEntry;
    const number = String(Math.floor(i / base.length) + 1).padStart(3, '0');
    return { ...of, feed_url: `https://many.example.org/${i}/feed.atom`, title: `${of.title} ${number}` };
  }).sort((a, b) => a.title.localeCompare(b.title));
}

/** What a publisher calls a release: most of them count, GIS Studio goes by the month. */
export function labelOf(slug: string, sequence: number): string {
  if (slug === 'debian-desktop') return `12.${sequence - 8}`;
  if (slug !== 'gis-studio') return `${sequence}.0`;
  const months = 2025 * 12 + 10 - (31 - sequence);
  return `${Math.floor(months / 12)}.${String((months % 12) + 1).padStart(2, '0')}`;
}

/** The releases of an invented LivePC. */
export function releases(slug: string, newest: number): ReleaseInfo[] {
  const CHANGES = [
    'Security updates of November. The packet analyser is at 4.6.',
    'Two more exercises; the keyboard layout is asked at the first start.',
    '',
    'The first release with a user disk.',
  ];
  return CHANGES.map((changelog, i) => ({
    sequence: newest - i,
    label: labelOf(slug, newest - i),
    created: before((3 + i * 31) * 24 * 60),
    changelog,
    state: i === 2 ? 'yanked' : 'current',
    bytes_to_fetch: i < 2 ? 0 : 118e6 * i,
  })).filter((r) => r.sequence > 0);
}
