import type { App } from '../lib/app.svelte';
import type { Problem } from '../lib/bindings/Problem';
import { asProblem } from '../lib/host';

/** One setting of the agent: its value, and how the last change went. */
export class Setting {
  value = $state<string | null>(null);
  problem = $state.raw<Problem | null>(null);
  saved = $state(false);
  readonly #app: App;
  readonly #name: string;

  constructor(app: App, name: string) {
    this.#app = app;
    this.#name = name;
  }

  /** Reads it. */
  async load(): Promise<void> {
    await this.#ask(() => this.#app.ask({ verb: 'config-get', name: this.#name }, 'setting'));
  }

  /** Changes it; gives whether that was done. */
  async save(value: string): Promise<boolean> {
    this.saved = false;
    this.saved = await this.#ask(() => this.#app.ask({ verb: 'config-set', name: this.#name, value }, 'setting'));
    return this.saved;
  }

  async #ask(ask: () => Promise<{ value: string }>): Promise<boolean> {
    try {
      this.value = (await ask()).value;
      this.problem = null;
      return true;
    } catch (error) {
      this.problem = asProblem(error);
      return false;
    }
  }
}
