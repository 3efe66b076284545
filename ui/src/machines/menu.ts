import type { App } from '../lib/app.svelte';
import { startOf, STOP_TIMEOUT, type Step } from '../lib/app.svelte';
import type { LivePc } from '../lib/bindings/LivePc';
import { copy } from '../lib/problem';
import type { MenuItem } from '../lib/ui/Menu.svelte';
import { words } from '../lib/words';
import { can } from './steps';

/** What the menu of a LivePC offers in its state. */
export function menuOf(livepc: LivePc, app: App, page: boolean): MenuItem[][] {
  const { id, title } = livepc;
  const ask = (step: Step) => () => void (app.asking = { step, id });
  const machine: MenuItem[] = [];
  if (livepc.state === 'preparing') {
    machine.push({ label: words.menu.startNow, run: () => void app.run(startOf(id), title) });
  }
  // Where there is one hypervisor there is nothing to choose.
  const { usable } = app.hypervisors;
  if (can('start-in', livepc) && usable.length > 1) {
    machine.push(...usable.map((kind) => ({ label: words.menu.startIn(kind), run: () => void app.run(startOf(id, kind), title) })));
  }
  if (can('cd', livepc)) machine.push({ label: words.menu.cd, run: ask('cd') });
  // The state button offers it while the machine runs; a guest that did not hear it can be asked once more.
  if (livepc.state === 'stalled' || livepc.state === 'starting' || livepc.state === 'stopping') {
    machine.push({
      label: words.menu.stop,
      run: () => void app.run({ verb: 'stop', id, force: false, timeout: STOP_TIMEOUT }, title),
    });
  }
  if (can('suspend', livepc)) machine.push({ label: words.menu.suspend, run: () => void app.run({ verb: 'suspend', id }, title) });
  if (can('force', livepc)) machine.push({ label: words.menu.forceStop, run: ask('force') });
  if (can('revert', livepc)) machine.push({ label: words.menu.revert, run: ask('revert') });
  const disk: MenuItem[] = [{ label: words.menu.keep, checked: livepc.keep_changes, run: () => toggleKeep(livepc, app) }];
  if (can('reset', livepc)) disk.push({ label: words.menu.reset, run: ask('reset') });
  if (can('grow', livepc)) disk.push({ label: words.menu.grow, run: ask('grow') });
  const releases: MenuItem[] = [{ label: words.menu.updates, run: ask('updates') }];
  if (livepc.pinned !== null) {
    releases.push({
      label: words.menu.newest,
      run: () =>
        void app.run({ verb: 'pin', id, release: null }, title).then((done) => {
          if (done) app.toasts.tell(words.updates.done(title));
        }),
    });
  }
  if (can('rollback', livepc)) releases.push({ label: words.menu.rollback, run: ask('rollback') });
  const data: MenuItem[] = [];
  if (!livepc.complete || livepc.update_bytes !== null) {
    data.push({
      label: words.menu.download,
      run: () => void app.run({ verb: 'download', id, until: 'complete', release: null }, title),
    });
  }
  data.push({ label: words.menu.check, run: () => void app.checkForUpdate(livepc) });
  data.push({
    label: words.menu.verify,
    run: () =>
      void app.run({ verb: 'verify', id, repair: true }, title).then((done) => {
        if (done) app.toasts.tell(words.menu.verifying(title));
      }),
  });
  if (can('export', livepc)) data.push({ label: words.menu.export, run: ask('export') });
  const about: MenuItem[] = [
    {
      label: words.menu.copyId,
      run: () =>
        void copy(id).then((done) => {
          if (done) app.toasts.tell(words.menu.idCopied);
        }),
    },
  ];
  if (!page) about.push({ label: words.menu.details, run: () => app.open(livepc.feed_url) });
  return [machine, disk, releases, data, about, [{ label: words.menu.unsubscribe, danger: true, run: ask('unsubscribe') }]];
}

/** Keeps changes, or no longer: where that costs nothing, at once. */
function toggleKeep(livepc: LivePc, app: App): void {
  const { id, title } = livepc;
  if (!livepc.keep_changes) app.asking = { step: 'keep', id };
  else if (livepc.changes_bytes > 0) app.asking = { step: 'unkeep', id };
  else {
    void app.run({ verb: 'keep', id, keep: false }, title).then((done) => {
      if (done) app.toasts.tell(words.unkeep.done(title));
    });
  }
}
