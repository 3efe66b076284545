/** Numbers and times as people read them. Sizes are decimal: 1 MB is 1,000,000 bytes. */

const NBSP = '\u00a0';
const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'] as const;
const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });
const date = new Intl.DateTimeFormat('en', { dateStyle: 'medium' });
const time = new Intl.DateTimeFormat('en', { timeStyle: 'short' });
const dateTime = new Intl.DateTimeFormat('en', { dateStyle: 'medium', timeStyle: 'short' });

/** A count, as in “1,284”. */
export function count(n: number): string {
  return whole.format(n);
}

/** Bytes, as in “41 MB” or “1.9 GB”: tenths below 10, and below 1,000 from GB on. */
export function bytes(n: number): string {
  let value = Math.max(0, n);
  let unit = 0;
  // 999.5 would be shown as 1,000 of the smaller unit.
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const shown = unit > 0 && (value < 9.95 || (unit >= 3 && value < 99.95)) ? tenths.format(value) : whole.format(value);
  return `${shown}${NBSP}${UNITS[unit]}`;
}

/** “18 of 41 MB”: the unit once where both have the same. */
export function bytesOf(done: number, total: number): string {
  const [a, unitA] = bytes(Math.min(done, total)).split(NBSP);
  const [b, unitB] = bytes(total).split(NBSP);
  return unitA === unitB ? `${a} of ${b}${NBSP}${unitB}` : `${a}${NBSP}${unitA} of ${b}${NBSP}${unitB}`;
}

/** Bytes a second, as in “11 MB/s”. */
export function speed(bytesPerSecond: number): string {
  return `${bytes(bytesPerSecond)}/s`;
}

/** A part of a whole between 0 and 1; an empty whole is 0. */
export function fraction(part: number, all: number): number {
  return all > 0 ? Math.min(1, Math.max(0, part / all)) : 0;
}

/** “43 %”, rounded down so that 100 % means all of it. */
export function percent(part: number): string {
  return `${Math.floor(Math.min(1, Math.max(0, part)) * 100)}${NBSP}%`;
}

/** How long `missing` bytes take, in plain words; null if it cannot be said. */
export function timeLeft(missing: number, bytesPerSecond: number): string | null {
  if (missing <= 0 || bytesPerSecond <= 0) return null;
  const seconds = missing / bytesPerSecond;
  if (seconds < 10) return 'a few seconds left';
  if (seconds < 55) return `about ${Math.round(seconds / 5) * 5} seconds left`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 2) return 'about a minute left';
  if (minutes < 60) return `about ${minutes} minutes left`;
  const hours = Math.round(minutes / 60);
  if (hours < 2) return 'about an hour left';
  if (hours < 48) return `about ${hours} hours left`;
  return `about ${Math.round(hours / 24)} days left`;
}

/** “3 days ago”; a date if it is longer than a month ago. */
export function ago(iso: string, now: Date = new Date()): string {
  const then = new Date(iso);
  const seconds = (then.getTime() - now.getTime()) / 1000;
  if (Number.isNaN(seconds)) return iso;
  if (Math.abs(seconds) < 45) return 'just now';
  const minutes = seconds / 60;
  if (Math.abs(minutes) < 55) return relative.format(Math.round(minutes), 'minute');
  const hours = minutes / 60;
  if (Math.abs(hours) < 22) return relative.format(Math.round(hours), 'hour');
  const days = hours / 24;
  if (Math.abs(days) < 31) return relative.format(Math.round(days), 'day');
  return date.format(then);
}

/** Since when, as short as it can be: a time of today, or a date. */
export function since(iso: string, now: Date = new Date()): string {
  const then = new Date(iso);
  if (Number.isNaN(then.getTime())) return iso;
  return then.toDateString() === now.toDateString() ? time.format(then) : date.format(then);
}

/** “22 Nov 2025”, as the locale writes it. */
export function day(iso: string): string {
  const then = new Date(iso);
  return Number.isNaN(then.getTime()) ? iso : date.format(then);
}

/** A date with its time of day. */
export function moment(iso: string): string {
  const then = new Date(iso);
  return Number.isNaN(then.getTime()) ? iso : dateTime.format(then);
}

/** A fingerprint in groups of four digits, whatever it came as. */
export function groups(fingerprint: string): string[] {
  return fingerprint.replace(/[\s:-]/g, '').match(/.{1,4}/g) ?? [];
}

/** The beginning of a fingerprint: enough to tell LivePCs apart that look the same. */
export function shortFingerprint(fingerprint: string): string {
  return groups(fingerprint).slice(0, 4).join(' ');
}

/** An address without a user and a password in it, fit to be shown. */
export function withoutLogin(address: string): string {
  try {
    const url = new URL(address);
    if (url.username === '' && url.password === '') return address;
    url.username = '';
    url.password = '';
    return url.href;
  } catch {
    return address;
  }
}

/** The host of a URL, or the text itself if it is none. */
export function hostOf(url: string): string {
  try {
    return new URL(url).host || url;
  } catch {
    return url;
  }
}
