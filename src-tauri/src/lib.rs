//! The desktop shell: a window, a tray icon and links, on top of the agent that does everything.
//!
//! The shell is a client of the agent like the command line. It has no logic of its own: the window's requests are passed
//! on ([`command`]), the agent's snapshots are sent to the window and shown in the tray ([`agent`], [`tray`]), and a
//! `livepc://` link only opens a confirmation ([`link`]). Closing the window or ending the app stops no machine.

mod agent;
mod command;
mod link;
mod tray;
mod window;

use std::process::ExitCode;

use tauri::{Manager, RunEvent};
use tauri_plugin_deep_link::DeepLinkExt;

use crate::agent::Agent;

/// Starts without a window, in the tray.
const HIDDEN: &str = "--hidden";

/// Runs the app until somebody quits it.
#[must_use]
pub fn run() -> ExitCode {
    let built = tauri::Builder::default()
        // First of all: a second start hands its arguments to the first one, and ends.
        .plugin(tauri_plugin_single_instance::init(|app, _, _| window::show(app)))
        .plugin(tauri_plugin_deep_link::init())
        .invoke_handler(tauri::generate_handler![command::call])
        .setup(|app| {
            let handle = app.handle().clone();
            app.manage(Agent::start(&handle));
            tray::create(&handle);
            if !std::env::args().any(|arg| arg == HIDDEN) {
                window::show(&handle);
            }
            let links = handle.clone();
            app.deep_link().on_open_url(move |event| {
                for url in event.urls() {
                    link::open(&links, &url);
                }
            });
            Ok(())
        })
        .on_window_event(window::on_event)
        .build(tauri::generate_context!());
    match built {
        Ok(app) => {
            app.run(|_, event| {
                // Without a window the app goes on in the tray; only Quit gives an exit code.
                if let RunEvent::ExitRequested { code: None, api, .. } = event {
                    api.prevent_exit();
                }
            });
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("LivePC cannot open its window: {error}");
            ExitCode::FAILURE
        }
    }
}
