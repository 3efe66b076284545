//! A screen nobody looks at and a session bus nobody else is on, for the desktop app.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use x11rb::connection::Connection;
use x11rb::protocol::xproto::{AtomEnum, ClientMessageEvent, ConnectionExt, EventMask, MapState, Window};
use x11rb::rust_connection::RustConnection;

use crate::bus::{Bus, Ended, first_line};

/// An X server and a D-Bus session bus of its own; both end when it is dropped.
#[derive(Debug)]
pub struct Display {
    name: String,
    bus: Bus,
    dark: bool,
    _server: Ended,
}

impl Display {
    /// Starts both, with light windows.
    #[must_use]
    pub fn new() -> Self {
        let (server, number) = first_line(
            // The server takes a free number itself, and tells which once it can be used.
            Command::new("Xvfb")
                .args([
                    "-displayfd",
                    "1",
                    "-screen",
                    "0",
                    "1600x1200x24",
                    "-nolisten",
                    "tcp",
                    // By default it starts anew when its last client leaves, and breaks who connects at that moment.
                    "-noreset",
                ])
                .stderr(Stdio::null()),
            "xvfb",
        );
        Self {
            name: format!(":{number}"),
            bus: Bus::new(),
            dark: false,
            _server: server,
        }
    }

    /// Programs started from now on see a desktop that is dark, or light.
    pub fn set_dark(&mut self, dark: bool) {
        self.dark = dark;
    }

    /// The address of the session bus.
    #[must_use]
    pub fn bus_address(&self) -> &str {
        self.bus.address()
    }

    /// True while a window with this title is to be seen.
    #[must_use]
    pub fn shows(&self, title: &str) -> bool {
        self.screen()
            .and_then(|(x, root)| window(&x, root, title))
            .is_ok_and(|window| window.is_some())
    }

    /// Asks the window with this title to close, as a window manager does for its close button.
    ///
    /// # Errors
    /// If there is none.
    pub fn close(&self, title: &str) -> Result<()> {
        let (x, root) = self.screen()?;
        let window = window(&x, root, title)?.with_context(|| format!("no window “{title}”"))?;
        let atom = |name: &str| anyhow::Ok(x.intern_atom(false, name.as_bytes())?.reply()?.atom);
        let data = [atom("WM_DELETE_WINDOW")?, x11rb::CURRENT_TIME, 0, 0, 0];
        let close = ClientMessageEvent::new(32, window, atom("WM_PROTOCOLS")?, data);
        x.send_event(false, window, EventMask::NO_EVENT, close)?.check()?;
        Ok(())
    }

    fn screen(&self) -> Result<(RustConnection, Window)> {
        let (x, screen) = x11rb::connect(Some(&self.name))?;
        let root = x.setup().roots[screen].root;
        Ok((x, root))
    }

    /// Has a command run on this desktop.
    pub fn enter(&self, command: &mut Command) {
        command
            .env("DISPLAY", &self.name)
            .env("DBUS_SESSION_BUS_ADDRESS", self.bus.address())
            .env("GDK_BACKEND", "x11")
            .env("GTK_THEME", if self.dark { "Adwaita:dark" } else { "Adwaita" })
            // Nobody reads this screen aloud: the bus for that would be asked for in vain.
            .env("NO_AT_BRIDGE", "1")
            .env_remove("WAYLAND_DISPLAY");
    }
}

impl Default for Display {
    fn default() -> Self {
        Self::new()
    }
}

/// The window on the screen that has this title. Nobody manages windows here, so all are the root's.
fn window(x: &RustConnection, root: Window, title: &str) -> Result<Option<Window>> {
    for window in x.query_tree(root)?.reply()?.children {
        let name = x
            .get_property(false, window, AtomEnum::WM_NAME, AtomEnum::ANY, 0, 256)?
            .reply()?;
        let state = x.get_window_attributes(window)?.reply()?.map_state;
        if name.value == title.as_bytes() && state == MapState::VIEWABLE {
            return Ok(Some(window));
        }
    }
    Ok(None)
}
