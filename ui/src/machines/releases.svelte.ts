import type { App } from '../lib/app.svelte';
import type { Problem } from '../lib/bindings/Problem';
import type { ReleaseInfo } from '../lib/bindings/ReleaseInfo';
import { asProblem } from '../lib/host';

/** The releases of a LivePC, which the agent is asked for when they are shown; made while a component is. */
export class ReleaseList {
  /** Newest first; null until the agent has answered. */
  releases = $state.raw<ReleaseInfo[] | null>(null);
  problem = $state.raw<Problem | null>(null);
  readonly #app: App;
  readonly #id: () => string;

  /** `version` changes when they are to be asked for again. */
  constructor(app: App, id: () => string, version: () => unknown = () => null) {
    this.#app = app;
    this.#id = id;
    $effect(() => {
      version();
      void this.load();
    });
  }

  async load(): Promise<void> {
    try {
      const id = this.#id();
      const releases: ReleaseInfo[] = [];
      let after: number | undefined;
      // Many releases come in pages.
      do {
        const answer = await this.#app.ask({ verb: 'show', id, after, exact: true }, 'shown');
        releases.push(...answer.releases);
        after = answer.next === after ? undefined : answer.next;
      } while (after !== undefined);
      this.releases = releases;
      this.problem = null;
    } catch (error) {
      this.problem = asProblem(error);
    }
  }
}
