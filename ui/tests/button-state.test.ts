import { describe, expect, it } from 'vitest';
import type { MachineState } from '../src/lib/bindings/MachineState';
import { buttonOf, type ButtonAction, type ButtonState, type StartKind } from '../src/lib/button-state';
import { sample } from '../src/lib/samples';
import { buttonLabel, buttonName } from '../src/lib/words';

const STARTS: readonly MachineState[] = ['absent', 'ready', 'stopped', 'failed'];
const EXPECTED: Record<MachineState, [ButtonState, ButtonAction, string]> = {
  absent: ['start', 'start', 'Start'],
  preparing: ['preparing', null, 'Preparing'],
  ready: ['start', 'start', 'Start'],
  starting: ['starting', null, 'Starting…'],
  running: ['running', 'stop', 'Stop'],
  stalled: ['stalled', 'retry', 'Retry'],
  suspended: ['start', 'start', 'Resume'],
  stopping: ['stopping', null, 'Stopping…'],
  stopped: ['start', 'start', 'Start'],
  failed: ['failed', 'start', 'Start again'],
};

describe('state button', () => {
  it('subscribes where there is no subscription', () => {
    expect(buttonOf(null)).toEqual({ state: 'subscribe', action: 'subscribe', start: null, boot: 0, full: 0 });
  });

  for (const state of Object.keys(EXPECTED) as MachineState[]) {
    for (const boot_ready of [false, true]) {
      for (const complete of boot_ready ? [false, true] : [false]) {
        it(`${state}, ${boot_ready ? 'boot-ready' : 'not boot-ready'}, ${complete ? 'complete' : 'not complete'}`, () => {
          const livepc = sample({ state, boot_ready, complete, boot_bytes_local: 10e6, boot_bytes_total: 40e6, bytes_local: 0.5e9, bytes_total: 2e9 });
          const button = buttonOf(livepc);
          const [expectedState, action, label] = EXPECTED[state];
          expect(button.state).toBe(expectedState);
          expect(button.action).toBe(action);
          expect(buttonLabel(button)).toBe(label);
          const kind: StartKind = complete ? 'complete' : boot_ready ? 'boot-ready' : 'streaming';
          expect(button.start).toBe(state === 'suspended' ? 'resume' : STARTS.includes(state) ? kind : null);
          expect(button.boot, 'the ring is full to boot-ready exactly if it is').toBe(boot_ready ? 1 : 0.25);
          expect(button.full).toBe(complete ? 1 : 0.25);
        });
      }
    }
  }

  it('fills its ring by all bytes where no start was recorded', () => {
    const livepc = sample({ has_boot_map: false, boot_ready: false, complete: false, bytes_local: 1e9, bytes_total: 4e9, boot_bytes_local: 0, boot_bytes_total: 0 });
    expect(buttonOf(livepc).boot).toBe(0.25);
  });

  it('tells the numbers to those who hear it', () => {
    const livepc = sample({ state: 'preparing', boot_ready: false, complete: false, boot_bytes_local: 18e6, boot_bytes_total: 41e6, bytes_local: 0.43e9, bytes_total: 1e9 });
    const name = buttonName(buttonOf(livepc), 'Net Lab', livepc).replaceAll('\u00a0', ' ');
    expect(name).toBe('Preparing Net Lab. 18 of 41 MB to boot-ready. 43 % complete');
  });
});
