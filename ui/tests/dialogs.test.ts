import { fireEvent, render, screen, waitFor, within } from '@testing-library/svelte';
import { describe, expect, it } from 'vitest';
import AppView from '../src/App.svelte';
import { FakeHost, type FakeOptions } from '../src/lib/fake';

async function open(options: FakeOptions = {}) {
  const host = new FakeHost(options);
  render(AppView, { host });
  await waitFor(() => expect(host.asked.some((r) => r.verb === 'search')).toBe(true));
  return host;
}

async function card(slug: string): Promise<HTMLElement> {
  return waitFor(() => {
    const found = document.querySelector<HTMLElement>(`[data-testid=card][data-feed*="/${slug}/"]`);
    if (!found) throw new Error(`no card ${slug}`);
    return found;
  });
}

/** Keeps the answer to a verb until it is let go. */
function hold(host: FakeHost, verb: string): { answer: () => void; refuse: (message: string) => void } {
  const call = host.call.bind(host);
  let answer = () => {};
  let refuse = (_: string) => {};
  host.call = async (request) => {
    if (request.verb === verb) {
      await new Promise<void>((resolve, reject) => {
        answer = resolve;
        refuse = (message) => reject({ code: 'network', message, hint: '' });
      });
    }
    return call(request);
  };
  return { answer: () => answer(), refuse: (message) => refuse(message) };
}

const verbs = (host: FakeHost) => host.asked.map((r) => r.verb);

describe('signing in', () => {
  const address = 'https://campus.example.org/private/catalog.atom';

  async function ask() {
    const host = await open();
    await fireEvent.click(screen.getByTestId('add-source'));
    await fireEvent.input(screen.getByTestId('source-url'), { target: { value: address } });
    await fireEvent.click(screen.getByTestId('source-confirm'));
    await fireEvent.click(await screen.findByTestId('sign-in'));
    return host;
  }

  async function give(user: string, password: string) {
    await fireEvent.input(screen.getByTestId('sign-in-user'), { target: { value: user } });
    await fireEvent.input(screen.getByTestId('sign-in-password'), { target: { value: password } });
    await fireEvent.click(screen.getByTestId('sign-in-confirm'));
  }

  it('is offered where a server asks for it, and then does what failed', async () => {
    const host = await ask();
    expect(screen.queryByText('Retry')).toBeNull();
    await give('ada', 'right');
    await waitFor(() => expect(screen.queryByTestId('sign-in-user')).toBeNull());
    expect(host.asked.find((r) => r.verb === 'login')).toEqual({ verb: 'login', url: address, user: 'ada', password: 'right' });
    await waitFor(() => expect(screen.queryByTestId('source-url')).toBeNull());
    expect(verbs(host).filter((v) => v === 'source-add')).toHaveLength(2);
    await fireEvent.click(screen.getByTestId('nav-settings'));
    await fireEvent.click(await screen.findByLabelText('Sign out of https://campus.example.org'));
    await waitFor(() => expect(host.asked).toContainEqual({ verb: 'logout', url: 'https://campus.example.org' }));
    await screen.findByText(/^Nowhere/);
  });

  it('says what the server does not accept, and asks for both', async () => {
    const host = await ask();
    await give('', 'x');
    screen.getByText(/^Both are needed/);
    expect(verbs(host)).not.toContain('login');
    await give('ada', 'wrong');
    await screen.findByText(/does not accept/);
    expect(screen.getByTestId('sign-in-user')).toBeTruthy();
    expect(verbs(host).filter((v) => v === 'source-add')).toHaveLength(1);
  });
});

describe('subscribing', () => {
  it('asks the feed when the dialog opens, and subscribes with the fingerprint that was shown', async () => {
    const host = await open();
    const button = within(await card('forensics-101')).getByTestId('state-button');
    expect(button.dataset.state).toBe('subscribe');
    expect(verbs(host)).not.toContain('preview');
    await fireEvent.click(button);
    const print = await screen.findByTestId('fingerprint');
    expect(print.textContent?.trim().replace(/\s+/g, ' ')).toBe('3f9a 02c7 b81e 4d56 90aa 17f3 6be2 c404');
    await fireEvent.click(screen.getByTestId('confirm-subscribe'));
    await waitFor(() => expect(screen.queryByTestId('confirm-subscribe')).toBeNull());
    expect(host.asked.find((r) => r.verb === 'subscribe')).toMatchObject({ download: true, fingerprint: '3f9a 02c7 b81e 4d56 90aa 17f3 6be2 c404' });
    await waitFor(async () => expect(within(await card('forensics-101')).getByTestId('state-button').dataset.state).toBe('preparing'));
  });

  it('shows a refusal for trust without Retry and without a way to go on', async () => {
    await open({ scene: 'failed' });
    await fireEvent.click(within(await card('net-lab')).getByTestId('state-button'));
    const box = await screen.findByTestId('error');
    expect(box.dataset.code).toBe('trust');
    expect(within(box).queryByText('Retry')).toBeNull();
    expect(within(box).getByTestId('copy-details')).toBeTruthy();
    expect((screen.getByTestId('confirm-subscribe') as HTMLButtonElement).disabled).toBe(true);
  });

  it('leads to the subscription if there is one by another address', async () => {
    const host = await open();
    const call = host.call.bind(host);
    host.call = async (request) => {
      const answer = await call(request);
      if (answer.answer === 'preview') answer.preview.subscribed = 'gis-studio';
      return answer;
    };
    host.link('https://mirror.example/gis/feed.atom');
    await fireEvent.click(await screen.findByText('Show it'));
    await waitFor(() => expect(screen.getByRole('heading', { level: 1 }).textContent).toBe('GIS Studio'));
  });

  it('is what Enter on a card does', async () => {
    await open();
    await fireEvent.keyDown(await card('plan-9'), { key: 'Enter' });
    expect(await screen.findByTestId('confirm-subscribe')).toBeTruthy();
  });
});

describe('a dialog that was cancelled', () => {
  it('does not close the next one when its subscription arrives', async () => {
    const host = await open();
    const held = hold(host, 'subscribe');
    await fireEvent.click(within(await card('forensics-101')).getByTestId('state-button'));
    await screen.findByTestId('fingerprint');
    await fireEvent.click(screen.getByTestId('confirm-subscribe'));
    await fireEvent.click(screen.getByText('Cancel'));
    await fireEvent.click(within(await card('plan-9')).getByTestId('state-button'));
    await screen.findByTestId('fingerprint');
    held.answer();
    await waitFor(() => expect(verbs(host)).toContain('subscribe'));
    await waitFor(async () => expect(within(await card('forensics-101')).getByTestId('state-button').dataset.state).not.toBe('subscribe'));
    expect(screen.getByTestId('confirm-subscribe')).toBeTruthy();
  });

  it('tells of a late failure by a toast', async () => {
    const host = await open();
    const held = hold(host, 'source-add');
    await fireEvent.click(screen.getByTestId('add-source'));
    const field = screen.getByTestId('source-url');
    await fireEvent.input(field, { target: { value: 'https://a.example/catalog.xml' } });
    await fireEvent.submit(field.closest('form')!);
    await fireEvent.click(screen.getByText('Cancel'));
    await fireEvent.click(screen.getByTestId('add-source'));
    held.refuse('It is away.');
    const toast = await screen.findByText('It is away.');
    expect(toast.closest('dialog'), 'the next dialog shows nothing of it').toBeNull();
    expect(screen.getByTestId('source-url')).toBeTruthy();
  });
});

describe('sources', () => {
  it('are added by their address, after it was looked at', async () => {
    const host = await open({ scene: 'empty' });
    await fireEvent.click(screen.getByTestId('add-source'));
    const field = screen.getByTestId('source-url');
    await fireEvent.input(field, { target: { value: 'not an address' } });
    await fireEvent.submit(field.closest('form')!);
    expect(verbs(host), 'what is no address is not sent').not.toContain('source-add');
    await fireEvent.input(field, { target: { value: 'https://livepc.example.edu/catalog.atom' } });
    await fireEvent.submit(field.closest('form')!);
    await waitFor(() => expect(screen.getAllByTestId('card').length).toBeGreaterThan(5));
    await waitFor(() => expect(screen.queryByTestId('source-url')).toBeNull());
  });

  it('that cannot be reached are told of, and their entries stay', async () => {
    await open({ scene: 'offline' });
    expect((await screen.findByTestId('error')).textContent).toContain('Showing what was there');
    expect(screen.getAllByTestId('card').length).toBe(12);
  });
});

describe('unsubscribing', () => {
  it('keeps the data unless it is told otherwise, and names what is lost', async () => {
    const host = await open();
    await fireEvent.click(screen.getByTestId('nav-machines'));
    const row = await waitFor(() => document.querySelector<HTMLElement>('[data-testid=machine-row][data-id=gis-studio]')!);
    await fireEvent.keyDown(row, { key: 'Delete' });
    const button = await screen.findByTestId('confirm-unsubscribe');
    expect((document.querySelector('input[value=keep]') as HTMLInputElement).checked).toBe(true);
    await fireEvent.click(document.querySelector('input[value=delete]')!);
    expect(button.textContent?.replaceAll('\u00a0', ' ')).toContain('delete 2.3 GB');
    await fireEvent.click(button);
    await waitFor(() => expect(document.querySelector('[data-id=gis-studio]')).toBeNull());
    expect(host.asked.find((r) => r.verb === 'unsubscribe')).toEqual({ verb: 'unsubscribe', id: 'gis-studio', delete_data: true });
  });
});

describe('keys', () => {
  it('lead to the search field, settings and the list of keys', async () => {
    await open();
    await fireEvent.keyDown(window, { key: ',', ctrlKey: true });
    expect(screen.getByRole('heading', { level: 1 }).textContent).toBe('Settings');
    await fireEvent.keyDown(window, { key: '/' });
    expect(await screen.findByTestId('search')).toBeTruthy();
    await waitFor(() => expect(document.activeElement).toBe(screen.getByTestId('search')));
    await fireEvent.keyDown(window, { key: 'F1' });
    expect(await screen.findByText('Keyboard shortcuts')).toBeTruthy();
  });

  it('leave the search field alone when the Library is opened otherwise', async () => {
    await open();
    await fireEvent.keyDown(window, { key: '/' });
    await waitFor(() => expect(document.activeElement).toBe(screen.getByTestId('search')));
    const nav = screen.getByTestId('nav-library');
    await fireEvent.click(screen.getByTestId('nav-machines'));
    nav.focus();
    await fireEvent.click(nav);
    expect(await screen.findByTestId('search')).toBeTruthy();
    expect(document.activeElement).toBe(nav);
  });

  it('go on at the heading of a page, and at its card when it is left', async () => {
    await open();
    const title = within(await card('gis-studio')).getByText('GIS Studio');
    title.focus();
    await fireEvent.click(title);
    const heading = await screen.findByRole('heading', { level: 1 });
    await waitFor(() => expect(document.activeElement).toBe(heading));
    await fireEvent.keyDown(heading, { key: 'Escape' });
    const back = await card('gis-studio');
    await waitFor(() => expect(document.activeElement).toBe(back));
  });

  it('pause a job with Space', async () => {
    const host = await open();
    await fireEvent.click(screen.getByTestId('nav-activity'));
    const row = await waitFor(() => document.querySelector<HTMLElement>('[data-job="14"]')!);
    await fireEvent.keyDown(row, { key: ' ' });
    expect(host.asked.at(-1)).toEqual({ verb: 'job-control', job: 14, action: 'pause' });
    await waitFor(() => expect(document.querySelector('[data-job="14"]')?.getAttribute('data-status')).toBe('paused'));
  });
});
