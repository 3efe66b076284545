//! What the agent does when a part of it panics, or its database fails: it tells, and goes on.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use livepc_protocol::{
    Answer, Code, Display, Home, Job, JobKind, JobPhase, JobStatus, Launcher, MachineState, ProcessLock,
    Request,
};
use livepc_publish::{Folder, KeyFolder, Project, PublishOptions, Silent};
use tempfile::TempDir;

use super::core::Core;
use super::schedule::Subject;
use crate::server::Answers;

/// A job with this title panics.
pub(super) const MISTAKEN: &str = "a mistaken job";

thread_local! {
    static CLOCK_IS_BROKEN: Cell<bool> = const { Cell::new(false) };
    static CLOCK_WAS_ASKED: Cell<usize> = const { Cell::new(0) };
    static STARTS_ARE_BROKEN: Cell<bool> = const { Cell::new(false) };
}

/// Panics where a start has begun, while it is to, on the test's thread.
pub(super) fn fail_to_start() {
    assert!(!STARTS_ARE_BROKEN.get(), "a mistake in a start");
}

/// The one thing that all of the agent asks: what asks it panics while it is broken, on the test's thread.
fn clock() -> Timestamp {
    CLOCK_WAS_ASKED.set(CLOCK_WAS_ASKED.get() + 1);
    assert!(!CLOCK_IS_BROKEN.get(), "the clock is broken");
    Timestamp::now()
}

fn agent() -> (Arc<Core>, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path()).unwrap();
    let launcher = Launcher::new(std::env::current_exe().unwrap()).unwrap();
    let lock = ProcessLock::try_take(&home.agent_lock()).unwrap();
    let lock = Arc::new(lock.unwrap());
    (
        Arc::new(super::open(home, lock, launcher, clock).unwrap()),
        folder,
    )
}

#[tokio::test]
async fn whoever_was_asked_by_a_task_that_panicked_is_asked_again() {
    let (core, _folder) = agent();
    core.polling.follow([Subject::Library]);
    let subject = core.polling.take().expect("it is due");
    CLOCK_IS_BROKEN.set(true);
    core.clone().ask(subject).await;
    CLOCK_IS_BROKEN.set(false);
    core.polling.hurry([]);
    assert_eq!(
        core.polling.take(),
        Some(Subject::Library),
        "it is not taken for being asked for ever"
    );
}

#[tokio::test]
async fn whoever_was_asked_when_polling_itself_died_is_asked_again() {
    let (core, _folder) = agent();
    core.polling.follow([Subject::Library]);
    assert!(core.polling.take().is_some());
    core.polling.nobody_is_asked();
    core.polling.hurry([]);
    assert!(core.polling.take().is_some());
}

/// All that goes on as long as the agent is kept up alike; polling can be broken from here.
#[tokio::test]
async fn what_goes_on_as_long_as_the_agent_begins_anew_after_a_panic() {
    let (core, _folder) = agent();
    CLOCK_IS_BROKEN.set(true);
    let before = CLOCK_WAS_ASKED.get();
    core.keep_up();
    let begun_again = async {
        while CLOCK_WAS_ASKED.get() < before + 2 {
            tokio::task::yield_now().await;
        }
    };
    let begun_again = tokio::time::timeout(Duration::from_secs(30), begun_again).await;
    begun_again.expect("it does not end with its first panic");
}

fn job(title: &str) -> Job {
    Job {
        job: 0,
        id: "lab".into(),
        title: title.into(),
        kind: JobKind::Download,
        release: 1,
        until: None,
        export: None,
        repair: false,
        damage: None,
        phase: JobPhase::Metadata,
        status: JobStatus::Queued,
        bytes_done: 0,
        bytes_total: 0,
        bytes_reused: 0,
        bytes_per_second: 0,
        started: Timestamp::now(),
        ended: None,
        problem: None,
    }
}

/// Waits until a job has ended, as clients do: by what is told of it.
async fn ended(core: &Arc<Core>, number: u64) -> Job {
    let waiting = async {
        loop {
            core.changed.notified().await;
            let snapshot = core.snapshot().await.unwrap();
            let found = snapshot.jobs.into_iter().find(|job| job.job == number);
            let job = found.expect("it is told of at every moment");
            if job.status.has_ended() {
                return job;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .expect("it ends")
}

#[tokio::test]
async fn a_job_that_panics_has_failed_and_gives_its_place_free() {
    let (core, _folder) = agent();
    for _ in 0..5 {
        let begun = core.begin(job(MISTAKEN)).unwrap();
        let job = ended(&core, begun.job).await;
        assert_eq!(job.status, JobStatus::Failed);
        let problem = job.problem.expect("it says why");
        assert!(
            problem.message.contains("a mistake in a job") && problem.message.contains("jobs.rs:"),
            "{problem}"
        );
    }
    assert!(!core.jobs.at_work(), "the agent may end");
}

/// As on a full disk: the work itself has ended, and whoever waits for it must learn that.
#[tokio::test]
async fn the_end_of_a_job_is_told_also_if_it_cannot_be_recorded() {
    let (core, _folder) = agent();
    let begun = core.begin(job("a job")).unwrap();
    core.database.run("DROP TABLE job", []).unwrap();
    core.database.run("DROP TABLE subscription", []).unwrap();
    let job = ended(&core, begun.job).await;
    assert_eq!(job.status, JobStatus::Failed);
    assert_eq!(
        core.job(begun.job).unwrap().status,
        JobStatus::Failed,
        "also to who asks"
    );
    assert_eq!(core.job(begun.job + 1).unwrap_err().code, Code::NotFound);
}

/// Who waits for a job may ask the agent that comes after the one that has ended it, and has only what was recorded.
#[tokio::test]
async fn the_end_of_a_job_is_told_by_the_next_agent_too() {
    let (core, _folder) = agent();
    let begun = core.begin(job(MISTAKEN)).unwrap();
    ended(&core, begun.job).await;
    core.resume_jobs().unwrap();
    assert_eq!(core.job(begun.job).unwrap().status, JobStatus::Failed);
    assert!(!core.jobs.at_work(), "it is not done again");
}

#[tokio::test]
async fn work_that_is_done_to_its_end_tells_that_it_panicked() {
    let failed = Core::to_its_end::<()>(async { panic!("a mistake") })
        .await
        .unwrap_err();
    assert!(
        failed.message.contains("a mistake") && failed.message.contains("tests.rs:"),
        "{failed}"
    );
    let failed = Core::blocking(|| -> () { panic!("a mistake") })
        .await
        .unwrap_err();
    assert!(failed.message.contains("a mistake"), "{failed}");
}

/// Publishes a disk of one page in a folder; gives the feed's address and the fingerprint.
fn published(folder: &Path, title: &str) -> (String, String) {
    std::fs::create_dir(folder).unwrap();
    let disk = folder.join("disk.raw");
    std::fs::write(&disk, [7; 4096]).unwrap();
    let project = Project::init(&disk, title, &folder.join("project")).unwrap();
    let keys = KeyFolder::new(folder.join("keys"));
    keys.create(None).unwrap();
    let site = Folder::new(folder.join("site"));
    let keys = keys.publish_keys(None, true).unwrap();
    let options = PublishOptions::new(Timestamp::now());
    let published = livepc_publish::publish(&project, &site, &keys, &options, &Silent).unwrap();
    let feed = url::Url::from_file_path(site.root().join("feed.xml")).unwrap();
    (feed.into(), published.root.fingerprint().to_string())
}

/// Publishes one, and subscribes to it; gives its id.
async fn subscribed(core: &Arc<Core>, folder: &Path, name: &str) -> String {
    let (feed_url, fingerprint) = published(&folder.join(name), name);
    let subscribe = Request::Subscribe {
        feed_url,
        fingerprint,
        download: false,
    };
    match core.clone().answer(subscribe).await.unwrap() {
        Answer::LivePc { livepc } => livepc.id,
        other => panic!("{other:?}"),
    }
}

/// Before somebody confirms a fingerprint, it is said whose name this is already.
#[tokio::test]
async fn a_preview_names_the_subscription_that_it_would_be_taken_for() {
    let (core, folder) = agent();
    let (own, fingerprint) = published(&folder.path().join("own"), "Net Lab");
    let subscribe = Request::Subscribe {
        feed_url: own.clone(),
        fingerprint: fingerprint.clone(),
        download: false,
    };
    core.clone().answer(subscribe).await.unwrap();
    let (alike, _) = published(&folder.path().join("alike"), "N\u{435}t  lab");
    let (other, _) = published(&folder.path().join("other"), "Other Lab");
    for (feed_url, expected) in [(own, None), (other, None), (alike, Some(fingerprint))] {
        let preview = Request::Preview { feed_url };
        let Answer::Preview { preview } = core.clone().answer(preview).await.unwrap() else {
            panic!("a preview");
        };
        let found = preview.looks_like.map(|found| (found.title, found.fingerprint));
        let expected = expected.map(|fingerprint| ("Net Lab".to_owned(), fingerprint));
        assert_eq!(found, expected, "{}", preview.title);
    }
}

/// Who asked is told what it was, the machine shows it, and the next start is a start.
#[tokio::test]
async fn a_start_that_panics_has_failed_and_the_next_one_is_tried() {
    let (core, folder) = agent();
    let id = subscribed(&core, folder.path(), "lab").await;
    let start = || {
        core.clone().answer(Request::Start {
            id: id.clone(),
            display: Display::None,
            serial: None,
            fill: false,
            hypervisor: None,
            cd: None,
            overcommit: false,
            desktop: None,
        })
    };
    STARTS_ARE_BROKEN.set(true);
    for _ in 0..2 {
        let problem = start().await.unwrap_err();
        assert!(
            problem.message.contains("a mistake in a start") && problem.message.contains("tests.rs:"),
            "{problem}"
        );
        let state = core.machines.state(&id).expect("it is known");
        assert_eq!(
            (state.state, state.problem),
            (MachineState::Failed, Some(problem))
        );
        assert!(!core.machines.any_live(), "the agent may end");
    }
    STARTS_ARE_BROKEN.set(false);
    // The program that would run it is this test's, which knows no machines.
    let problem = start().await.unwrap_err();
    assert!(problem.message.contains("before it was ready"), "{problem}");
}

#[tokio::test]
async fn what_may_be_long_is_listed_in_pages_that_end() {
    let (core, _folder) = agent();
    let after = || Some("gone".to_owned());
    for (first, lost) in [
        (Request::list(), Request::List { after: after() }),
        (Request::source_list(), Request::SourceList { after: after() }),
        (Request::logins(), Request::Logins { after: after() }),
        (
            Request::update(None, true),
            Request::Update {
                id: None,
                check: true,
                after: after(),
            },
        ),
    ] {
        let answer = core.clone().answer(first.clone()).await.unwrap();
        assert_eq!(first.page_behind(&answer), None);
        let problem = core.clone().answer(lost).await.unwrap_err();
        assert_eq!(problem.code, Code::Busy, "{problem}");
    }
}

#[tokio::test]
async fn a_second_page_of_updates_checks_those_behind_the_first() {
    let (core, folder) = agent();
    for name in ["a", "b", "c"] {
        subscribed(&core, folder.path(), name).await;
    }
    for (after, left) in [(None, 3), (Some("a"), 2), (Some("c"), 0)] {
        let request = Request::Update {
            id: None,
            check: true,
            after: after.map(str::to_owned),
        };
        let Answer::Updates { updates, next } = core.clone().answer(request).await.unwrap() else {
            panic!("updates");
        };
        let ids: Vec<_> = updates.iter().map(|update| update.id.as_str()).collect();
        assert_eq!((ids, next), (["a", "b", "c"][3 - left..].to_vec(), None));
        assert!(
            updates.iter().all(|update| update.problem.is_none()),
            "{updates:?}"
        );
    }
}

/// The jobs are at work only after everybody has asked: this thread would do it.
#[tokio::test]
async fn who_asks_for_the_same_at_once_shares_one_job() {
    let (core, _folder) = agent();
    let runtime = tokio::runtime::Handle::current();
    for round in 0..20 {
        let title = format!("round {round}");
        let ask = || {
            let _runtime = runtime.enter();
            let same = |other: &Job| other.title == title;
            core.join_or_begin(same, job(&title)).unwrap().job
        };
        let numbers: BTreeSet<_> = std::thread::scope(|scope| {
            let crowd: Vec<_> = (0..20).map(|_| scope.spawn(ask)).collect();
            crowd.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert_eq!(numbers.len(), 1, "{numbers:?}");
    }
}
