//! `start` and `stop`.

use std::path::PathBuf;

use livepc_protocol::{Answer, Problem, Request};
use serde_json::json;

use crate::args::machine::{How, Start};
use crate::session::{Session, path_text, unexpected};

pub(crate) async fn start(session: &Session<'_>, start: Start) -> Result<(), Problem> {
    let Start { id, no_fill, how } = start;
    let How {
        display,
        hypervisor,
        serial,
        cd,
        overcommit,
    } = how;
    let request = Request::Start {
        id,
        display: display.into(),
        serial: absolute(serial)?,
        fill: !no_fill,
        hypervisor: hypervisor.map(Into::into),
        cd: absolute(cd)?,
        overcommit,
        desktop: None,
    };
    let Answer::LivePc { livepc } = session.ask(request).await? else {
        return Err(unexpected());
    };
    session.output.result(&json!(livepc), || {
        let hypervisor = livepc
            .hypervisor
            .map_or("", livepc_protocol::HypervisorKind::name);
        let label = livepc.label_in_use.as_deref().unwrap_or("?");
        let mut said = format!("“{}” runs release {label} in {hypervisor}.", livepc.title);
        if let Some(why) = &livepc.passed_over {
            said += &format!("\n{why}");
        }
        said
    });
    Ok(())
}

/// The runner has another working folder than this process.
fn absolute(file: Option<PathBuf>) -> Result<Option<String>, Problem> {
    file.map(|file| path_text(&file)).transpose()
}

pub(crate) async fn stop(
    session: &Session<'_>,
    id: String,
    force: bool,
    timeout: u64,
) -> Result<(), Problem> {
    let Answer::LivePc { livepc } = session.ask(Request::Stop { id, force, timeout }).await? else {
        return Err(unexpected());
    };
    session
        .output
        .result(&json!(livepc), || format!("“{}” has stopped.", livepc.title));
    Ok(())
}
