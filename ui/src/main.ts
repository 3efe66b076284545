import './lib/tokens.css';
import './lib/base.css';
import { mount } from 'svelte';
import App from './App.svelte';
import { connect } from './lib/connect';

const target = document.getElementById('app');
if (!target) throw new Error('index.html has no element #app');
void connect().then((host) => mount(App, { target, props: { host } }));
