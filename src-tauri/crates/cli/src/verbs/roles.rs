//! The hidden roles: the agent, and the runner of a machine.

use std::io::Write;
use std::time::{Duration, Instant};

use livepc_engine::agent::{self, AgentOptions};
use livepc_engine::logs;
use livepc_engine::runner::RunnerOptions;
use livepc_panics::fenced;
use livepc_protocol::{Client, Code, Launcher, Problem, ProcessLock, Request, detach, stay_in_use};
use serde_json::json;

use crate::args::AgentVerb;
use crate::args::machine::Runner;
use crate::session::Session;

/// How long an agent that ends takes for that at the most, and the pause before looking again.
const AGENT_ENDS: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(20);

pub(crate) async fn agent(session: &Session<'_>, verb: Option<AgentVerb>) -> Result<(), Problem> {
    if let Some(AgentVerb::Stop) = verb {
        return stop(session).await;
    }
    detach();
    stay_in_use(&session.home);
    logs::to_file(&session.home, "agent");
    let options = AgentOptions {
        home: session.home.clone(),
        launcher: session.launcher()?,
        clock: jiff::Timestamp::now,
    };
    let run = fenced("The agent", agent::run(options, || say(Launcher::READY))).await;
    let done = run.map_err(Problem::of_panic).flatten();
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

/// Ends the agent, if there is one that has neither work nor machines nor other clients; returns when its process has ended.
pub(crate) async fn end_agent(session: &Session<'_>) -> Result<(), Problem> {
    let (lock, agent) = (session.home.agent_lock(), session.home.agent_whereabouts());
    let until = Instant::now() + AGENT_ENDS;
    while ProcessLock::is_held(&lock)? {
        if Instant::now() > until {
            return Err(Problem::new(
                Code::Busy,
                "LivePC's agent does not end.",
                "Look whether the process “livepc agent” is still there.",
            ));
        }
        // One that does not listen yet or any more makes no event that tells.
        let asked = async {
            let client = Client::connect(&agent, "cli", false).await?;
            client.call(Request::AgentStop).await?;
            client.closed().await;
            Ok::<_, Problem>(())
        };
        match asked.await {
            Err(problem) if problem.code != Code::AgentGone => return Err(problem),
            _ => {}
        }
        tokio::time::sleep(AGAIN).await;
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
    stay_in_use(&session.home);
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
    let run = livepc_engine::runner::run(options, || say(Launcher::READY));
    let done = fenced("The machine's runner", run).await;
    let done = done.map_err(Problem::of_panic).flatten();
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
