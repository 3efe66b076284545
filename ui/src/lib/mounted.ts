import { onDestroy } from 'svelte';

/** Tells a component whether it is still there: an answer that comes later must not act on what has taken its place. */
export function whileMounted(): () => boolean {
  let mounted = true;
  onDestroy(() => {
    mounted = false;
  });
  return () => mounted;
}
