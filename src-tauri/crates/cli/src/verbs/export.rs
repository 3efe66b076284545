//! `export`: a release's disks, or a machine's, as files for other programs.

use std::path::PathBuf;

use livepc_protocol::{Answer, Export, Problem, Request};
use serde_json::json;

use crate::args::export as args;
use crate::output::bytes;
use crate::session::{Session, path_text, unexpected};
use crate::verbs::download::follow_own;

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
    let place = PathBuf::from(path_text(&place)?);
    let export = Export {
        format: format.into(),
        disk,
        changes,
        place,
        force,
    };
    let file = export.file();
    let client = session.client().await?;
    let request = Request::Export { id, release, export };
    let Answer::Job { job } = client.call(request).await? else {
        return Err(unexpected());
    };
    let job = follow_own(session, &client, job.job).await?;
    let object = json!({
        "id": job.id,
        "release": job.release,
        "file": file,
        "bytes": job.bytes_total,
        "changes": changes,
    });
    session.output.result(&object, || {
        format!("Wrote {} ({}).", file.display(), bytes(job.bytes_total))
    });
    Ok(())
}
