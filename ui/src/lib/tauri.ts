import { invoke } from '@tauri-apps/api/core';
import { listen } from '@tauri-apps/api/event';
import type { Answer } from './bindings/Answer';
import type { Request } from './bindings/Request';
import type { Snapshot } from './bindings/Snapshot';
import { asProblem, type Host, type Message } from './host';

/** The agent, reached through the app's shell. */
export class TauriHost implements Host {
  async call(request: Request): Promise<Answer> {
    try {
      return await invoke<Answer>('call', { request });
    } catch (error) {
      throw asProblem(error);
    }
  }

  chooseCd(title: string): Promise<string | null> {
    return invoke('choose_cd', { title });
  }

  choosePlace(title: string, place: string): Promise<string | null> {
    return invoke('choose_place', { title, place });
  }

  suggestPlace(name: string): Promise<string | null> {
    return invoke('suggest_place', { name });
  }

  onSnapshot(fn: (snapshot: Snapshot) => void): () => void {
    return subscribe<Snapshot>('snapshot', fn);
  }

  onMessage(fn: (message: Message) => void): () => void {
    const take = async () => fn(await invoke<Message>('take_message'));
    // The event only says that there is something to take; what is there already is taken once it can be heard.
    return subscribe('message', () => void take(), () => void take());
  }
}

/** Listens at once; what is given back works even before the shell has confirmed, which `onready` is told. */
function subscribe<T>(event: string, fn: (payload: T) => void, onready?: () => void): () => void {
  const unlisten = listen<T>(event, ({ payload }) => fn(payload));
  if (onready) void unlisten.then(onready);
  return () => void unlisten.then((end) => end());
}
