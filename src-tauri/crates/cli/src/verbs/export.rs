//! `export`: a release's disks, or a machine's, as files for other programs.

use livepc_engine::export::{Export, StillMachine, Wanted};
use livepc_engine::serve::Release;
use livepc_protocol::{Answer, Problem, Request, Until};
use serde_json::{Value, json};

use crate::args::export as args;
use crate::output::bytes;
use crate::session::{Session, unexpected};
use crate::verbs::download::follow_own;

/// Bytes between two lines of progress.
const OFTEN: u64 = 64 << 20;

pub(crate) async fn export(session: &Session<'_>, export: args::Export) -> Result<(), Problem> {
    let args::Export {
        id,
        place,
        format,
        disk,
        release,
        changes,
        force,
    } = export;
    let wanted = Wanted {
        format: format.into(),
        disk,
        place,
        force,
    };
    let client = session.client().await?;
    let Answer::Shown { livepc, .. } = client.call(Request::Show { id }).await? else {
        return Err(unexpected());
    };
    let id = &livepc.id;
    let (home, launcher) = (&session.home, session.launcher()?);
    let (still, release) = if changes {
        let still = StillMachine::hold_changed(home, id).await?;
        let release = still.release()?;
        (Some(still), Some(release))
    } else {
        (None, release)
    };
    let release = Release::open(home, &launcher, id, release).await?;
    // What cannot be exported is found out before anything is fetched for it.
    let export = Export::plan(home, &launcher, &release, still, wanted).await?;
    if export.reads_release() && !release.opened.complete {
        let request = Request::Download {
            id: id.clone(),
            until: Until::Complete,
            release: Some(release.opened.release),
        };
        let Answer::Job { job } = client.call(request).await? else {
            return Err(unexpected());
        };
        follow_own(session, &client, job.job).await?;
    }
    let mut told = 0;
    let mut progress = |done: u64, total: u64| {
        if done == total || done - told.min(done) > OFTEN {
            told = done;
            session.output.progress("export", done, total, Value::Null);
        }
    };
    let exported = export.write(&release, &mut progress).await?;
    let object = json!({
        "id": release.opened.id,
        "release": release.opened.release,
        "file": exported.file,
        "bytes": exported.bytes,
        "changes": changes,
    });
    session.output.result(&object, || {
        format!("Wrote {} ({}).", exported.file.display(), bytes(exported.bytes))
    });
    Ok(())
}
