import type { App } from '../lib/app.svelte';
import { withoutLogin } from '../lib/format';

const LONGEST = 2000;

/** The address in what was dropped or pasted; null if there is none. */
export function addressIn(text: string): string | null {
  const line = text
    .split(/\r?\n/)
    .map((l) => l.trim())
    .find((l) => l !== '' && !l.startsWith('#'));
  if (!line || line.length > LONGEST) return null;
  try {
    const url = new URL(line);
    return ['http:', 'https:', 'file:', 'livepc:'].includes(url.protocol) ? line : null;
  } catch {
    return null;
  }
}

/** The feed that a livepc: link names; null if it is no such link. */
export function feedOfLink(address: string): string | null {
  try {
    const url = new URL(address);
    if (url.protocol !== 'livepc:') return null;
    const feed = url.searchParams.get('feed');
    // A link signs nobody in.
    return feed && addressIn(feed) && withoutLogin(feed) === feed ? feed : null;
  } catch {
    return null;
  }
}

/** Offers what was dropped or pasted: a link opens the confirmation, another address the dialog for a source. */
export function offer(text: string, app: App): boolean {
  const address = addressIn(text);
  if (!address) return false;
  const feed = feedOfLink(address);
  if (feed) app.confirm(feed);
  else if (!address.startsWith('livepc:')) app.addingSource = address;
  else return false;
  return true;
}
