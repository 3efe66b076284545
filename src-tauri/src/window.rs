//! The one window: shown, hidden in the tray, or closed.

use livepc_panics::fenced;
use tauri::{AppHandle, Manager, WebviewUrl, WebviewWindowBuilder, Window, WindowEvent};

use crate::border::begun;
use crate::message::Message;
use crate::tray;

/// What the app calls it.
pub(crate) const LABEL: &str = "main";

/// Shows the window; makes it if there is none.
pub(crate) fn show(app: &AppHandle) {
    let window = app.get_webview_window(LABEL).map_or_else(
        || {
            WebviewWindowBuilder::new(app, LABEL, WebviewUrl::default())
                .title("LivePC")
                .inner_size(1280.0, 800.0)
                .min_inner_size(720.0, 520.0)
                .build()
        },
        Ok,
    );
    match window.and_then(|window| {
        window
            .show()
            .and_then(|()| window.unminimize())
            .and_then(|()| window.set_focus())
    }) {
        Ok(()) => {}
        Err(error) => tracing::error!("the window cannot be shown: {error}"),
    }
}

/// Closing the window hides it if the tray can bring it back; otherwise it ends the app. Machines go on either way.
pub(crate) fn on_event(window: &Window, event: &WindowEvent) {
    if let WindowEvent::CloseRequested { api, .. } = event {
        // Whether there is a tray is asked over a bus, which must not hold up the window.
        api.prevent_close();
        let window = window.clone();
        begun(&window.app_handle().clone(), Message::default(), async move {
            // Somebody wants the window closed, whatever becomes of asking.
            let asked = fenced("Looking for the tray", tray::is_there(window.app_handle()));
            if asked.await.unwrap_or(false) {
                let _ = window.hide();
            } else {
                window.app_handle().exit(0);
            }
            Ok(())
        });
    }
}
