//! The desktop shell: a window, a tray icon and links, on top of the agent that does everything.
//!
//! The shell is a client of the agent like the command line. It has no logic of its own: the window's requests are passed
//! on ([`command`]), the agent's snapshots are sent to the window and shown in the tray ([`agent`], [`tray`]), and a
//! `livepc://` link only opens a confirmation ([`link`], [`message`]). Files are chosen in the system's dialogs ([`files`]).
//! What the agent is, and has had to mend, is told as well ([`notes`]); and what the app itself gets wrong ([`border`]).
//! Closing the window or ending the app stops no machine.

mod agent;
mod border;
mod command;
mod files;
mod link;
mod message;
mod notes;
mod tray;
mod window;

use std::process::ExitCode;

use livepc_protocol::Home;
use tauri::plugin::TauriPlugin;
use tauri::{Manager, RunEvent, Wry};
use tauri_plugin_deep_link::DeepLinkExt;

use crate::agent::Agent;

/// Starts without a window, in the tray.
const HIDDEN: &str = "--hidden";

/// Runs the app until somebody quits it.
#[must_use]
pub fn run() -> ExitCode {
    if let Ok(home) = Home::default_for_user() {
        livepc_engine::logs::to_file(&home, "desktop");
    }
    let mut builder = tauri::Builder::default();
    // First of all the plugins: a second start hands its arguments to the first one, and ends.
    if let Some(single) = single_instance() {
        builder = builder.plugin(single);
    }
    let built = builder
        .plugin(tauri_plugin_deep_link::init())
        .plugin(tauri_plugin_dialog::init())
        .invoke_handler(border::commands(tauri::generate_handler![
            command::call,
            files::choose_cd,
            files::choose_place,
            files::suggest_place,
            message::take_message,
            notes::dismiss_notice,
            notes::notes
        ]))
        .setup(|app| {
            let handle = app.handle().clone();
            app.manage(message::Waiting::default());
            app.manage(notes::Told::default());
            app.manage(Agent::start(&handle));
            tray::create(&handle);
            if !std::env::args().any(|arg| arg == HIDDEN) {
                window::show(&handle);
            }
            let links = handle.clone();
            app.deep_link().on_open_url(move |event| {
                border::called_for(&links, || {
                    for url in event.urls() {
                        link::open(&links, &url);
                    }
                });
            });
            // The link that started the app was told of before anybody could listen.
            for url in app.deep_link().get_current()?.unwrap_or_default() {
                link::open(&handle, &url);
            }
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
            tracing::error!("the app does not start: {error}");
            eprintln!("LivePC cannot open its window: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One app for each home: another home's app, as the demo's, must not hand over to the user's own.
fn single_instance() -> Option<TauriPlugin<Wry>> {
    let mut single = tauri_plugin_single_instance::Builder::new().callback(|app, _, _| {
        border::called_for(app, || window::show(app));
    });
    if std::env::var_os("LIVEPC_HOME").is_some_and(|home| !home.is_empty()) {
        // The other systems tell apps apart by their identifier alone.
        if !cfg!(target_os = "linux") {
            return None;
        }
        single = single.dbus_id(bus_name(&Home::default_for_user().ok()?));
    }
    Some(single.build())
}

/// What the app of this home is called on the bus, and no other home's.
fn bus_name(home: &Home) -> String {
    // Its parts may not begin with a digit.
    format!("io.github.livepc.desktop.h{}", home.tag())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_home_has_an_app_of_its_own() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [a, b] = folders
            .each_ref()
            .map(|folder| Home::open(folder.path()).unwrap());
        let name = bus_name(&a);
        assert_eq!(name, bus_name(&a));
        assert_ne!(name, bus_name(&b));
        assert!(
            name.split('.')
                .all(|part| part.starts_with(|c: char| c.is_ascii_alphabetic())),
            "a bus takes it: {name}"
        );
    }
}
