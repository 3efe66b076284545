//! What can be done with a machine besides starting and stopping it: `suspend`, `revert`, `reset`, `keep`, `rollback`, `pin`,
//! `grow`.

use livepc_protocol::{Answer, Client, Code, LivePc, Problem, Request};
use serde_json::json;

use crate::args::Updates;
use crate::output::bytes;
use crate::session::{Session, unexpected};

pub(crate) async fn suspend(session: &Session<'_>, id: String) -> Result<(), Problem> {
    let client = session.client().await?;
    let livepc = done(&client, Request::Suspend { id }).await?;
    tell(
        session,
        &livepc,
        "is suspended; the next start goes on from there",
    );
    Ok(())
}

pub(crate) async fn revert(session: &Session<'_>, id: String, yes: bool) -> Result<(), Problem> {
    let client = session.client().await?;
    let before = shown(&client, &id).await?;
    let lost = format!("what it has in memory ({})", bytes(before.suspended_bytes));
    sure(session, &before, before.suspended_bytes, &lost, yes).await?;
    let livepc = done(&client, Request::Revert { id }).await?;
    tell(session, &livepc, "starts anew next time");
    Ok(())
}

pub(crate) async fn reset(session: &Session<'_>, id: String, yes: bool) -> Result<(), Problem> {
    let client = session.client().await?;
    let before = shown(&client, &id).await?;
    sure(session, &before, before.changes_bytes, &changes(&before), yes).await?;
    let livepc = done(&client, Request::Reset { id }).await?;
    tell(session, &livepc, "has a clean system disk");
    Ok(())
}

pub(crate) async fn keep(session: &Session<'_>, id: String, keep: bool, yes: bool) -> Result<(), Problem> {
    let client = session.client().await?;
    let before = shown(&client, &id).await?;
    if !keep && before.keep_changes {
        sure(session, &before, before.changes_bytes, &changes(&before), yes).await?;
    }
    let livepc = done(&client, Request::Keep { id, keep }).await?;
    let what = if keep {
        "keeps what is changed on its system disk, and stays on its release as long"
    } else {
        "begins with a clean system disk at the next start"
    };
    tell(session, &livepc, what);
    Ok(())
}

pub(crate) async fn rollback(session: &Session<'_>, id: String, release: Option<u64>) -> Result<(), Problem> {
    let client = session.client().await?;
    let livepc = done(&client, Request::Rollback { id, release }).await?;
    tell(session, &livepc, &stays(&livepc));
    Ok(())
}

pub(crate) async fn pin(
    session: &Session<'_>,
    id: String,
    release: Option<u64>,
    newest: bool,
    updates: Option<Updates>,
) -> Result<(), Problem> {
    if release.is_none() && !newest && updates.is_none() {
        return Err(Problem::new(
            Code::Usage,
            "There is nothing to choose.",
            "Add --release N, --newest or --updates auto|notify.",
        ));
    }
    let client = session.client().await?;
    let mut livepc = shown(&client, &id).await?;
    if let Some(updates) = updates {
        let (id, policy) = (id.clone(), updates.into());
        livepc = done(&client, Request::SetPolicy { id, policy }).await?;
    }
    if release.is_some() || newest {
        livepc = done(&client, Request::Pin { id, release }).await?;
    }
    tell(session, &livepc, &stays(&livepc));
    Ok(())
}

pub(crate) async fn grow(session: &Session<'_>, id: String, size: u64, disk: String) -> Result<(), Problem> {
    let client = session.client().await?;
    let what = format!("has {} on its disk “{disk}”", bytes(size));
    let livepc = done(&client, Request::GrowDisk { id, disk, size }).await?;
    tell(session, &livepc, &what);
    Ok(())
}

fn stays(livepc: &LivePc) -> String {
    match livepc.pinned {
        Some(release) => format!("uses release {release} from its next cold start on"),
        None => "follows the newest release".into(),
    }
}

fn changes(livepc: &LivePc) -> String {
    format!(
        "what was changed on its system disk ({})",
        bytes(livepc.changes_bytes)
    )
}

/// Asks whether something may be lost; without a terminal, only `--yes` says so.
async fn sure(
    session: &Session<'_>,
    livepc: &LivePc,
    size: u64,
    lost: &str,
    yes: bool,
) -> Result<(), Problem> {
    if yes || size == 0 {
        return Ok(());
    }
    if !session.output.can_ask() {
        return Err(Problem::new(
            Code::Usage,
            format!("“{}” would lose {lost}.", livepc.title),
            "Add --yes if that is meant.",
        ));
    }
    let question = format!("“{}” loses {lost}. Go on?", livepc.title);
    if session.output.ask(&question).await {
        Ok(())
    } else {
        Err(Problem::new(
            Code::Failed,
            "Nothing was given up.",
            "Nothing was changed.",
        ))
    }
}

async fn shown(client: &Client, id: &str) -> Result<LivePc, Problem> {
    match client.call(Request::show_exactly(id)).await? {
        Answer::Shown { livepc, .. } => Ok(livepc),
        _ => Err(unexpected()),
    }
}

async fn done(client: &Client, request: Request) -> Result<LivePc, Problem> {
    match client.call(request).await? {
        Answer::LivePc { livepc } => Ok(livepc),
        _ => Err(unexpected()),
    }
}

fn tell(session: &Session<'_>, livepc: &LivePc, what: &str) {
    let sentence = || format!("“{}” {what}.", livepc.title);
    session.output.result(&json!(livepc), sentence);
}
