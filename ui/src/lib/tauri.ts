import { invoke } from '@tauri-apps/api/core';
import { listen } from '@tauri-apps/api/event';
import type { Answer } from './bindings/Answer';
import type { Request } from './bindings/Request';
import type { Snapshot } from './bindings/Snapshot';
import { asProblem, type Host, type Screen } from './host';

const SCREENS: readonly string[] = ['library', 'machines', 'activity', 'settings'] satisfies Screen[];

/** The agent, reached through the app's shell. */
export class TauriHost implements Host {
  async call(request: Request): Promise<Answer> {
    try {
      return await invoke<Answer>('call', { request });
    } catch (error) {
      throw asProblem(error);
    }
  }

  onSnapshot(fn: (snapshot: Snapshot) => void): () => void {
    return subscribe<Snapshot>('snapshot', fn);
  }

  onNavigate(fn: (screen: Screen) => void): () => void {
    return subscribe<string>('navigate', (screen) => {
      if (SCREENS.includes(screen)) fn(screen as Screen);
    });
  }

  onSubscribeLink(fn: (feedUrl: string) => void): () => void {
    return subscribe<string>('subscribe-link', fn);
  }
}

/** Listens at once; what is given back works even before the shell has confirmed. */
function subscribe<T>(event: string, fn: (payload: T) => void): () => void {
  const unlisten = listen<T>(event, ({ payload }) => fn(payload));
  return () => void unlisten.then((end) => end());
}
