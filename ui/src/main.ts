import './lib/tokens.css';
import './lib/base.css';
import { mount } from 'svelte';
import App from './App.svelte';
import { connect } from './lib/connect';

const target = document.getElementById('app');
if (!target) throw new Error('index.html has no element #app');

/** What this window shows: the app; outside of production also the page of all state buttons. */
async function show(element: HTMLElement): Promise<void> {
  if (import.meta.env.MODE !== 'production' && new URLSearchParams(location.search).get('scene') === 'buttons') {
    const { default: ButtonsPage } = await import('./shell/ButtonsPage.svelte');
    mount(ButtonsPage, { target: element });
    return;
  }
  mount(App, { target: element, props: { host: await connect() } });
}

void show(target);
