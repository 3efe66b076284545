import type { App } from './app.svelte';
import type { HypervisorKind } from './bindings/HypervisorKind';
import type { HypervisorStatus } from './bindings/HypervisorStatus';
import type { Problem } from './bindings/Problem';
import { asProblem } from './host';

/** Every hypervisor, in the order in which they are shown. */
export const KINDS: readonly HypervisorKind[] = ['vmware', 'qemu'];

/** The hypervisors of this computer. To look for them takes seconds, so that it is done only where somebody needs it. */
export class Hypervisors {
  /** What the last look found, every kind; null before the first. */
  found = $state.raw<HypervisorStatus[] | null>(null);
  /** Why the last look found nothing out. */
  problem = $state.raw<Problem | null>(null);
  looking = $state(false);
  /** The kinds that run machines, the one that is tried first before others. */
  readonly usable: HypervisorKind[] = $derived((this.found ?? []).filter((h) => h.problem === null).map((h) => h.kind));
  readonly #app: App;
  #looks = 0;

  constructor(app: App) {
    this.#app = app;
  }

  of(kind: HypervisorKind): HypervisorStatus | null {
    return this.found?.find((h) => h.kind === kind) ?? null;
  }

  /** Looks for them unless that was done already. */
  need(): void {
    if (this.found === null && !this.looking) void this.look();
  }

  /** Looks for them; of two looks at a time the later one counts. */
  async look(): Promise<void> {
    const look = ++this.#looks;
    this.looking = true;
    try {
      const { hypervisors } = await this.#app.ask({ verb: 'hypervisors' }, 'hypervisors');
      if (look !== this.#looks) return;
      this.found = hypervisors;
      this.problem = null;
    } catch (error) {
      if (look !== this.#looks) return;
      this.problem = asProblem(error);
    }
    this.looking = false;
  }
}
