//! `start` and `stop`.

use std::path::PathBuf;

use livepc_protocol::{Answer, Client, Code, Problem, Request};
use serde_json::json;

use crate::args::machine::{How, Start};
use crate::session::{CLIENT, Session, path_text, unexpected};

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
    let client = match session.client().await {
        Ok(client) => client,
        Err(why) => return stop_without_agent(session, &id, force, timeout, why).await,
    };
    let Answer::LivePc { livepc } = client.all(Request::Stop { id, force, timeout }).await? else {
        return Err(unexpected());
    };
    session
        .output
        .result(&json!(livepc), || format!("“{}” has stopped.", livepc.title));
    Ok(())
}

/// Stops a machine in a home that can have no agent, as when its store cannot be read: nothing of that is needed to end it. `why`
/// is told if it does not run either.
async fn stop_without_agent(
    session: &Session<'_>,
    id: &str,
    force: bool,
    timeout: u64,
    why: Problem,
) -> Result<(), Problem> {
    let runner = session.home.runner_whereabouts(id);
    let Ok(client) = Client::connect(&runner, CLIENT, false).await else {
        return Err(why);
    };
    match client.call(Request::RunnerStop { force, timeout }).await {
        // It has ended meanwhile.
        Err(problem) if problem.code != Code::AgentGone => return Err(problem),
        _ => client.closed().await,
    }
    session.output.note(&why.to_string());
    session.output.result(&json!({"id": id, "state": "stopped"}), || {
        format!("“{id}” has stopped.")
    });
    Ok(())
}
