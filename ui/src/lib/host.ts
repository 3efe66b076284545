import type { Answer } from './bindings/Answer';
import type { Problem } from './bindings/Problem';
import type { Request } from './bindings/Request';
import type { Snapshot } from './bindings/Snapshot';

/** The screens that the sidebar and the tray lead to. */
export type Screen = 'library' | 'machines' | 'activity' | 'settings';

/** What stands between this window and the agent. */
export interface Host {
  /** Asks the agent; rejects with a Problem. */
  call(request: Request): Promise<Answer>;
  /** Tells of each new snapshot; gives a function that ends it. */
  onSnapshot(fn: (snapshot: Snapshot) => void): () => void;
  /** Lets a person choose the image of a CD in the system's dialog; null if there was no choice. */
  chooseCd(title: string): Promise<string | null>;
  /** Lets a person choose where something goes, beginning with `place`; the dialog has asked whether what is there is replaced. */
  choosePlace(title: string, place: string): Promise<string | null>;
  /** Where a file of this name goes if nobody says otherwise. */
  suggestPlace(name: string): Promise<string | null>;
  /** Tells what there is to say of the agent itself, now and whenever that changes; gives a function that ends it. */
  onNotes(fn: (notes: Notes) => void): () => void;
  /** Puts a notice away, which is then told nowhere again; rejects with a Problem. */
  dismissNotice(notice: string): Promise<void>;
  /** Tells of what comes from outside of the window, and came before this was called. */
  onMessage(fn: (message: Message) => void): () => void;
}

/** What comes from outside of the window; most of it null. */
export interface Message {
  /** A screen that was chosen, as in the tray. */
  screen: Screen | null;
  /** The feed of a link that a person opened. */
  feed: string | null;
  /** What went wrong with an action of the tray. */
  problem: Problem | null;
}

/** What there is to say of the agent itself. */
export interface Notes {
  /** What has become of its state, if no person was told yet. */
  notice: string | null;
  /** Its version, if it is older than the app. */
  older: string | null;
}

type Tag = Answer['answer'];
type Tagged<T extends Tag> = Extract<Answer, { answer: T }>;

/** Asks the agent and narrows its answer; any other answer is a Problem. */
export async function ask<T extends Tag>(host: Host, request: Request, tag: T): Promise<Tagged<T>> {
  const answer = await host.call(request);
  if (answer.answer === tag) return answer as Tagged<T>;
  const problem: Problem = {
    code: 'update-livepc',
    message: `The agent answered “${answer.answer}” where “${tag}” was expected.`,
    hint: 'The app and its agent may be of different versions: restart LivePC.',
  };
  throw problem;
}

/** Whatever was thrown, as a Problem. */
export function asProblem(error: unknown): Problem {
  if (typeof error === 'object' && error !== null && 'code' in error && 'message' in error && 'hint' in error) {
    return error as Problem;
  }
  const message = error instanceof Error ? error.message : String(error);
  return { code: 'failed', message, hint: 'Try again. If it happens again, copy the details and report it.' };
}
