import type { App } from '../lib/app.svelte';
import type { Screen } from '../lib/host';

const SCREENS: Screen[] = ['library', 'machines', 'activity', 'settings'];

/** The keys that work anywhere in the window. */
export function onGlobalKey(event: KeyboardEvent, app: App): void {
  if (event.defaultPrevented || document.querySelector('dialog[open]')) return;
  const command = (event.ctrlKey || event.metaKey) && !event.altKey;
  const typing = isTyping(event.target);
  const screen = SCREENS[Number(event.key) - 1];
  let action: (() => void) | null = null;
  if (command && event.key.toLowerCase() === 'k') action = () => app.search();
  else if (command && event.key === ',') action = () => app.go('settings');
  else if (command && screen) action = () => app.go(screen);
  else if (event.key === 'F1') action = () => (app.showingShortcuts = true);
  else if (!command && !typing && event.key === '/') action = () => app.search();
  else if (!command && !typing && event.key === '?') action = () => (app.showingShortcuts = true);
  else if (!typing && event.key === 'Escape' && app.page) action = () => app.back();
  if (!action) return;
  event.preventDefault();
  action();
}

/** True where letters belong to a text. */
export function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable || ['INPUT', 'TEXTAREA', 'SELECT'].includes(target.tagName))
  );
}

/** Moves the focus between the elements that `selector` finds, in the direction of an arrow key. */
export function moveFocus(event: KeyboardEvent, root: ParentNode, selector: string): void {
  const current = (event.target as HTMLElement).closest<HTMLElement>(selector);
  if (!current || !event.key.startsWith('Arrow')) return;
  const here = current.getBoundingClientRect();
  const horizontal = event.key === 'ArrowLeft' || event.key === 'ArrowRight';
  const sign = event.key === 'ArrowRight' || event.key === 'ArrowDown' ? 1 : -1;
  let best: HTMLElement | null = null;
  let nearest = Infinity;
  for (const other of root.querySelectorAll<HTMLElement>(selector)) {
    if (other === current) continue;
    const box = other.getBoundingClientRect();
    const along = sign * (horizontal ? box.left - here.left : box.top - here.top);
    const across = Math.abs(horizontal ? box.top - here.top : box.left - here.left);
    if (along < 4 || (horizontal && across > 4)) continue;
    const distance = along + across * 3;
    if (distance < nearest) [best, nearest] = [other, distance];
  }
  if (best) {
    event.preventDefault();
    best.focus();
    best.scrollIntoView({ block: 'nearest' });
  }
}
