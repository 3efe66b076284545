import type { LivePc } from './bindings/LivePc';
import { fraction } from './format';

/** What the state button shows; the value of its `data-state`. */
export type ButtonState =
  | 'subscribe'
  | 'preparing'
  | 'start'
  | 'starting'
  | 'running'
  | 'stalled'
  | 'stopping'
  | 'failed';

/** What pressing it does; null if it only shows. */
export type ButtonAction = 'subscribe' | 'start' | 'stop' | 'retry' | null;

/** How a start would go: with all here, with what a start reads here, or fetching as it reads. */
export type StartKind = 'complete' | 'boot-ready' | 'streaming' | 'resume';

/** Everything that the state button draws. */
export interface Button {
  state: ButtonState;
  action: ButtonAction;
  start: StartKind | null;
  /** How far it is to boot-ready, 0 to 1. */
  boot: number;
  /** How far it is to complete, 0 to 1. */
  full: number;
}

/** The state button of a LivePC; of one that is not subscribed, without it. */
export function buttonOf(livepc: LivePc | null): Button {
  if (!livepc) return { state: 'subscribe', action: 'subscribe', start: null, boot: 0, full: 0 };
  const full = livepc.complete ? 1 : fraction(livepc.bytes_local, livepc.bytes_total);
  const boot = livepc.boot_ready
    ? 1
    : livepc.has_boot_map
      ? fraction(livepc.boot_bytes_local, livepc.boot_bytes_total)
      : full;
  const kind: StartKind = livepc.complete ? 'complete' : livepc.boot_ready ? 'boot-ready' : 'streaming';
  const button = (state: ButtonState, action: ButtonAction, start: StartKind | null = null): Button => ({
    state,
    action,
    start,
    boot,
    full,
  });
  switch (livepc.state) {
    case 'preparing':
      return button('preparing', null);
    case 'absent':
    case 'ready':
    case 'stopped':
      return button('start', 'start', kind);
    case 'suspended':
      return button('start', 'start', 'resume');
    case 'starting':
      return button('starting', null);
    case 'running':
      return button('running', 'stop');
    case 'stalled':
      return button('stalled', 'retry');
    case 'stopping':
      return button('stopping', null);
    case 'failed':
      return button('failed', 'start', kind);
  }
}
