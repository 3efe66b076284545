//! The one window: shown, hidden in the tray, or closed.

use tauri::{AppHandle, Emitter, Manager, WebviewUrl, WebviewWindowBuilder, Window, WindowEvent};

use crate::tray;

const LABEL: &str = "main";

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

/// Shows the window on one of its screens.
pub(crate) fn navigate(app: &AppHandle, screen: &str) {
    show(app);
    let _ = app.emit_to(LABEL, "navigate", screen);
}

/// Asks the window to open the confirmation for a feed.
pub(crate) fn confirm_feed(app: &AppHandle, feed: &str) {
    show(app);
    let _ = app.emit_to(LABEL, "subscribe-link", feed);
}

/// Closing the window hides it if the tray can bring it back; otherwise it ends the app. Machines go on either way.
pub(crate) fn on_event(window: &Window, event: &WindowEvent) {
    if let WindowEvent::CloseRequested { api, .. } = event {
        if tray::is_there(window.app_handle()) {
            api.prevent_close();
            let _ = window.hide();
        } else {
            window.app_handle().exit(0);
        }
    }
}
