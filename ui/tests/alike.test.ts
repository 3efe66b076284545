import { render, screen, waitFor, within } from '@testing-library/svelte';
import { describe, expect, it } from 'vitest';
import AppView from '../src/App.svelte';
import { FakeHost } from '../src/lib/fake';
import { shortFingerprint } from '../src/lib/format';
import { fireEvent } from '@testing-library/svelte';
import type { LibraryEntry } from '../src/lib/bindings/LibraryEntry';
import type { Preview } from '../src/lib/bindings/Preview';

const FINGERPRINT = '3f9a 02c7 b81e 4d56 90aa 17f3 6be2 c404';
const OTHER = 'aaaa bbbb cccc dddd eeee ffff 0000 1111';

/** A host whose answers to these verbs are changed. */
function hostWith(change: { entry?: (entry: LibraryEntry, i: number) => LibraryEntry; preview?: (preview: Preview) => Preview }) {
  const host = new FakeHost();
  const call = host.call.bind(host);
  host.call = async (request) => {
    const answer = await call(request);
    if (answer.answer === 'library' && change.entry) return { ...answer, entries: answer.entries.map(change.entry) };
    if (answer.answer === 'preview' && change.preview) return { ...answer, preview: change.preview(answer.preview) };
    return answer;
  };
  return host;
}

async function cards(): Promise<HTMLElement[]> {
  return waitFor(() => {
    const found = [...document.querySelectorAll<HTMLElement>('[data-testid=card]')];
    if (found.length < 2) throw new Error('no cards');
    return found;
  });
}

describe('LivePCs that look the same', () => {
  it('show a fingerprint that is short and long enough', () => {
    expect(shortFingerprint(FINGERPRINT)).toBe('3f9a 02c7 b81e 4d56');
  });

  it('are told apart on their cards by key, or by host where no key is known', async () => {
    const feeds: string[] = [];
    const host = hostWith({
      entry: (entry, i) => {
        feeds[i] = entry.feed_url;
        if (i === 0) return { ...entry, alike: true, fingerprint: null };
        if (i === 1) return { ...entry, alike: true, fingerprint: OTHER };
        return entry;
      },
    });
    render(AppView, { host });
    const all = await cards();
    const of = (feed: string | undefined) => all.find((card) => card.dataset['feed'] === feed) as HTMLElement;
    expect(within(of(feeds[0])).getByTestId('key-mark').textContent).toMatch(/feeds.example.org|3f9a 02c7/);
    expect(within(of(feeds[1])).getByTestId('key-mark').textContent).toMatch(/aaaa bbbb cccc dddd|3f9a 02c7/);
    expect(within(of(feeds[2])).queryByTestId('key-mark')).toBeNull();
  });

  it('are named before subscribing', async () => {
    const host = hostWith({
      preview: (preview) => ({ ...preview, looks_like: { id: 'net-lab', title: 'Net Lab', fingerprint: OTHER } }),
    });
    render(AppView, { host });
    const [card] = (await cards()).filter((one) => within(one).queryByText('Subscribe'));
    await fireEvent.click(within(card as HTMLElement).getByText('Subscribe'));
    const note = await screen.findByTestId('looks-like');
    expect(note.textContent).toContain('Net Lab');
    expect(note.textContent).toContain('aaaa bbbb cccc dddd');
    const print = screen.getByTestId('fingerprint');
    expect(note.compareDocumentPosition(print), 'a small window shows it before anything else').toBe(Node.DOCUMENT_POSITION_FOLLOWING);
  });

  it('are told apart on their pages', async () => {
    render(AppView, { host: new FakeHost({ scene: 'alike' }) });
    await cards();
    const mark = async (slug: string) => {
      const card = document.querySelector<HTMLElement>(`[data-testid=card][data-feed*="/${slug}/"]`)!;
      await fireEvent.click(within(card).getByText(/Net Lab|Forensics 101/));
      await screen.findByText('Back');
      const told = screen.queryByTestId('key-mark')?.textContent?.replace(/\s+/g, ' ').trim() ?? null;
      await fireEvent.click(screen.getByText('Back'));
      await cards();
      return told;
    };
    expect(await mark('net-lab')).toBe('key 3f9a 02c7 b81e 4d56 …');
    expect(await mark('plan-9')).toBe('from net-lab.downloads.tu-networks.example.net');
    expect(await mark('forensics-101')).toBeNull();
  });
});
