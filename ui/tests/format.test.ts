import { describe, expect, it } from 'vitest';
import sizes from './sizes.json';
import { ago, bytes, bytesOf, count, groups, hostOf, percent, speed, timeLeft } from '../src/lib/format';

const plain = (text: string) => text.replaceAll('\u00a0', ' ');

describe('bytes', () => {
  it.each([
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1 kB'],
    [999_499, '999 kB'],
    [999_500, '1 MB'],
    [2_400_000, '2.4 MB'],
    [41_000_000, '41 MB'],
    [1_900_000_000, '1.9 GB'],
    [41_200_000_000, '41.2 GB'],
    [118_000_000_000, '118 GB'],
    [-5, '0 B'],
    // The command line is tried with the same table.
    ...(sizes as [number, string][]),
  ])('%d is %s', (n, text) => expect(plain(bytes(n))).toBe(text));

  it('names the unit once where both are the same', () => {
    expect(plain(bytesOf(18e6, 41e6))).toBe('18 of 41 MB');
    expect(plain(bytesOf(31e6, 2.3e9))).toBe('31 MB of 2.3 GB');
  });

  it('never shows more done than there is', () => {
    expect(plain(bytesOf(50e6, 41e6))).toBe('41 of 41 MB');
  });

  it('tells a speed and a count', () => {
    expect(plain(speed(11e6))).toBe('11 MB/s');
    expect(count(1284)).toBe('1,284');
  });
});

describe('percent', () => {
  it('says 100 % only of all', () => {
    expect(plain(percent(0.9999))).toBe('99 %');
    expect(plain(percent(1))).toBe('100 %');
    expect(plain(percent(1.2))).toBe('100 %');
  });
});

describe('time left', () => {
  it.each([
    [5e6, 'a few seconds left'],
    [30e6, 'about 30 seconds left'],
    [58e6, 'about a minute left'],
    [600e6, 'about 10 minutes left'],
    [3600e6, 'about an hour left'],
    [7.2e9 * 2, 'about 4 hours left'],
    [86.4e9 * 3, 'about 3 days left'],
  ])('of %d bytes at 1 MB/s is %s', (missing, text) => expect(timeLeft(missing, 1e6)).toBe(text));

  it('is not guessed without a speed', () => {
    expect(timeLeft(5e6, 0)).toBeNull();
    expect(timeLeft(0, 5)).toBeNull();
  });
});

describe('ago', () => {
  const now = new Date('2025-11-22T12:00:00Z');
  it.each([
    ['2025-11-22T11:59:50Z', 'just now'],
    ['2025-11-22T11:48:00Z', '12 minutes ago'],
    ['2025-11-22T09:00:00Z', '3 hours ago'],
    ['2025-11-21T12:00:00Z', 'yesterday'],
    ['2025-11-19T12:00:00Z', '3 days ago'],
    ['not a date', 'not a date'],
  ])('%s is %s', (iso, text) => expect(ago(iso, now)).toBe(text));
});

it('groups a fingerprint however it is written', () => {
  const expected = ['3f9a', '02c7', 'b81e'];
  for (const text of ['3f9a 02c7 b81e', '3f9a02c7b81e', '3f9a:02c7-b81e']) expect(groups(text)).toEqual(expected);
});

it('gives the text itself if it is no URL', () => {
  expect(hostOf('https://a.example/b')).toBe('a.example');
  expect(hostOf('folder')).toBe('folder');
});
