//! `serve` and `export`: a release's disk without a machine.

use std::io::Write;
use std::path::Path;

use livepc_engine::export;
use livepc_engine::serve::{Release, Served};
use livepc_protocol::{Answer, Problem, Request, Until};
use serde_json::{Value, json};

use crate::output::bytes;
use crate::session::{Session, unexpected};
use crate::verbs::download::follow_own;

pub(crate) async fn serve(
    session: &Session<'_>,
    id: &str,
    socket: &Path,
    fill: bool,
    release: Option<u64>,
    disk: &str,
) -> Result<(), Problem> {
    let client = session.client().await?;
    let release = Release::open(&session.home, &session.launcher()?, id, release).await?;
    let sequence = release.opened.release;
    let served = Served::at_socket(release, disk, socket).await?;
    if fill {
        let request = Request::Download {
            id: id.to_owned(),
            until: Until::Complete,
            release: Some(sequence),
        };
        client.call(request).await?;
    }
    let place = if cfg!(unix) {
        socket.display().to_string()
    } else {
        served.uri()
    };
    // Part of the contract, whatever the format of the rest: who waits for it reads this line.
    let _ = writeln!(std::io::stdout(), "ready {place}");
    let _ = std::io::stdout().flush();
    session
        .output
        .detail(&format!("Attach it with {}.", served.uri()));
    until_told_to_stop().await;
    served.shutdown().await;
    Ok(())
}

#[cfg(unix)]
async fn until_told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

#[cfg(windows)]
async fn until_told_to_stop() {
    let _ = tokio::signal::ctrl_c().await;
}

pub(crate) async fn export(
    session: &Session<'_>,
    id: &str,
    file: &Path,
    release: Option<u64>,
    disk: &str,
    force: bool,
) -> Result<(), Problem> {
    let client = session.client().await?;
    let release = Release::open(&session.home, &session.launcher()?, id, release).await?;
    // Found out before anything is fetched for it.
    release.disk(disk, None)?;
    if !release.opened.complete {
        let request = Request::Download {
            id: id.to_owned(),
            until: Until::Complete,
            release: Some(release.opened.release),
        };
        let Answer::Job { job } = client.call(request).await? else {
            return Err(unexpected());
        };
        follow_own(session, &client, job.job).await?;
    }
    let mut told = 0;
    let size = export::raw(&release, disk, file, force, |done, total| {
        if done == total || done - told > 64 << 20 {
            told = done;
            session.output.progress("export", done, total, Value::Null);
        }
    })
    .await?;
    let object = json!({
        "id": release.opened.id, "release": release.opened.release, "file": file, "bytes": size,
    });
    session
        .output
        .result(&object, || format!("Wrote {} ({}).", file.display(), bytes(size)));
    Ok(())
}
