import { getContext, setContext } from 'svelte';
import type { Answer } from './bindings/Answer';
import type { HypervisorKind } from './bindings/HypervisorKind';
import type { LivePc } from './bindings/LivePc';
import type { Problem } from './bindings/Problem';
import type { Request } from './bindings/Request';
import type { Snapshot } from './bindings/Snapshot';
import type { ButtonAction } from './button-state';
import { ask, asProblem, type Host, type Notes, type Screen } from './host';
import { Hypervisors } from './hypervisors.svelte';
import { after, type Speeds } from './speeds';
import { Toasts } from './toasts.svelte';
import { words } from './words';

/** Seconds that a guest may take to shut down. */
export const STOP_TIMEOUT = 120;

/** What is done to a LivePC only after its dialog. */
export type Step = 'force' | 'revert' | 'reset' | 'keep' | 'unkeep' | 'updates' | 'rollback' | 'unsubscribe' | 'cd' | 'grow' | 'export';

/** A step that a person is asked about, and the LivePC that it is done to. */
export interface Asking {
  step: Step;
  id: string;
  /** The release that a dialog about releases begins with. */
  release?: number;
}

/** The state of the window: what the agent last told, where the person is, and which dialog is open. */
export class App {
  readonly host: Host;
  readonly toasts = new Toasts();
  readonly hypervisors = new Hypervisors(this);
  snapshot = $state.raw<Snapshot | null>(null);
  /** How fast the jobs were that run now. */
  speeds = $state.raw<Speeds>(new Map());
  screen = $state<Screen>('library');
  /** The feed of the LivePC whose page is open on top of the screen. */
  page = $state<string | null>(null);
  /** The feed that a person is asked to confirm. */
  confirming = $state<string | null>(null);
  /** The text that the dialog for a new source begins with. */
  addingSource = $state<string | null>(null);
  /** The step that a person is asked about. */
  asking = $state.raw<Asking | null>(null);
  /** The address that a person is asked to sign in for, and what is done after it. */
  signingIn = $state.raw<{ url: string; then: (() => void) | null } | null>(null);
  showingShortcuts = $state(false);
  /** What there is to say of the agent itself. */
  notes = $state.raw<Notes>({ notice: null, older: null });
  /** Why the agent cannot be asked; null while it can. */
  away = $state.raw<Problem | null>(null);
  /** True until the search field has taken the focus. */
  searchWanted = $state(false);
  /** The feed of the page that was just left, whose card takes the focus. */
  left: string | null = null;

  readonly livepcs: LivePc[] = $derived(this.snapshot?.livepcs ?? []);
  readonly running: number = $derived(this.livepcs.filter((l) => isLive(l)).length);
  /** Also by where it was before its publisher moved: a page that is open, and catalogs, go on naming that. */
  readonly #byFeed = $derived(
    new Map([
      ...this.livepcs.flatMap((l): [string, LivePc][] => (l.moved_from ? [[l.moved_from, l]] : [])),
      ...this.livepcs.map((l): [string, LivePc] => [l.feed_url, l]),
    ]),
  );
  readonly #byId = $derived(new Map(this.livepcs.map((l) => [l.id, l])));
  #ends: (() => void)[] = [];

  constructor(host: Host) {
    this.host = host;
  }

  /** Begins to listen to the host; gives a function that ends it. */
  begin(): () => void {
    this.#ends = [
      this.host.onSnapshot((snapshot) => this.accept(snapshot)),
      this.host.onNotes((notes) => (this.notes = notes)),
      this.host.onMessage(({ screen, feed, problem }) => {
        if (screen) this.go(screen);
        if (feed) this.confirm(feed);
        if (problem) this.toasts.problem(problem);
      }),
    ];
    void this.load();
    return () => this.#ends.forEach((end) => end());
  }

  /** Asks for the state now. */
  async load(): Promise<void> {
    try {
      this.accept((await this.ask({ verb: 'snapshot' }, 'snapshot')).snapshot);
    } catch (error) {
      this.away = asProblem(error);
    }
  }

  /** Takes a new snapshot, and tells of what went wrong since the last one. */
  accept(snapshot: Snapshot): void {
    const before = this.snapshot;
    this.snapshot = snapshot;
    this.speeds = after(this.speeds, snapshot.jobs);
    this.away = null;
    if (!before) return;
    for (const job of snapshot.jobs) {
      const old = before.jobs.find((j) => j.job === job.job);
      if (job.status === 'failed' && old?.status !== 'failed' && job.problem) {
        this.toasts.problem(job.problem, job.title);
      }
      if (job.status === 'done' && old && old.status !== 'done' && job.export) {
        this.toasts.tell(words.export.written(job.title, job.export.place));
      }
    }
    for (const livepc of snapshot.livepcs) {
      const old = before.livepcs.find((l) => l.id === livepc.id);
      const fell = livepc.state === 'failed' || livepc.state === 'stalled';
      if (old && fell && old.state !== livepc.state && livepc.problem) {
        this.toasts.problem(livepc.problem, livepc.title);
      }
    }
  }

  /** Asks the agent and narrows the answer; rejects with a Problem. */
  async ask<T extends Answer['answer']>(request: Request, tag: T): Promise<Extract<Answer, { answer: T }>> {
    try {
      return await ask(this.host, request, tag);
    } catch (error) {
      const problem = asProblem(error);
      if (problem.code === 'agent-gone') this.away = problem;
      throw problem;
    }
  }

  /** Does something in the background; what goes wrong becomes a toast with Retry. */
  async run(request: Request, title?: string): Promise<boolean> {
    try {
      await this.host.call(request);
      return true;
    } catch (error) {
      const problem = asProblem(error);
      this.toasts.problem(problem, title, () => void this.run(request, title));
      return false;
    }
  }

  /** Puts the notice away that is shown. */
  async dismissNotice(): Promise<void> {
    const { notice } = this.notes;
    if (notice === null) return;
    try {
      await this.host.dismissNotice(notice);
      // Another one may have come meanwhile.
      if (this.notes.notice === notice) this.notes = { ...this.notes, notice: null };
    } catch (error) {
      this.toasts.problem(asProblem(error), undefined, () => void this.dismissNotice());
    }
  }

  /** What was chosen in a dialog of the system; null if nothing was, also if the dialog failed. */
  async chosen(choice: Promise<string | null>): Promise<string | null> {
    try {
      return await choice;
    } catch (error) {
      this.toasts.problem(asProblem(error));
      return null;
    }
  }

  byFeed(feedUrl: string): LivePc | null {
    return this.#byFeed.get(feedUrl) ?? null;
  }

  byId(id: string | null): LivePc | null {
    return (id !== null && this.#byId.get(id)) || null;
  }

  /** Leads to a screen. */
  go(screen: Screen): void {
    this.screen = screen;
    this.page = null;
    this.left = null;
  }

  /** Opens the page of a LivePC. */
  open(feedUrl: string): void {
    this.page = feedUrl;
    this.left = null;
  }

  /** Leads from a page back to the screen below it. */
  back(): void {
    this.left = this.page;
    this.page = null;
  }

  /** Gives the focus to the card of the page that was just left, unless something has it already. */
  returnTo(feedUrl: string, card: HTMLElement): void {
    if (this.left !== feedUrl) return;
    this.left = null;
    if (document.activeElement === null || document.activeElement === document.body) card.focus();
  }

  /** Leads to the Library's search field. */
  search(): void {
    this.go('library');
    this.searchWanted = true;
  }

  /** Opens the confirmation for a feed; only this asks the feed. */
  confirm(feedUrl: string): void {
    this.addingSource = null;
    this.confirming = feedUrl;
  }

  /** Does what the state button says. */
  async act(action: ButtonAction, feedUrl: string, livepc: LivePc | null): Promise<void> {
    if (action === 'subscribe') return this.confirm(feedUrl);
    if (!livepc || action === null) return;
    await this.run(requestOf(action, livepc.id), livepc.title);
  }

  /** Asks for an update of one LivePC and tells what was found. */
  async checkForUpdate(livepc: LivePc): Promise<void> {
    try {
      const { updates } = await this.ask({ verb: 'update', id: livepc.id, check: true }, 'updates');
      const found = updates.find((u) => u.id === livepc.id);
      if (found?.problem) this.toasts.problem(found.problem, livepc.title);
      else if (found && found.to !== null && found.to !== found.from) {
        this.toasts.tell(words.menu.update(livepc.title, found.bytes_to_fetch));
      } else this.toasts.tell(words.menu.noUpdate(livepc.title));
    } catch (error) {
      this.toasts.problem(asProblem(error), livepc.title, () => void this.checkForUpdate(livepc));
    }
  }
}

function requestOf(action: 'start' | 'stop' | 'retry', id: string): Request {
  switch (action) {
    case 'start':
      return startOf(id);
    case 'stop':
      return { verb: 'stop', id, force: false, timeout: STOP_TIMEOUT };
    case 'retry':
      return { verb: 'retry', id };
  }
}

/** To start a machine; in one hypervisor and no other, if one is given; with a CD in its drive, if an image is given. */
export function startOf(id: string, hypervisor: HypervisorKind | null = null, cd: string | null = null): Request {
  return { verb: 'start', id, display: 'window', serial: null, fill: true, hypervisor, cd, overcommit: false };
}

/** True while a runner has the machine. */
export function isLive(livepc: LivePc): boolean {
  return ['starting', 'running', 'stalled', 'stopping'].includes(livepc.state);
}

const KEY = Symbol('app');

/** Gives the app to all components below. */
export function provideApp(app: App): App {
  return setContext(KEY, app);
}

/** The app that a component above gave. */
export function useApp(): App {
  return getContext<App>(KEY);
}
