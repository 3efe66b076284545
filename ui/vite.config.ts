/// <reference types="vitest/config" />
import { readFileSync } from 'node:fs';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

const { version } = JSON.parse(readFileSync(new URL('package.json', import.meta.url), 'utf8')) as { version: string };

export default defineConfig(({ mode }) => ({
  plugins: [svelte()],
  define: { __APP_VERSION__: JSON.stringify(version) },
  // Unit tests run components in a simulated browser, so they need Svelte's client code.
  resolve: mode === 'test' ? { conditions: ['browser'] } : {},
  server: { port: 5173, strictPort: true },
  build: { target: ['safari16.4', 'chrome111'], outDir: 'dist', assetsInlineLimit: 0 },
  test: { environment: 'happy-dom', include: ['tests/**/*.test.ts'], setupFiles: ['tests/setup.ts'] },
}));
