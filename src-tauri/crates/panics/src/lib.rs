//! What happens when a part of LivePC panics: somebody is told, and the rest goes on.
//!
//! A panic is a mistake of LivePC's own. It must not become a silence: whoever waits for what has panicked gets a
//! [`Panicked`] in its place, which says what it was and where. Every border between those who ask and those who work
//! goes through here: [`caught`] for what is called, [`fenced`] for what is awaited, [`blocking`] for what may block.
//! Work that must never end goes through [`kept_up`], which begins it anew.
//!
//! That a panic is written down is the business of the process's hook, which [`watch`] sets: it hears of every panic,
//! also of those that nobody waits for.

use std::any::Any;
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::pin::pin;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

/// The pause before work that must never end begins anew, at first and at the most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MOST_PAUSE: Duration = Duration::from_secs(60);
/// Work that went on for so long has not failed at its beginning.
const SETTLED: Duration = Duration::from_secs(60);
/// Characters that are kept of what a panic says.
const SAID: usize = 500;

/// A part of LivePC has panicked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} has failed at {place}: {said}")]
pub struct Panicked {
    /// The work that it happened in, as the beginning of a sentence.
    pub what: String,
    /// What the panic says, on one line.
    pub said: String,
    /// Where in the source: `file.rs:12:5`.
    pub place: String,
}

impl From<Panicked> for std::io::Error {
    fn from(panicked: Panicked) -> Self {
        Self::other(panicked)
    }
}

thread_local! {
    /// What the last panic of this thread was, until who catches it takes it.
    static LAST: RefCell<Option<(String, String)>> = const { RefCell::new(None) };
}

static COUNT: AtomicU64 = AtomicU64::new(0);
static HOOK: Once = Once::new();

/// Panics of this process so far.
#[must_use]
pub fn count() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

/// Has `note` told of every panic of this process from now on: what it says, and where. Nothing is printed any more
/// unless `print`.
pub fn watch(print: bool, note: impl Fn(&str, &str) + Send + Sync + 'static) {
    remember();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if print {
            before(panic);
        } else {
            keep(panic);
        }
        note(&said(panic.payload()), &place(panic));
    }));
}

/// Sets the hook that remembers where a panic was, once.
fn remember() {
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            keep(panic);
            before(panic);
        }));
    });
}

fn keep(panic: &PanicHookInfo<'_>) {
    COUNT.fetch_add(1, Ordering::Relaxed);
    let last = (said(panic.payload()), place(panic));
    // A thread that ends has nobody who would ask.
    let _ = LAST.try_with(|kept| *kept.borrow_mut() = Some(last));
}

fn place(panic: &PanicHookInfo<'_>) -> String {
    panic
        .location()
        .map_or_else(|| "an unknown place".to_owned(), ToString::to_string)
}

fn said(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "it does not say why".to_owned());
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(SAID).collect()
}

fn panicked(what: &str, payload: &(dyn Any + Send)) -> Panicked {
    let last = LAST.with(|kept| kept.borrow_mut().take());
    let (said, place) = last.unwrap_or_else(|| (said(payload), "an unknown place".to_owned()));
    Panicked {
        what: what.to_owned(),
        said,
        place,
    }
}

/// Calls `work`; a panic of it is an error.
///
/// What `work` has changed when it panicked is as it was left: it must not be something that only makes sense as a
/// whole, or be dropped with it.
///
/// # Errors
/// That it has panicked.
pub fn caught<T>(what: &str, work: impl FnOnce() -> T) -> Result<T, Panicked> {
    remember();
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| panicked(what, &*payload))
}

/// Awaits `work`; a panic of it is an error. Dropping the future drops `work`.
///
/// # Errors
/// That it has panicked.
pub async fn fenced<T>(what: &str, work: impl Future<Output = T>) -> Result<T, Panicked> {
    remember();
    let mut work = pin!(work);
    let done = poll_fn(
        |context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(payload) => std::task::Poll::Ready(Err(payload)),
        },
    );
    done.await.map_err(|payload| panicked(what, &*payload))
}

/// Calls `work` where it may block; a panic of it is an error. Dropping the future does not end it.
///
/// # Errors
/// That it has panicked, or that the process ends.
pub async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Panicked> {
    match tokio::task::spawn_blocking(move || caught(what, work)).await {
        Ok(done) => done,
        Err(_) => Err(Panicked {
            what: what.to_owned(),
            said: "the process ends".to_owned(),
            place: "its end".to_owned(),
        }),
    }
}

/// Begins `work` as a task of its own, which nobody need wait for; a panic of it is the task's error.
pub fn spawn<T: Send + 'static>(
    what: &'static str,
    work: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<Result<T, Panicked>> {
    tokio::spawn(fenced(what, work))
}

/// Does work that must not end by a panic: it begins anew, at once at first and then after pauses. Gives what it gives.
pub async fn kept_up<T, F: Future<Output = T>>(what: &str, mut begin: impl FnMut() -> F) -> T {
    let mut pause = Duration::ZERO;
    loop {
        let since = Instant::now();
        // To begin may panic as well.
        let panicked = match fenced(what, async { begin().await }).await {
            Ok(done) => return done,
            Err(panicked) => panicked,
        };
        if since.elapsed() > SETTLED {
            pause = Duration::ZERO;
        }
        tracing::error!("{panicked}; it begins anew after {} s", pause.as_secs());
        tokio::time::sleep(pause).await;
        pause = (pause * 2).clamp(FIRST_PAUSE, MOST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn who_calls_what_panics_learns_what_and_where() {
        let before = count();
        let failed = caught("The test", || -> () { panic!("a\nmistake of {}", "ours") }).unwrap_err();
        assert_eq!(failed.said, "a mistake of ours");
        assert!(failed.place.contains("lib.rs:"), "{failed}");
        assert!(
            failed.to_string().starts_with("The test has failed at "),
            "{failed}"
        );
        assert!(count() > before, "it is counted");
        assert_eq!(caught("The test", || 5), Ok(5));
    }

    #[tokio::test]
    async fn who_awaits_what_panics_learns_it_whether_it_waited_before_or_not() {
        let early = fenced("The test", async { panic!("early") }).await;
        assert_eq!(early.map(|()| 0).unwrap_err().said, "early");
        let late = fenced("The test", async {
            tokio::task::yield_now().await;
            panic!("late")
        });
        assert_eq!(late.await.map(|()| 0).unwrap_err().said, "late");
        let blocked = blocking("The test", || -> () { panic!("{}", "blocked") })
            .await
            .unwrap_err();
        assert_eq!(blocked.said, "blocked");
        assert!(blocked.place.contains("lib.rs:"), "{blocked}");
        let task = spawn("The test", async { panic!("a task") })
            .await
            .expect("the task itself ends well");
        assert_eq!(task.map(|()| 0).unwrap_err().said, "a task");
    }

    #[tokio::test(start_paused = true)]
    async fn what_must_not_end_begins_anew() {
        let tries = AtomicUsize::new(0);
        let begun = Instant::now();
        let done = kept_up("The test", || async {
            assert!(tries.fetch_add(1, Ordering::SeqCst) >= 3, "not yet");
            "at last"
        });
        assert_eq!(done.await, "at last");
        assert_eq!(tries.load(Ordering::SeqCst), 4);
        assert_eq!(
            begun.elapsed(),
            Duration::from_secs(3),
            "at once, then after 1 s and 2 s"
        );
    }

    /// A process that logs hears of those too that nobody waits for.
    #[test]
    fn every_panic_is_told_to_who_watches() {
        static TOLD: AtomicUsize = AtomicUsize::new(0);
        watch(true, |said, place| {
            if said == "for who watches" && place.contains("lib.rs:") {
                TOLD.fetch_add(1, Ordering::SeqCst);
            }
        });
        let _ = std::thread::spawn(|| panic!("for who watches")).join();
        assert_eq!(TOLD.load(Ordering::SeqCst), 1);
        let failed = caught("The test", || -> () { panic!("for who watches") }).unwrap_err();
        assert!(failed.place.contains("lib.rs:"), "who waits is told as well");
        assert_eq!(TOLD.load(Ordering::SeqCst), 2);
    }
}
