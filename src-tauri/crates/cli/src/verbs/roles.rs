//! The hidden roles: the agent, and the runner of a machine.

use std::io::Write;

use livepc_engine::agent::{self, AgentOptions};
use livepc_engine::logs;
use livepc_engine::runner::RunnerOptions;
use livepc_protocol::{Client, Code, Launcher, Problem, ProcessLock, Request, detach};
use serde_json::json;

use crate::args::AgentVerb;
use crate::args::machine::Runner;
use crate::session::Session;

pub(crate) async fn agent(session: &Session<'_>, verb: Option<AgentVerb>) -> Result<(), Problem> {
    if let Some(AgentVerb::Stop) = verb {
        return stop(session).await;
    }
    detach();
    logs::to_file(&session.home, "agent");
    let options = AgentOptions {
        home: session.home.clone(),
        launcher: session.launcher()?,
        clock: jiff::Timestamp::now,
    };
    let done = agent::run(options, || say(Launcher::READY)).await;
    if let Err(problem) = &done {
        tracing::error!("the agent cannot go on: {}", problem.message);
        // Whoever waits for the first line gets the reason.
        say(&json!(problem).to_string());
    }
    done
}

async fn stop(session: &Session<'_>) -> Result<(), Problem> {
    end_agent(session).await?;
    session
        .output
        .result(&json!({"agent": "stopped"}), || "The agent does not run.".into());
    Ok(())
}

/// Ends the agent, if there is one that has neither work nor machines nor other clients.
pub(crate) async fn end_agent(session: &Session<'_>) -> Result<(), Problem> {
    let lock = session.home.agent_lock();
    if ProcessLock::is_held(&lock) {
        let client = Client::connect(&session.home.agent_socket()?, "cli", false).await?;
        match client.call(Request::AgentStop).await {
            // It may have ended before its answer was sent.
            Err(problem) if problem.code != Code::AgentGone => return Err(problem),
            _ => client.closed().await,
        }
    }
    Ok(())
}

pub(crate) async fn runner(session: &Session<'_>, runner: Runner) -> Result<(), Problem> {
    let Runner {
        id,
        release,
        keep,
        resume,
        how,
    } = runner;
    detach();
    livepc_format::text::check_name("the command line", "id", &id)
        .map_err(|e| Problem::new(Code::Usage, format!("{e}."), ""))?;
    logs::to_file(&session.home, &format!("runner-{id}"));
    let options = RunnerOptions {
        home: session.home.clone(),
        launcher: session.launcher()?,
        id,
        release,
        display: how.display.into(),
        serial: how.serial,
        hypervisor: how.hypervisor.map(Into::into),
        cd: how.cd,
        overcommit: how.overcommit,
        keep,
        resume,
        clock: jiff::Timestamp::now,
    };
    let done = livepc_engine::runner::run(options, || say(Launcher::READY)).await;
    if let Err(problem) = &done {
        tracing::error!("the machine cannot be started: {}", problem.message);
        say(&json!(problem).to_string());
    }
    done
}

/// Tells the process that waits; it may be gone.
fn say(line: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}
