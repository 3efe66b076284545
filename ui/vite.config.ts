/// <reference types="vitest/config" />
import { readFileSync } from 'node:fs';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

// The app has one version, which the workspace's Cargo.toml tells.
const manifest = readFileSync(new URL('../Cargo.toml', import.meta.url), 'utf8');
const version = /^\[workspace\.package\]\r?\nversion = "([^"]+)"/m.exec(manifest)?.[1];
if (!version) throw new Error('Cargo.toml has no version at the beginning of [workspace.package].');

export default defineConfig(({ mode }) => ({
  plugins: [svelte()],
  define: { __APP_VERSION__: JSON.stringify(version) },
  // Unit tests run components in a simulated browser, so they need Svelte's client code.
  resolve: mode === 'test' ? { conditions: ['browser'] } : {},
  server: { port: 5173, strictPort: true },
  build: { target: ['safari16.4', 'chrome111'], outDir: 'dist', assetsInlineLimit: 0 },
  test: { environment: 'happy-dom', include: ['tests/**/*.test.ts'], setupFiles: ['tests/setup.ts'] },
}));
