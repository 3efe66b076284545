import type { App } from '../lib/app.svelte';
import { isLive, STOP_TIMEOUT } from '../lib/app.svelte';
import type { LivePc } from '../lib/bindings/LivePc';
import { copy } from '../lib/problem';
import type { MenuItem } from '../lib/ui/Menu.svelte';
import { words } from '../lib/words';

/** What the menu of a LivePC offers in its state. */
export function menuOf(livepc: LivePc, app: App, onforce: () => void, page: boolean): MenuItem[][] {
  const { id, title } = livepc;
  const live = isLive(livepc);
  const machine: MenuItem[] = [];
  if (livepc.state === 'preparing') {
    machine.push({
      label: words.menu.startNow,
      run: () => void app.run({ verb: 'start', id, display: 'window', serial: null, fill: true }, title),
    });
  }
  // The state button offers it while the machine runs; a guest that did not hear it can be asked once more.
  if (livepc.state === 'stalled' || livepc.state === 'starting' || livepc.state === 'stopping') {
    machine.push({
      label: words.menu.stop,
      run: () => void app.run({ verb: 'stop', id, force: false, timeout: STOP_TIMEOUT }, title),
    });
  }
  if (live) machine.push({ label: words.menu.forceStop, run: onforce });
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
      void app.run({ verb: 'verify', id }, title).then((done) => {
        if (done) app.toasts.tell(words.menu.verifying(title));
      }),
  });
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
  return [machine, data, about, [{ label: words.menu.unsubscribe, danger: true, run: () => (app.unsubscribing = id) }]];
}
