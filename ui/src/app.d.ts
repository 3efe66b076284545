/** The version of the app, from the workspace's Cargo.toml. */
declare const __APP_VERSION__: string;
