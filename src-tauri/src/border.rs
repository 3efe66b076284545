//! Between what the page and the desktop ask for, and what the app does: a panic of the app's own becomes a problem there,
//! which is told like any other. That it is logged is the business of [`livepc_engine::logs`].

use std::future::Future;

use livepc_panics::{caught, fenced};
use livepc_protocol::Problem;
use tauri::ipc::Invoke;
use tauri::{AppHandle, Wry};

use crate::message::{self, Message};

/// What the problems call the app.
const APP: &str = "The app";

/// Awaits what the page has asked for. The page would wait for ever for the answer of a command that panics.
pub(crate) async fn answered<T>(work: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    fenced(APP, work).await.map_err(Problem::of_panic).flatten()
}

/// Calls what the desktop has asked for. What calls it is not Rust, and a panic would take the app with it.
pub(crate) fn called<T>(work: impl FnOnce() -> T) -> Result<T, Problem> {
    caught(APP, work).map_err(Problem::of_panic)
}

/// As [`called`]; a panic is told in the window.
pub(crate) fn called_for(app: &AppHandle, work: impl FnOnce()) {
    if let Err(problem) = called(work) {
        tell(app, Message::default(), problem);
    }
}

/// Does what nobody waits for; what goes wrong is told in the window, with `where_to`.
pub(crate) fn begun(
    app: &AppHandle,
    where_to: Message,
    work: impl Future<Output = Result<(), Problem>> + Send + 'static,
) {
    let app = app.clone();
    #[allow(clippy::disallowed_methods)] // Here it is fenced.
    tauri::async_runtime::spawn(async move {
        if let Err(problem) = answered(work).await {
            tell(&app, where_to, problem);
        }
    });
}

/// The commands of the page, of which a panic is the answer too.
pub(crate) fn commands(
    answer: impl Fn(Invoke<Wry>) -> bool + Send + Sync + 'static,
) -> impl Fn(Invoke<Wry>) -> bool + Send + Sync + 'static {
    move |invoke| {
        let page = invoke.resolver.clone();
        called(|| answer(invoke)).unwrap_or_else(|problem| {
            page.reject(problem);
            true
        })
    }
}

fn tell(app: &AppHandle, where_to: Message, problem: Problem) {
    tracing::warn!("{problem}");
    let message = Message {
        problem: Some(problem),
        ..where_to
    };
    // What tells of a panic may be what panics.
    let told = caught(APP, || message::tell(app, message));
    if let Err(panicked) = told {
        tracing::error!("{panicked}");
    }
}

#[cfg(test)]
mod tests {
    use livepc_protocol::Code;

    use super::*;

    #[tokio::test]
    async fn the_page_gets_an_answer_from_a_command_that_panics() {
        let waited: Result<(), _> = answered(async {
            tokio::task::yield_now().await;
            panic!("a mistake")
        })
        .await;
        let called = called(|| -> () { panic!("a mistake") });
        for failed in [waited, called] {
            let problem = failed.unwrap_err();
            assert_eq!(problem.code, Code::Failed);
            assert!(problem.message.starts_with("The app has failed at "), "{problem}");
            assert!(problem.message.contains("a mistake"), "{problem}");
            assert!(problem.message.contains("border.rs:"), "it says where: {problem}");
            assert!(problem.hint.contains("livepc logs"), "{problem}");
        }
    }

    #[tokio::test]
    async fn what_goes_well_is_left_alone() {
        assert_eq!(answered(async { Ok(5) }).await, Ok(5));
        assert_eq!(called(|| 5), Ok(5));
        let busy = Problem::new(Code::Busy, "Not now.", "");
        assert_eq!(answered(async { Err::<(), _>(busy.clone()) }).await, Err(busy));
    }
}
