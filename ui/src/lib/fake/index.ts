import type { Answer } from '../bindings/Answer';
import type { Export } from '../bindings/Export';
import type { Job } from '../bindings/Job';
import type { LivePc } from '../bindings/LivePc';
import type { HypervisorKind } from '../bindings/HypervisorKind';
import type { MachineState } from '../bindings/MachineState';
import type { Problem } from '../bindings/Problem';
import type { Pruned } from '../bindings/Pruned';
import type { PrunedRelease } from '../bindings/PrunedRelease';
import type { ReleaseInfo } from '../bindings/ReleaseInfo';
import type { Request } from '../bindings/Request';
import type { Snapshot } from '../bindings/Snapshot';
import type { Host, Message, Notes, Screen } from '../host';
import { sampleJob } from '../samples';
import { before, entries as allEntries, releases } from './content';
import { NO_KVM, SCENES, UNREACHABLE, WRONG_KEY, fresh, notesOf, world, type Scene, type World } from './scenes';
import { advance, ended } from './advance';
import { blockMap } from './blocks';
import { Logins } from './logins';
import { choose, survey } from './hypervisors';

const TICK_MS = 400;
const ANSWER_MS = 60;
/** To look for hypervisors takes longer than anything else. */
const LOOK_MS = 1800;
/** States in which nothing has the machine's disks. */
const IDLE: MachineState[] = ['absent', 'ready', 'stopped', 'failed'];

/** How an invented host behaves. */
export interface FakeOptions {
  scene?: Scene;
  /** True if progress moves by itself. */
  lively?: boolean;
  /** Milliseconds before each answer. */
  delay?: number;
}

/** A host with invented content, for a browser, screenshots and tests. It is no part of the app. */
export class FakeHost implements Host {
  readonly scene: Scene;
  /** All that was asked, oldest first. */
  readonly asked: Request[] = [];
  readonly #world: World;
  readonly #delay: number;
  readonly #settings = new Map([
    ['download.max-bytes-per-second', '0'],
    ['download.max-bytes-per-second-running', '0'],
    ['hypervisor', 'auto'],
    ['qemu.program', ''],
    ['vmware.program', ''],
    ['vmware.streaming', 'false'],
    ['store.max-bytes', '0'],
    ['updates.hours', ''],
    ['updates.metered', 'ask'],
  ]);
  /** Releases that nobody needs. */
  #spare: PrunedRelease[] = [
    { id: 'gis-studio', title: 'GIS Studio', release: 4, label: '2026.1', bytes: 2.1e9 },
    { id: null, title: 'forensics-101-9c0f', release: 1, label: null, bytes: 840e6 },
  ];
  /** Releases that somebody has fetched by their number. */
  #wanted: PrunedRelease[] = [{ id: 'net-lab', title: 'Net Lab', release: 3, label: '3.0', bytes: 410e6 }];
  #notes: Notes;
  readonly #listeners = new Set<(n: Notes) => void>();
  readonly #logins = new Logins();
  readonly #snapshots = new Set<(s: Snapshot) => void>();
  readonly #messages = new Set<(m: Message) => void>();
  #nextJob = 100;

  constructor({ scene = 'lively', lively = false, delay = 0 }: FakeOptions = {}) {
    this.scene = scene;
    this.#world = world(scene);
    this.#delay = delay;
    this.#notes = notesOf(scene);
    if (lively) setInterval(() => this.tick(TICK_MS), TICK_MS);
  }

  /** The host that an address asks for: ?scene=…, and &still if nothing is to move or to be waited for. */
  static fromUrl(url: URL): FakeHost {
    const wanted = url.searchParams.get('scene');
    const scene = SCENES.find((s) => s === wanted) ?? 'lively';
    const lively = !url.searchParams.has('still');
    return new FakeHost({ scene, lively, delay: lively ? ANSWER_MS : 0 });
  }

  async chooseCd(): Promise<string | null> {
    return '/home/ada/Downloads/tools.iso';
  }

  async choosePlace(_title: string, place: string): Promise<string | null> {
    return place || '/home/ada/Documents/export';
  }

  async suggestPlace(name: string): Promise<string | null> {
    return `/home/ada/Documents/${name}`;
  }

  onSnapshot(fn: (s: Snapshot) => void): () => void {
    return add(this.#snapshots, fn);
  }

  onNotes(fn: (n: Notes) => void): () => void {
    fn(this.#notes);
    return add(this.#listeners, fn);
  }

  async dismissNotice(notice: string): Promise<void> {
    if (this.#notes.notice === notice) this.note({ notice: null });
  }

  /** Acts as the shell does when there is something else to say of the agent. */
  note(over: Partial<Notes>): void {
    this.#notes = { ...this.#notes, ...over };
    for (const fn of this.#listeners) fn(this.#notes);
  }

  onMessage(fn: (m: Message) => void): () => void {
    return add(this.#messages, fn);
  }

  /** Acts as the tray would, or as an action of it that went wrong. */
  navigate(screen: Screen, problem: Problem | null = null): void {
    for (const fn of this.#messages) fn({ screen, feed: null, problem });
  }

  /** Acts as a link that a person opened would. */
  link(feed: string): void {
    for (const fn of this.#messages) fn({ screen: null, feed, problem: null });
  }

  /** Lets `milliseconds` pass. */
  tick(milliseconds: number): void {
    this.#world.snapshot = advance(this.#world.snapshot, milliseconds);
    this.#tell();
  }

  async call(request: Request): Promise<Answer> {
    this.asked.push(request);
    const delay = this.#delay > 0 && request.verb === 'hypervisors' ? LOOK_MS : this.#delay;
    if (delay > 0) await new Promise((done) => setTimeout(done, delay));
    if (this.scene === 'away') {
      const gone: Problem = { code: 'agent-gone', message: 'The agent ended before it answered.', hint: 'Try again: that starts it.' };
      throw gone;
    }
    // As over a wire: nobody holds the host's own objects.
    return structuredClone(this.#answer(request));
  }

  #answer(request: Request): Answer {
    const { snapshot, sources } = this.#world;
    switch (request.verb) {
      case 'snapshot':
        return { answer: 'snapshot', snapshot };
      case 'list':
        return { answer: 'list', livepcs: snapshot.livepcs };
      case 'search':
        return this.#search(request.text);
      case 'source-list':
      case 'source-refresh':
        return { answer: 'sources', sources };
      case 'source-add':
        return this.#addSource(request.url);
      case 'source-remove':
        this.#world.sources = sources.filter((s) => s.url !== request.url);
        this.#world.entries = this.#world.entries.filter((e) => e.source !== request.url);
        this.#change({ library_revision: snapshot.library_revision + 1 });
        return { answer: 'done' };
      case 'preview':
        return this.#preview(request.feed_url);
      case 'subscribe':
        return this.#subscribe(request.feed_url);
      case 'show':
        return { answer: 'shown', livepc: this.#find(request.id), releases: this.#releases(request.id) };
      case 'unsubscribe':
        this.#find(request.id);
        for (const entry of this.#world.entries) if (entry.subscribed === request.id) entry.subscribed = null;
        this.#change({
          livepcs: snapshot.livepcs.filter((l) => l.id !== request.id),
          jobs: snapshot.jobs.filter((j) => j.id !== request.id),
          library_revision: snapshot.library_revision + 1,
        });
        return { answer: 'done' };
      case 'start':
        if (this.scene === 'failed') throw NO_KVM;
        return this.#start(this.#find(request.id), request.hypervisor);
      case 'stop':
        return this.#set(request.id, request.force ? ended(this.#find(request.id)) : { state: 'stopping' });
      case 'suspend':
        this.#expect(request.id, ['running'], 'It is not running.');
        return this.#set(request.id, { state: 'suspended', suspended: before(0), suspended_bytes: 1.1e9, passed_over: null });
      case 'revert':
        this.#expect(request.id, ['suspended'], 'It is not suspended.');
        return this.#set(request.id, { ...ended(this.#find(request.id)), suspended: null, suspended_bytes: 0 });
      case 'reset':
        this.#expect(request.id, IDLE, 'Its system disk is in use.');
        return this.#set(request.id, { changes_bytes: 0, hypervisor: null });
      case 'keep': {
        // What runs or is suspended has its changes until it ends.
        const idle = IDLE.includes(this.#find(request.id).state);
        return this.#set(request.id, { keep_changes: request.keep, ...(idle && !request.keep ? { changes_bytes: 0, hypervisor: null } : {}) });
      }
      case 'grow-disk': {
        this.#expect(request.id, IDLE, 'Its disk is in use.');
        const { own_disks } = this.#find(request.id);
        return this.#set(request.id, { own_disks: own_disks.map((d) => (d.role === request.disk ? { ...d, size: request.size } : d)) });
      }
      case 'export':
        return { answer: 'job', job: this.#export(this.#find(request.id), request.export) };
      case 'set-policy':
        return this.#set(request.id, { policy: request.policy });
      case 'pin':
        if (request.release !== null) this.#release(request.id, request.release);
        return this.#set(request.id, { pinned: request.release });
      case 'rollback': {
        this.#expect(request.id, IDLE, 'Its release is in use.');
        const livepc = this.#find(request.id);
        const to = request.release ?? livepc.rollback_to ?? (livepc.release_in_use ?? 1) - 1;
        return this.#set(request.id, { pinned: this.#release(request.id, to).sequence, rollback_to: null, changes_bytes: 0, hypervisor: null, problem: null, state: 'stopped' });
      }
      case 'retry':
        if (this.scene === 'offline') throw UNREACHABLE;
        this.#set(request.id, { state: 'running', problem: null });
        return { answer: 'done' };
      case 'download':
        this.#download(this.#find(request.id));
        return { answer: 'done' };
      case 'update':
        if (!request.check && request.id !== null) this.#download(this.#find(request.id));
        return {
          answer: 'updates',
          updates: snapshot.livepcs
            .filter((l) => request.id === null || l.id === request.id)
            .map((l) => ({ id: l.id, from: l.release_in_use, to: l.release_available, bytes_to_fetch: l.update_bytes ?? 0, changelog: '', job: null, problem: null })),
        };
      case 'verify':
        return { answer: 'job', job: this.#verify(this.#find(request.id ?? ''), request.repair) };
      case 'job-control':
        return this.#control(request.job, request.action);
      case 'prune':
        return { answer: 'pruned', pruned: this.#prune(request.dry_run, request.wanted) };
      case 'block-map':
        return { answer: 'block-map', map: blockMap(this.#find(request.id), request.release ?? 1) };
      case 'pause-all':
        this.#change({ paused: request.paused });
        return { answer: 'done' };
      case 'login':
        this.#logins.login(request.url, request.user, request.password);
        return { answer: 'logins', logins: this.#logins.list };
      case 'logout':
        this.#logins.logout(request.url);
        return { answer: 'logins', logins: this.#logins.list };
      case 'logins':
        return { answer: 'logins', logins: this.#logins.list };
      case 'config-get':
      case 'config-set':
        return this.#setting(request.name, request.verb === 'config-set' ? request.value : null);
      case 'hypervisors':
        return { answer: 'hypervisors', hypervisors: survey(this.scene, this.#settings) };
      default:
        return { answer: 'done' };
    }
  }

  #search(text: string): Answer {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    const { entries, sources } = this.#world;
    const found = entries.filter((e) => {
      const all = [e.title, e.summary, e.publisher, ...e.categories].join(' ').toLowerCase();
      return words.every((w) => all.includes(w));
    });
    return { answer: 'library', entries: found, total: entries.length, sources };
  }

  #addSource(url: string): Answer {
    this.#logins.check(url);
    if (/unreachable/.test(url)) throw { ...UNREACHABLE, message: `The server ${new URL(url).host} could not be reached: the connection timed out after 20\u00a0s.` };
    const added = allEntries().map((e) => ({ ...e, source: url }));
    const known = new Set(this.#world.entries.map((e) => e.feed_url));
    this.#world.entries = [...this.#world.entries, ...added.filter((e) => !known.has(e.feed_url))];
    this.#world.sources = [
      ...this.#world.sources.filter((s) => s.url !== url),
      { url, title: new URL(url).host, entries: added.length, problem: null, checked: before(0) },
    ];
    this.#change({ library_revision: this.#world.snapshot.library_revision + 1 });
    return { answer: 'sources', sources: this.#world.sources };
  }

  #preview(feedUrl: string): Answer {
    this.#logins.check(feedUrl);
    if (this.scene === 'offline') throw UNREACHABLE;
    if (this.scene === 'failed') throw WRONG_KEY;
    const entry = this.#world.entries.find((e) => e.feed_url === feedUrl);
    const livepc = this.#world.snapshot.livepcs.find((l) => l.feed_url === feedUrl);
    return {
      answer: 'preview',
      preview: {
        feed_url: feedUrl,
        host: new URL(feedUrl).host,
        title: entry?.title ?? 'Linked LivePC',
        summary: entry?.summary ?? 'A LivePC that a link led to.',
        publisher: entry?.publisher ?? 'Somebody',
        publisher_key: 'RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3',
        fingerprint: '3f9a 02c7 b81e 4d56 90aa 17f3 6be2 c404',
        trust: livepc ? 'verified' : 'first-seen',
        release: 3,
        label: '3.0',
        boot_ready_bytes: entry?.boot_ready_bytes ?? 40e6,
        full_bytes: entry?.full_bytes ?? 900e6,
        free: this.#world.snapshot.store.free,
        expired: false,
        subscribed: livepc?.id ?? null,
        looks_like: this.scene === 'alike' ? { id: 'net-lab', title: 'Net Lab', fingerprint: 'aaaa 0bcd 1234 5678 90ab cdef 0011 2233' } : null,
      },
    };
  }

  #subscribe(feedUrl: string): Answer {
    const slug = /\/([^/]+)\/feed\.atom$/.exec(feedUrl)?.[1] ?? 'linked';
    const livepc = { ...fresh(this.#world.entries, slug) };
    const { livepcs, library_revision } = this.#world.snapshot;
    this.#change({
      livepcs: [...livepcs, livepc].sort((a, b) => a.title.localeCompare(b.title)),
      library_revision: library_revision + 1,
    });
    this.#download(livepc);
    return { answer: 'live-pc', livepc };
  }

  #download(livepc: LivePc): void {
    const job = sampleJob({ job: this.#nextJob++, id: livepc.id, title: livepc.title, phase: livepc.boot_ready ? 'complete' : 'boot-ready', bytes_done: livepc.bytes_local, bytes_reused: livepc.bytes_local, bytes_total: livepc.bytes_total, started: before(0) });
    this.#change({ jobs: [job, ...this.#world.snapshot.jobs] });
  }

  #verify(livepc: LivePc, repair: boolean): Job {
    const total = livepc.bytes_local;
    const job = sampleJob({ job: this.#nextJob++, id: livepc.id, title: livepc.title, kind: 'verify', until: null, phase: 'checking', repair, bytes_done: 0, bytes_total: total, bytes_per_second: 0, started: before(0) });
    this.#change({ jobs: [job, ...this.#world.snapshot.jobs] });
    return job;
  }

  #export(livepc: LivePc, wanted: Export): Job {
    if (!wanted.place.startsWith('/')) {
      const usage: Problem = { code: 'usage', message: `${wanted.place} is not an absolute path.`, hint: 'Give the whole path of the file or folder.' };
      throw usage;
    }
    const job = sampleJob({ job: this.#nextJob++, id: livepc.id, title: livepc.title, kind: 'export', phase: 'writing', export: wanted, bytes_done: 0, bytes_total: 8e9, bytes_per_second: 900e6, started: before(0) });
    this.#change({ jobs: [job, ...this.#world.snapshot.jobs] });
    return job;
  }

  #prune(dryRun: boolean, wanted: boolean): Pruned {
    const releases = wanted ? [...this.#spare, ...this.#wanted] : this.#spare;
    const kept = wanted ? [] : this.#wanted;
    const leftover = this.#spare.length > 0 ? 38e6 : 0;
    const all = releases.reduce((sum, r) => sum + r.bytes, leftover);
    if (!dryRun) {
      this.#spare = [];
      this.#wanted = kept;
      const { store } = this.#world.snapshot;
      this.#change({ store: { ...store, bytes: store.bytes - all, free: store.free + all } });
    }
    return { releases, kept, leftover_bytes: leftover, bytes: all };
  }

  #control(number: number, action: 'pause' | 'resume' | 'cancel' | 'retry'): Answer {
    const status = { pause: 'paused', resume: 'running', cancel: 'cancelled', retry: 'running' } as const;
    const jobs = this.#world.snapshot.jobs.map((job) =>
      job.job === number
        ? { ...job, status: status[action], ended: action === 'cancel' ? before(0) : null, problem: null, bytes_per_second: action === 'pause' ? 0 : 8e6 }
        : job,
    );
    this.#change({ jobs });
    return { answer: 'done' };
  }

  #setting(name: string, value: string | null): Answer {
    if (value !== null && name === 'qemu.program' && value !== '' && !value.includes('qemu')) {
      const usage: Problem = { code: 'usage', message: `There is no program ${value}.`, hint: 'Give the full path of qemu-system-x86_64, or nothing to look for it.' };
      throw usage;
    }
    if (value && name === 'vmware.program' && !/vm/i.test(value)) {
      const usage: Problem = { code: 'usage', message: `There is no ${value}.`, hint: 'Give the full path of vmrun or vmplayer, or the folder of VMware, or nothing to look for it.' };
      throw usage;
    }
    if (value !== null) this.#settings.set(name, value);
    return { answer: 'setting', name, value: this.#settings.get(name) ?? '' };
  }

  #find(id: string): LivePc {
    const livepc = this.#world.snapshot.livepcs.find((l) => l.id === id);
    if (livepc) return livepc;
    const problem: Problem = { code: 'not-found', message: `There is no LivePC ${id}.`, hint: 'It may have been unsubscribed.' };
    throw problem;
  }

  #releases(id: string): ReleaseInfo[] {
    const { release_available, withdrawn } = this.#find(id);
    return releases(id, release_available ?? 1).map((r) => (r.sequence === withdrawn ? { ...r, state: 'withdrawn' } : r));
  }

  #release(id: string, sequence: number): ReleaseInfo {
    const release = this.#releases(id).find((r) => r.sequence === sequence);
    if (release) return release;
    const problem: Problem = { code: 'not-found', message: `There is no release ${sequence} of ${id}.`, hint: 'Choose one that is in its list.' };
    throw problem;
  }

  #expect(id: string, states: MachineState[], message: string): void {
    if (states.includes(this.#find(id).state)) return;
    const problem: Problem = { code: 'busy', message, hint: 'Look at its state, then try again.' };
    throw problem;
  }

  /** What is suspended goes on; anything else begins with the release that it stays on, or the newest. */
  #start(livepc: LivePc, asked: HypervisorKind | null): Answer {
    const chosen = choose(survey(this.scene, this.#settings), this.#settings, livepc, asked);
    const begun: Partial<LivePc> = { ...chosen, state: 'starting', problem: null, last_used: before(0), rollback_to: null };
    if (livepc.state === 'suspended') return this.#set(livepc.id, { ...begun, suspended: null, suspended_bytes: 0 });
    const kept = livepc.keep_changes ? livepc.release_in_use : null;
    const release = this.#releases(livepc.id).find((r) => r.sequence === (livepc.pinned ?? kept ?? livepc.release_available));
    return this.#set(livepc.id, {
      ...begun,
      ...(release ? { release_in_use: release.sequence, label_in_use: release.label } : {}),
      ...(release?.sequence === livepc.release_available ? { update_bytes: null } : {}),
      ...(livepc.keep_changes ? {} : { changes_bytes: 0 }),
    });
  }

  #set(id: string, over: Partial<LivePc>): Answer {
    this.#change({ livepcs: this.#world.snapshot.livepcs.map((l) => (l.id === id ? { ...l, ...over } : l)) });
    return { answer: 'live-pc', livepc: this.#find(id) };
  }

  #change(over: Partial<Snapshot>): void {
    this.#world.snapshot = { ...this.#world.snapshot, ...over };
    this.#tell();
  }

  #tell(): void {
    for (const fn of this.#snapshots) fn(structuredClone(this.#world.snapshot));
  }
}

function add<T>(set: Set<T>, fn: T): () => void {
  set.add(fn);
  return () => set.delete(fn);
}
