//! `project` and `publish`.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use livepc_engine::record::{RecordOptions, record};
use livepc_format::shown;
use livepc_protocol::{Answer, Code, Problem, Request};
use livepc_publish::{
    AddedBootMap, Folder, KeyFolder, Phase, Progress, Project, PublishError, PublishKeys, PublishOptions,
    Published, Renewed, add_boot_map, open_destination,
};
use serde_json::{Value, json};

use crate::args::publisher::{ProjectVerb, Publish, TakenAs};
use crate::output::{Output, bytes, day};
use crate::session::{Session, unexpected};
use crate::verbs::key;

/// How long a start that is recorded may take.
const START: Duration = Duration::from_secs(600);

/// What went wrong with a publication.
pub(crate) fn of_publish(error: &PublishError) -> Problem {
    let code = match error {
        _ if error.is_disk_full() => Code::DiskFull,
        _ if error.is_trust() => Code::Trust,
        PublishError::SourceMissing(_)
        | PublishError::ProjectMissing(_)
        | PublishError::KeyMissing(_)
        | PublishError::RootKeyAway(_)
        | PublishError::NothingPublished(_)
        | PublishError::CatalogMissing(_)
        | PublishError::NotInCatalog(_)
        | PublishError::NoRelease { .. } => Code::NotFound,
        PublishError::DestinationBusy(_) => Code::Busy,
        PublishError::Cancelled => Code::Cancelled,
        PublishError::Format(livepc_format::FormatError::Newer { .. }) => Code::UpdateLivepc,
        PublishError::Io { .. }
        | PublishError::SourceChanged(_)
        | PublishError::Ledger { .. }
        | PublishError::Overtaken { .. }
        | PublishError::Immutable { .. }
        | PublishError::Lost { .. }
        | PublishError::FeedStale { .. }
        | PublishError::TooLong { .. }
        | PublishError::KeyDamaged(_)
        | PublishError::Format(_) => Code::Failed,
        _ => Code::Usage,
    };
    let problem = Problem::of_text(code, &error.to_string());
    if problem.hint.is_empty() {
        return Problem {
            hint: "Nothing was changed for subscribers.".into(),
            ..problem
        };
    }
    problem
}

pub(crate) fn project(session: &Session<'_>, verb: ProjectVerb) -> Result<(), Problem> {
    let ProjectVerb::Init {
        source,
        name,
        dir,
        taken_as,
    } = verb;
    let project = match taken_as {
        None => Project::init(&source, &name, &dir),
        Some(TakenAs::Raw) => Project::init_as_raw(&source, &name, &dir),
    };
    let project = project.map_err(|e| of_publish(&e))?;
    let warnings = warn(session.output, &project)?;
    let file = dir.join(livepc_publish::PROJECT_FILE);
    session.output.result(
        &json!({"name": project.name, "title": project.title, "file": file.display().to_string(), "warnings": warnings}),
        || {
            format!(
                "Wrote {}. Look it over, then: livepc publish {} --to FOLDER",
                shown::path(&file),
                shown::path(&dir)
            )
        },
    );
    Ok(())
}

/// Tells what makes one doubt that the project's images are whole; gives it.
fn warn(output: &Output, project: &Project) -> Result<Vec<String>, Problem> {
    let doubts = project.doubts().map_err(|e| of_publish(&e))?;
    for doubt in &doubts {
        output.note(&format!("Warning: {doubt}."));
    }
    Ok(doubts)
}

pub(crate) async fn publish(session: &Session<'_>, args: Publish) -> Result<(), Problem> {
    if args.project.is_file() {
        return Err(Problem::new(
            Code::Usage,
            format!(
                "{} is a file, not the folder of a project.",
                shown::path(&args.project)
            ),
            "Name the folder that has its livepc.toml.",
        ));
    }
    let project = Project::load(&args.project).map_err(|e| of_publish(&e))?;
    let folder = open_destination(&args.to).map_err(|e| of_publish(&e))?;
    let keys = KeyFolder::new(session.home.keys());
    let password = key::password(session, &keys).await?;
    let keys = keys
        .publish_keys(password.as_deref(), true)
        .map_err(|e| of_publish(&e))?;
    if args.renew {
        let renewed = livepc_publish::renew(&project, &folder, &keys, jiff::Timestamp::now())
            .map_err(|e| of_publish(&e))?;
        session
            .output
            .result(&renewed_object(&renewed), || describe_renewed(&renewed));
        return Ok(());
    }
    let warnings = warn(session.output, &project)?;
    let mut options = PublishOptions::new(jiff::Timestamp::now());
    options.label.clone_from(&args.label);
    options.changelog.clone_from(&args.changelog);
    options.dry_run = args.dry_run;
    options.start_over = args.start_over;
    let published = pack(session.output, &project, &folder, &keys, &options).await?;
    let mut boot = None;
    if args.record_boot && !args.dry_run {
        session
            .output
            .note("Booting the release once, to see what a start reads…");
        let options = RecordOptions {
            folder: livepc_engine::catalog_entry::feed_address(&folder.root().to_string_lossy())?,
            sequence: published.sequence,
            until: args.boot_until,
            limit: START,
            qemu: chosen_qemu(session).await?,
        };
        let trace = record(&options).await?;
        let now = jiff::Timestamp::now();
        let added =
            add_boot_map(&folder, &keys, published.sequence, &trace, now).map_err(|e| of_publish(&e))?;
        boot = Some(added);
    }
    session
        .output
        .result(&object(&published, boot.as_ref(), &warnings), || {
            describe(&published, boot.as_ref(), &args.to)
        });
    Ok(())
}

/// The QEMU that the settings name.
async fn chosen_qemu(session: &Session<'_>) -> Result<Option<PathBuf>, Problem> {
    let name = livepc_engine::config::QEMU.to_owned();
    match session.ask(Request::ConfigGet { name }).await? {
        Answer::Setting { value, .. } => Ok(Some(value).filter(|value| !value.is_empty()).map(PathBuf::from)),
        _ => Err(unexpected()),
    }
}

/// Publishes on a thread of its own, and shows how far it is; Ctrl-C stops it in order.
async fn pack(
    output: &Output,
    project: &Project,
    folder: &Folder,
    keys: &PublishKeys,
    options: &PublishOptions,
) -> Result<Published, Problem> {
    let meter = Meter::default();
    let done = std::thread::scope(|scope| {
        let work = scope.spawn(|| {
            livepc_panics::caught("Publishing", || {
                livepc_publish::publish(project, folder, keys, options, &meter)
            })
        });
        let handle = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| {
            handle.block_on(async {
                let mut tick = tokio::time::interval(Duration::from_millis(200));
                let interrupted = livepc_engine::session_end::asked_to_end();
                tokio::pin!(interrupted);
                while !work.is_finished() {
                    tokio::select! {
                        _ = tick.tick() => meter.show(output),
                        _ = &mut interrupted, if !meter.stop.load(Ordering::Relaxed) => {
                            meter.stop.store(true, Ordering::Relaxed);
                        }
                    }
                }
            });
        });
        work.join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    done.map_err(Problem::of_panic)?.map_err(|e| of_publish(&e))
}

/// How far a publication is.
#[derive(Default)]
struct Meter {
    now: Mutex<Option<(Phase, u64, u64)>>,
    stop: AtomicBool,
}

impl Meter {
    fn show(&self, output: &Output) {
        let now = *self.now.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some((phase, done, total)) = now else { return };
        let name = match phase {
            Phase::Known => "known pages",
            Phase::Scan => "reading",
            Phase::Pack => "packing",
            Phase::Index => "index",
            Phase::Reckon => "sizes",
        };
        if matches!(phase, Phase::Scan | Phase::Pack) && total > 0 {
            output.progress(name, done, total, Value::Null);
        }
    }
}

impl Progress for Meter {
    fn report(&self, phase: Phase, done: u64, total: u64) {
        *self.now.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some((phase, done, total));
    }

    fn cancelled(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

fn object(published: &Published, boot: Option<&AddedBootMap>, warnings: &[String]) -> Value {
    json!({
        "livepc": published.livepc,
        "name": published.name,
        "changed": published.changed,
        "dry_run": published.dry_run,
        "release": published.sequence,
        "label": published.label,
        "expires": published.expires,
        "address": published.address,
        "fingerprint": published.root.fingerprint().to_string(),
        "disk_bytes": published.disk_bytes,
        "pages": published.pages,
        "pages_new": published.pages_new,
        "pages_known": published.pages_known,
        "chunks": published.chunks,
        "packs": published.packs,
        "bytes_written": published.bytes_written,
        "bytes_new_subscriber": published.fetch.new,
        "bytes_boot_ready": boot.map_or(published.fetch.boot_ready, |boot| boot.boot_ready),
        "bytes_from": published.fetch.from,
        "warnings": warnings,
    })
}

fn describe(published: &Published, boot: Option<&AddedBootMap>, to: &str) -> String {
    let told = published.address.as_ref().filter(|_| !published.dry_run);
    if !published.changed {
        let mut text = format!(
            "Nothing has changed since release {} “{}”.",
            published.sequence, published.label
        );
        if let Some(expires) = published.expires {
            let will = if published.dry_run { "would hold" } else { "holds" };
            text.push_str(&format!(" The list of releases {will} until {}.", day(expires)));
        }
        if let Some(address) = told {
            text.push_str(&format!(" {}.", lies_at(address)));
        }
        return text;
    }
    let verb = if published.dry_run {
        "Would publish"
    } else {
        "Published"
    };
    let mut text = format!(
        "{verb} release {} “{}” to {to}\n  {} of {} pages are new: {} in {} chunks\n  a new subscriber fetches {}",
        published.sequence,
        published.label,
        published.pages_new,
        published.pages,
        bytes(published.pack_bytes),
        published.chunks,
        bytes(published.fetch.new)
    );
    for (from, size) in published.fetch.from.iter().rev().take(3) {
        text.push_str(&format!("\n  from release {from}: {}", bytes(*size)));
    }
    if let Some(boot) = boot {
        text.push_str(&format!(
            "\n  boot-ready after {} in {} chunks",
            bytes(boot.boot_ready),
            boot.chunks
        ));
    } else if let Some(from) = published.boot_map_of {
        text.push_str(&format!(
            "\n  boot-ready after {}: its disks are those of release {from}, and so is its boot map",
            bytes(published.fetch.boot_ready)
        ));
    }
    if let Some(expires) = published.expires {
        text.push_str(&format!(
            "\n  the list of releases holds until {}: publish again, or renew it, before that",
            day(expires)
        ));
    }
    if let Some(address) = told {
        text.push_str(&format!("\n  {}", lies_at(address)));
    }
    text.push_str(&format!("\n  fingerprint {}", published.root.fingerprint()));
    text
}

fn renewed_object(renewed: &Renewed) -> Value {
    let newest = renewed.head.releases.first();
    json!({
        "livepc": renewed.head.livepc,
        "name": renewed.keys.name,
        "changed": false,
        "release": newest.map(|release| release.sequence),
        "label": newest.map(|release| &release.label),
        "expires": renewed.head.expires,
        "address": renewed.address,
        "fingerprint": renewed.keys.root.fingerprint().to_string(),
    })
}

fn describe_renewed(renewed: &Renewed) -> String {
    let until = match renewed.head.expires {
        Some(expires) => format!("holds until {}", day(expires)),
        None => "does not expire (“expires-after” in livepc.toml would limit how long it holds)".into(),
    };
    let mut text = format!("The list of releases is signed anew, and {until}.");
    if let Some(address) = &renewed.address {
        text.push_str(&format!(" {}.", lies_at(address)));
    }
    text
}

fn lies_at(address: &impl std::fmt::Display) -> String {
    format!("Subscribers are told that the feed lies at {address}")
}
