//! What the window is to be told from outside of it: by the tray, by a link, by an action that failed.
//!
//! It is kept until the page takes it: a page that is still being loaded hears no events, and an app that a link starts
//! has its first message before it has a page.

use std::sync::{Mutex, PoisonError};

use livepc_protocol::Problem;
use serde::Serialize;
use tauri::{AppHandle, Emitter, Manager, State};

use crate::window;

/// Tells the page that there is something to take.
const EVENT: &str = "message";

/// The newest of each kind that the page has not taken yet.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(crate) struct Message {
    /// The screen that was chosen.
    pub(crate) screen: Option<&'static str>,
    /// The feed that a link asks to subscribe to.
    pub(crate) feed: Option<String>,
    /// What went wrong.
    pub(crate) problem: Option<Problem>,
}

/// What waits for the page.
#[derive(Default)]
pub(crate) struct Waiting(Mutex<Message>);

impl Waiting {
    fn put(&self, new: Message) {
        let mut message = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        message.screen = new.screen.or(message.screen.take());
        message.feed = new.feed.or(message.feed.take());
        message.problem = new.problem.or(message.problem.take());
    }

    fn take(&self) -> Message {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Shows the window, and tells it.
pub(crate) fn tell(app: &AppHandle, message: Message) {
    app.state::<Waiting>().put(message);
    window::show(app);
    // A page that does not listen yet asks when it does.
    let _ = app.emit_to(window::LABEL, EVENT, ());
}

/// Gives the page what waits for it.
#[tauri::command]
pub(crate) fn take_message(waiting: State<'_, Waiting>) -> Message {
    waiting.take()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_each_kind_waits_and_is_taken_once() {
        let waiting = Waiting::default();
        let feed = |url: &str| Message {
            feed: Some(url.into()),
            ..Message::default()
        };
        waiting.put(feed("https://a.example/feed"));
        waiting.put(Message {
            screen: Some("machines"),
            ..Message::default()
        });
        waiting.put(feed("https://b.example/feed"));
        let taken = waiting.take();
        assert_eq!(taken.screen, Some("machines"));
        assert_eq!(taken.feed.as_deref(), Some("https://b.example/feed"));
        assert_eq!(waiting.take(), Message::default());
    }
}
