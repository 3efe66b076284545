import { isTauri } from '@tauri-apps/api/core';
import type { Host } from './host';

/** The host of this window: the app around it, or an invented one in a browser. */
export async function connect(): Promise<Host> {
  // A production build is only ever the app's, so the condition below removes the invented host from it.
  if (import.meta.env.MODE === 'production' || isTauri()) {
    const { TauriHost } = await import('./tauri');
    return new TauriHost();
  }
  const { FakeHost } = await import('./fake');
  return FakeHost.fromUrl(new URL(window.location.href));
}
