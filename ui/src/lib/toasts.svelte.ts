import type { Problem } from './bindings/Problem';

/** A note that appears at the edge of the window. */
export interface Toast {
  key: number;
  /** What it is about. */
  title: string | null;
  text: string | null;
  problem: Problem | null;
  retry: (() => void) | null;
}

const SHOWN = 3;
const MILLISECONDS = 5000;

/** The notes that are shown now, newest last. Problems stay until they are dismissed. */
export class Toasts {
  list = $state.raw<Toast[]>([]);
  #next = 1;

  /** Tells of something that went well. */
  tell(text: string): void {
    const key = this.#add({ title: null, text, problem: null, retry: null });
    setTimeout(() => this.dismiss(key), MILLISECONDS);
  }

  /** Tells of a problem; the same one is not told twice at a time. */
  problem(problem: Problem, title: string | null = null, retry: (() => void) | null = null): void {
    const same = this.list.find((t) => t.title === title && t.problem?.message === problem.message);
    if (same) this.dismiss(same.key);
    this.#add({ title, text: null, problem, retry });
  }

  /** Takes away what asks for signing in to a server, which has been done. */
  signedIn(server: string): void {
    this.list = this.list.filter(({ problem }) => !problem?.sign_in || new URL(problem.sign_in).origin !== server);
  }

  dismiss(key: number): void {
    this.list = this.list.filter((t) => t.key !== key);
  }

  #add(toast: Omit<Toast, 'key'>): number {
    const key = this.#next++;
    this.list = [...this.list, { ...toast, key }].slice(-SHOWN);
    return key;
  }
}
