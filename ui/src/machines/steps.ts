import { isLive, STOP_TIMEOUT, type Step } from '../lib/app.svelte';
import type { LivePc } from '../lib/bindings/LivePc';
import type { ReleaseInfo } from '../lib/bindings/ReleaseInfo';
import type { Request } from '../lib/bindings/Request';
import { buttonOf } from '../lib/button-state';
import { words } from '../lib/words';
import { boundTo, staysOn } from './status';

/** Something that is given up for good. */
export interface Loss {
  what: string;
  bytes: number;
}

/** A step that needs nothing but a yes. */
export type PlainStep = Exclude<Step, 'updates' | 'rollback' | 'unsubscribe' | 'cd' | 'grow' | 'export'>;

/** What the dialog of a plain step says and does. */
export interface Plan {
  title: string;
  text: string;
  losses: Loss[];
  confirm: string;
  done: string;
  danger: boolean;
  request: Request;
}

/** Whether a step makes sense in the machine's state. */
export function can(step: Step | 'suspend' | 'start-in', livepc: LivePc): boolean {
  switch (step) {
    case 'start-in':
      return (livepc.state === 'preparing' || buttonOf(livepc).action === 'start') && livepc.state !== 'suspended' && boundTo(livepc) === null;
    // A machine that goes on from a suspension keeps the drive that it had.
    case 'cd':
      return (livepc.state === 'preparing' || buttonOf(livepc).action === 'start') && livepc.state !== 'suspended';
    case 'grow':
      return isIdle(livepc) && livepc.own_disks.length > 0;
    case 'export':
      return livepc.release_available !== null;
    case 'suspend':
      return livepc.state === 'running';
    case 'force':
      return isLive(livepc);
    case 'revert':
      return livepc.state === 'suspended';
    case 'reset':
      return isIdle(livepc) && livepc.changes_bytes > 0;
    case 'keep':
      return !livepc.keep_changes;
    case 'unkeep':
      return livepc.keep_changes;
    case 'rollback':
      // What is suspended goes on with the release that it has in memory.
      return isIdle(livepc) && (nextRelease(livepc) ?? 0) > 1;
    case 'updates':
    case 'unsubscribe':
      return true;
  }
}

/** True if nothing uses the machine's disks, and nothing is suspended that would. */
export function isIdle(livepc: LivePc): boolean {
  return ['ready', 'stopped', 'failed'].includes(livepc.state);
}

/** The release that the next cold start uses, as far as it is known here. */
export function nextRelease(livepc: LivePc): number | null {
  return livepc.pinned ?? livepc.release_in_use ?? livepc.release_available;
}

/** The releases that a person can go back to, newest first. */
export function earlier(livepc: LivePc, releases: ReleaseInfo[]): ReleaseInfo[] {
  const next = nextRelease(livepc) ?? 0;
  return releases.filter((r) => r.sequence === livepc.rollback_to || (r.sequence < next && r.state === 'current'));
}

/** The changes of the system disk, if there are any. */
export function changes(livepc: LivePc): Loss[] {
  return livepc.changes_bytes > 0 ? [{ what: words.loss.changes, bytes: livepc.changes_bytes }] : [];
}

/** What the dialog of a plain step says and does. */
export function planOf(step: PlainStep, livepc: LivePc): Plan {
  const { id, title } = livepc;
  const texts = (of: { title: (t: string) => string; confirm: string; done: (t: string) => string }) => ({
    title: of.title(title),
    confirm: of.confirm,
    done: of.done(title),
  });
  switch (step) {
    case 'force':
      return {
        ...texts(words.force),
        text: words.force.text,
        losses: [],
        danger: true,
        request: { verb: 'stop', id, force: true, timeout: STOP_TIMEOUT },
      };
    case 'revert':
      return {
        ...texts(words.revert),
        text: words.revert.text,
        // The system disk is clean at a cold start, unless its changes are kept.
        losses: [{ what: words.loss.memory, bytes: livepc.suspended_bytes }, ...(livepc.keep_changes ? [] : changes(livepc))],
        danger: true,
        request: { verb: 'revert', id },
      };
    case 'reset':
      return { ...texts(words.reset), text: words.reset.text, losses: changes(livepc), danger: true, request: { verb: 'reset', id } };
    case 'keep':
      return {
        ...texts(words.keep),
        text: words.keep.text(staysOn({ ...livepc, keep_changes: true })),
        losses: [],
        danger: false,
        request: { verb: 'keep', id, keep: true },
      };
    case 'unkeep':
      return {
        ...texts(words.unkeep),
        text: words.unkeep.text,
        losses: changes(livepc),
        danger: true,
        request: { verb: 'keep', id, keep: false },
      };
  }
}
