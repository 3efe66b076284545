//! `doctor` and `logs`.

use livepc_engine::doctor::{self, Finding, Health, examine};
use livepc_engine::logs as engine_logs;
use livepc_protocol::{Answer, Code, Problem, Request};
use serde_json::json;

use crate::output::Output;
use crate::session::{Session, unexpected};

/// Lines of a log that are shown.
const LINES: usize = 200;

/// The findings about hypervisors.
const HYPERVISORS: [&str; 2] = ["vmware", "qemu"];

pub(crate) async fn doctor(session: &Session<'_>) -> Result<(), Problem> {
    let findings = examine(&session.home, session.launcher()).await;
    tell(session.output, &findings)
}

/// When the home cannot be used, that is what is wrong.
pub(crate) fn without_home(output: &Output, problem: &Problem) -> Result<(), Problem> {
    tell(output, &doctor::without_home(problem))
}

fn tell(output: &Output, findings: &[Finding]) -> Result<(), Problem> {
    output.result(&json!({"findings": findings}), || {
        let lines = findings.iter().map(|finding| {
            let mark = match finding.health {
                Health::Good => "ok ",
                Health::Limited => "!  ",
                Health::Bad => "bad",
            };
            let hint = if finding.hint.is_empty() {
                String::new()
            } else {
                format!("\n      {}", finding.hint)
            };
            format!("{mark} {}: {}{hint}", finding.subject, finding.found)
        });
        lines.collect::<Vec<_>>().join("\n")
    });
    let bad = || findings.iter().filter(|finding| finding.health == Health::Bad);
    let hypervisor = |finding: &&Finding| HYPERVISORS.contains(&finding.id);
    // What nothing works without comes first; of the hypervisors, the last is the one that everybody can have.
    let worst = bad()
        .find(|finding| !hypervisor(finding))
        .or_else(|| bad().next_back());
    match worst {
        Some(finding) if hypervisor(&finding) => Err(Problem::new(
            Code::Hypervisor,
            "No hypervisor can be used.",
            finding.hint.clone(),
        )),
        Some(finding) => {
            let more = match bad().count() {
                1 => String::new(),
                n => format!(" ({} more)", n - 1),
            };
            Err(Problem::new(
                Code::Failed,
                format!("{}{more}", finding.found),
                finding.hint.clone(),
            ))
        }
        None => Ok(()),
    }
}

pub(crate) async fn logs(session: &Session<'_>, id: Option<String>) -> Result<(), Problem> {
    let id = match id {
        Some(id) => match session.ask(Request::show(id)).await? {
            Answer::Shown { livepc, .. } => Some(livepc.id),
            _ => return Err(unexpected()),
        },
        None => None,
    };
    // `runner-lab.log`, and `runner-lab.1.log` when that was full.
    let wanted = id
        .as_ref()
        .map_or("agent.".to_owned(), |id| format!("runner-{id}."));
    let files: Vec<_> = engine_logs::files(&session.home)
        .into_iter()
        .filter(|file| {
            file.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(&wanted))
        })
        .collect();
    let Some(newest) = files.first() else {
        return Err(Problem::new(
            Code::NotFound,
            format!("There is no log of that in {}.", session.home.logs().display()),
            "It is made when the machine starts.",
        ));
    };
    let mut lines = engine_logs::tail(newest, LINES);
    if let Some(id) = &id {
        lines.extend(engine_logs::tail(
            &session.home.machine(id).join("hypervisor.log"),
            LINES,
        ));
    }
    // A home's name need not be Unicode, as JSON is.
    let named: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    session
        .output
        .result(&json!({"files": named, "lines": lines}), || {
            format!("{}\n{}", newest.display(), lines.join("\n"))
        });
    Ok(())
}
