//! What the app has to say of the agent itself: that its state was damaged and made again, and that it is an older one, which
//! machines or downloads still need.
//!
//! Both are looked at with every snapshot, so that what has come and what has gone meanwhile is seen: the command line tells of
//! the state as well, and whoever tells it first is the one who does.

use std::sync::{Mutex, PoisonError};

use livepc_panics::blocking;
use livepc_protocol::{Home, Peer, Problem};
use serde::Serialize;
use tauri::{AppHandle, Emitter, Manager, State};

use crate::border::answered;

/// Tells the page of new notes.
const EVENT: &str = "notes";

/// What there is to say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Notes {
    /// What has become of the state, if no person was told yet.
    notice: Option<String>,
    /// The version of the agent, if it is older than the app.
    older: Option<String>,
}

impl Notes {
    fn of(home: &Home, peer: &Peer) -> Self {
        Self {
            notice: home.notice(),
            older: peer.is_older().then(|| peer.version.clone()),
        }
    }
}

/// What was told last.
#[derive(Default)]
pub(crate) struct Told(Mutex<Notes>);

impl Told {
    /// Takes what there is to say now; true if it is something else than before.
    fn put(&self, new: Notes) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *told, new.clone()) != new
    }

    fn get(&self) -> Notes {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Looks what there is to say, and tells the page if that has changed.
pub(crate) async fn look(app: &AppHandle, peer: &Peer) -> Result<(), Problem> {
    let (home, peer) = (Home::default_for_user()?, peer.clone());
    let notes = blocking("Looking for notes", move || Notes::of(&home, &peer)).await;
    tell(app, notes.map_err(Problem::of_panic)?);
    Ok(())
}

fn tell(app: &AppHandle, notes: Notes) {
    if app.state::<Told>().put(notes.clone()) {
        // A page that is not there yet asks when it is.
        let _ = app.emit(EVENT, notes);
    }
}

/// Gives the page what there is to say.
#[tauri::command]
pub(crate) fn notes(told: State<'_, Told>) -> Notes {
    told.get()
}

/// A person has read what has become of the state.
#[tauri::command]
pub(crate) async fn dismiss_notice(app: AppHandle, notice: String) -> Result<(), Problem> {
    answered(async {
        let home = Home::default_for_user()?;
        let left = blocking("Dismissing a notice", move || {
            home.forget_notice(&notice);
            home.notice()
        });
        let notice = left.await.map_err(Problem::of_panic)?;
        let older = app.state::<Told>().get().older;
        tell(&app, Notes { notice, older });
        Ok(())
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_what_is_there_now_and_news_once() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(&folder.path().join("home")).unwrap();
        let ours = Peer {
            version: "999.0.0".into(),
            revision: u32::MAX,
        };
        let old = Peer {
            version: "0.0.1".into(),
            revision: 0,
        };
        let told = Told::default();
        assert!(!told.put(Notes::of(&home, &ours)), "nothing to say");
        std::fs::write(home.root().join(Home::NOTICE), "It was damaged.\n").unwrap();
        let notes = Notes::of(&home, &old);
        assert!(told.put(notes.clone()));
        assert!(!told.put(notes.clone()), "the page has it already");
        let json = serde_json::to_value(told.get()).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"notice": "It was damaged.", "older": "0.0.1"})
        );
        // As the command line does, once it has told it; and the older agent has ended.
        home.forget_notice("It was damaged.");
        assert!(told.put(Notes::of(&home, &ours)));
        assert_eq!(told.get(), Notes::default());
    }
}
