//! `download`, `update` and `verify`: verbs that wait for jobs.

use std::time::Duration;

use livepc_protocol::{
    Answer, Client, Code, Job, JobAction, JobPhase, JobStatus, Problem, Request, UpdateReport,
};
use serde_json::json;

use crate::args::Until;
use crate::output::bytes;
use crate::session::{Session, interrupted, unexpected};

/// How long nothing need be heard of a job before it is asked for.
const SILENCE: Duration = Duration::from_secs(30);

/// Follows a job to its end. What is heard of it comes by itself; an agent that says nothing, or nothing of this job, is
/// asked, so that this ends also if many other jobs end meanwhile, or the agent is stuck.
async fn follow(session: &Session<'_>, client: &Client, job: u64) -> Result<Job, Problem> {
    let mut snapshots = client.watch().await?;
    let mut was_paused = false;
    loop {
        let heard = snapshots.borrow_and_update().as_ref().map(|snapshot| {
            let found = snapshot.jobs.iter().find(|found| found.job == job);
            (found.cloned(), snapshot.paused)
        });
        let found = match heard {
            Some((found, paused)) => {
                if paused && !was_paused {
                    let text = "All downloads are paused: “livepc pause --off” lets them go on.";
                    session.output.note(text);
                }
                was_paused = paused;
                match found {
                    Some(found) => Some(found),
                    None => asked(client, job).await?,
                }
            }
            None => None,
        };
        if let Some(found) = found
            && let Some(ended) = look(session, found)
        {
            return ended;
        }
        match tokio::time::timeout(SILENCE, snapshots.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => {
                return Err(Problem::new(
                    Code::AgentGone,
                    "LivePC's agent has ended.",
                    "The same command goes on where it was.",
                ));
            }
            Err(_) => {
                if let Some(found) = asked(client, job).await?
                    && let Some(ended) = look(session, found)
                {
                    return ended;
                }
            }
        }
    }
}

/// How a job stands, from an agent that has not said it by itself.
async fn asked(client: &Client, job: u64) -> Result<Option<Job>, Problem> {
    match client.call(Request::Job { job }).await {
        Ok(Answer::Job { job }) => Ok(Some(job)),
        Ok(_) => Err(unexpected()),
        // An older agent cannot be asked for one; it says at least that it is there.
        Err(problem) if problem.code == Code::UpdateLivepc => {
            let Answer::Snapshot { snapshot } = client.call(Request::Snapshot).await? else {
                return Err(unexpected());
            };
            Ok(snapshot.jobs.into_iter().find(|found| found.job == job))
        }
        Err(problem) => Err(problem),
    }
}

/// Shows how far a job is; gives how it ended, if it does not go on by itself.
fn look(session: &Session<'_>, found: Job) -> Option<Result<Job, Problem>> {
    show(session, &found);
    let problem = |code, message, hint| Err(Problem::new(code, message, hint));
    let again = "The same command goes on where it was.";
    Some(match found.status {
        JobStatus::Queued | JobStatus::Running => return None,
        JobStatus::Done => Ok(found),
        JobStatus::Failed => found
            .problem
            .map_or_else(|| problem(Code::Failed, "It failed.", ""), Err),
        JobStatus::Cancelled => problem(Code::Cancelled, "Somebody cancelled it.", ""),
        JobStatus::Paused => problem(Code::Cancelled, "Somebody paused it.", again),
        JobStatus::Waiting => found
            .problem
            .map_or_else(|| problem(Code::Network, "The network does not answer.", ""), Err),
    })
}

/// Shows how far a job is.
fn show(session: &Session<'_>, found: &Job) {
    let phase = match found.phase {
        JobPhase::Metadata => "metadata",
        JobPhase::BootReady => "boot-ready",
        JobPhase::Complete => "complete",
        JobPhase::Checking => "checking",
        JobPhase::Writing => "writing",
    };
    if found.bytes_total > 0 {
        let more = json!({
            "id": found.id,
            "bytes_reused": found.bytes_reused,
            "bytes_per_second": found.bytes_per_second,
        });
        session
            .output
            .progress(phase, found.bytes_done, found.bytes_total, more);
    }
}

/// Pauses all downloads, or lets them go on.
pub(crate) async fn pause(session: &Session<'_>, paused: bool) -> Result<(), Problem> {
    session.ask(Request::PauseAll { paused }).await?;
    session.output.result(&json!({"paused": paused}), || {
        let said = match paused {
            true => "All downloads are paused. Machines that run still get what they read.",
            false => "Downloads go on.",
        };
        said.to_owned()
    });
    Ok(())
}

/// Follows a job to its end; when this process is interrupted or gives up, the job pauses.
pub(crate) async fn follow_own(session: &Session<'_>, client: &Client, job: u64) -> Result<Job, Problem> {
    let done = tokio::select! {
        done = follow(session, client, job) => done,
        _ = livepc_engine::session_end::asked_to_end() => Err(interrupted()),
    };
    if done
        .as_ref()
        .is_err_and(|problem| matches!(problem.code, Code::Cancelled | Code::Network))
    {
        let action = JobAction::Pause;
        // It may have ended meanwhile.
        let _ = client.call(Request::JobControl { job, action }).await;
    }
    done
}

pub(crate) async fn download(
    session: &Session<'_>,
    id: String,
    until: Until,
    release: Option<u64>,
) -> Result<(), Problem> {
    let client = session.client().await?;
    let request = Request::Download {
        id,
        until: until.into(),
        release,
    };
    let Answer::Job { job } = client.call(request).await? else {
        return Err(unexpected());
    };
    let job = follow_own(session, &client, job.job).await?;
    session.output.result(&json!(job), || {
        format!(
            "{} is here: {}, of which {} were before.",
            job.title,
            bytes(job.bytes_done),
            bytes(job.bytes_reused)
        )
    });
    Ok(())
}

pub(crate) async fn update(session: &Session<'_>, id: Option<String>, check: bool) -> Result<(), Problem> {
    let client = session.client().await?;
    let single = id.is_some();
    let Answer::Updates { updates, .. } = client.all(Request::update(id, check)).await? else {
        return Err(unexpected());
    };
    let mut first_problem = None;
    for update in &updates {
        if let Some(problem) = &update.problem {
            first_problem.get_or_insert_with(|| problem.clone());
            if !single {
                session
                    .output
                    .note(&format!("{}: {}", update.id, problem.message));
            }
        }
        if let Some(job) = update.job {
            // Before it is fetched, so that who does not want it can say so.
            session.output.note(&found(update));
            follow_own(session, &client, job).await?;
        }
    }
    session.output.result(&json!({"updates": updates}), || {
        let lines = updates
            .iter()
            .filter(|update| update.problem.is_none())
            .map(|update| match update.job {
                Some(_) => format!("{}: the next start uses what was fetched", update.id),
                None => found(update),
            });
        lines.collect::<Vec<_>>().join("\n")
    });
    first_problem.map_or(Ok(()), Err)
}

/// What a check found: the release, what fetching it costs, and what changed.
fn found(update: &UpdateReport) -> String {
    let Some(to) = update.to.filter(|to| update.from != Some(*to)) else {
        return format!("{}: nothing new", update.id);
    };
    let mut text = format!(
        "{}: release {to}, {} to fetch",
        update.id,
        bytes(update.bytes_to_fetch)
    );
    for line in update.changelog.lines() {
        text.push_str("\n    ");
        text.push_str(line);
    }
    text
}

pub(crate) async fn verify(session: &Session<'_>, id: Option<String>, repair: bool) -> Result<(), Problem> {
    let client = session.client().await?;
    let ids: Vec<String> = match id {
        Some(id) => vec![id],
        None => match client.all(Request::list()).await? {
            Answer::List { livepcs, .. } => livepcs.into_iter().map(|livepc| livepc.id).collect(),
            _ => return Err(unexpected()),
        },
    };
    let (mut checked, mut damaged) = (Vec::new(), None);
    for id in ids {
        let request = Request::Verify { id: Some(id), repair };
        let Answer::Job { job } = client.call(request).await? else {
            return Err(unexpected());
        };
        match follow_own(session, &client, job.job).await {
            Ok(job) => checked.push(job),
            // The others are looked at all the same.
            Err(problem) if problem.code == Code::Failed => {
                session.output.note(&format!("{}: {}", job.id, problem.message));
                damaged.get_or_insert(problem);
            }
            Err(problem) => return Err(problem),
        }
    }
    if let Some(problem) = damaged {
        return Err(problem);
    }
    let total: u64 = checked.iter().map(|job| job.bytes_done).sum();
    let found = checked.iter().filter_map(|job| job.damage);
    let (chunks, lost) = found.fold((0, 0), |(chunks, lost), damage| {
        (chunks + damage.repaired_chunks, lost + damage.repaired_bytes)
    });
    session
        .output
        .result(&json!({"verified": checked, "bytes": total}), || {
            if chunks == 0 {
                return format!("All {} that are here are what was published.", bytes(total));
            }
            format!(
                "Of {} that are here, {chunks} damaged chunks ({}) were fetched again. Have the disk checked.",
                bytes(total),
                bytes(lost)
            )
        });
    Ok(())
}
