import { invoke } from '@tauri-apps/api/core';
import { listen } from '@tauri-apps/api/event';
import type { Answer } from './bindings/Answer';
import type { Problem } from './bindings/Problem';
import type { Request } from './bindings/Request';
import type { Snapshot } from './bindings/Snapshot';
import { asProblem, type Host, type Message, type Notes } from './host';

/** The agent, reached through the app's shell. */
export class TauriHost implements Host {
  call(request: Request): Promise<Answer> {
    return command('call', { request });
  }

  chooseCd(title: string): Promise<string | null> {
    return command('choose_cd', { title });
  }

  choosePlace(title: string, place: string): Promise<string | null> {
    return command('choose_place', { title, place });
  }

  suggestPlace(name: string): Promise<string | null> {
    return command('suggest_place', { name });
  }

  onNotes(fn: (notes: Notes) => void): () => void {
    // The shell has logged why it failed, and tells of the next change all the same.
    return subscribe<Notes>('notes', fn, () => void command<Notes>('notes').then(fn, () => undefined));
  }

  dismissNotice(notice: string): Promise<void> {
    return command('dismiss_notice', { notice });
  }

  onSnapshot(fn: (snapshot: Snapshot) => void): () => void {
    return subscribe<Snapshot>('snapshot', fn);
  }

  onMessage(fn: (message: Message) => void): () => void {
    const none = { screen: null, feed: null };
    const take = () => command<Message>('take_message').then(fn, (problem: Problem) => fn({ ...none, problem }));
    // The event only says that there is something to take; what is there already is taken once it can be heard.
    return subscribe('message', () => void take(), () => void take());
  }
}

/** Asks the shell; rejects with a Problem, also if the shell has panicked. */
async function command<T>(name: string, given?: Record<string, unknown>): Promise<T> {
  try {
    return await invoke<T>(name, given);
  } catch (error) {
    throw asProblem(error);
  }
}

/** Listens at once; what is given back works even before the shell has confirmed, which `onready` is told. */
function subscribe<T>(event: string, fn: (payload: T) => void, onready?: () => void): () => void {
  const unlisten = listen<T>(event, ({ payload }) => fn(payload));
  if (onready) void unlisten.then(onready);
  return () => void unlisten.then((end) => end());
}
