//! Peers of revision 0, which tell none: what they said and understood is kept in `older/*.jsonl`, as the first agent,
//! client and runner wrote it. They stay in use as long as a machine runs that was started by them.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::BufReader;
use tokio::task::JoinHandle;

use crate::message::{Call, Line, Message, read_message, write_line};
use crate::{Answer, Client, Code, Home, Launcher, Listener, ProcessLock, Request};

const AGENT: &str = include_str!("older/agent.jsonl");
const CLIENT: &str = include_str!("older/client.jsonl");
const RUNNER: &str = include_str!("older/runner.jsonl");

/// Everything of `old` is in `new` too: who knows the old may read the new.
fn has_all(new: &Value, old: &Value, path: &str) {
    match (new, old) {
        (Value::Object(new), Value::Object(old)) => {
            for (name, old) in old {
                let path = format!("{path}.{name}");
                has_all(
                    new.get(name).unwrap_or_else(|| panic!("{path} is gone")),
                    old,
                    &path,
                );
            }
        }
        (Value::Array(new), Value::Array(old)) => {
            assert_eq!(new.len(), old.len(), "{path}");
            new.iter().zip(old).for_each(|(new, old)| has_all(new, old, path));
        }
        _ => assert_eq!(new, old, "{path}"),
    }
}

#[test]
fn what_older_agents_and_runners_say_is_understood_and_still_said_so() {
    for line in AGENT.lines().chain(RUNNER.lines()) {
        let message: Message = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let old: Value = serde_json::from_str(line).unwrap();
        has_all(&serde_json::to_value(&message).unwrap(), &old, "message");
    }
}

#[test]
fn what_older_clients_ask_is_understood_and_still_asked_so() {
    for line in CLIENT.lines() {
        let call: Call = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let old: Value = serde_json::from_str(line).unwrap();
        let new = serde_json::to_value(&call).unwrap();
        has_all(&new, &old, "call");
        if let Call::Ask { request, .. } = call {
            assert_eq!(request.since(), 0, "{line}");
        }
    }
}

/// The line that the first agent answered to the request with this verb, with another number.
fn answer_to(verb: &str, call: u64) -> Option<String> {
    let asked = CLIENT
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .find(|asked| asked["request"]["verb"] == verb)?;
    let answer = AGENT.lines().find(|line| {
        let answer: Value = serde_json::from_str(line).unwrap();
        answer.get("call").is_some_and(|number| *number == asked["call"])
    })?;
    let number = |n: &Value| format!("\"call\":{n}");
    Some(answer.replacen(&number(&asked["call"]), &number(&call.into()), 1) + "\n")
}

/// An agent of revision 0: it ends a connection that says what it does not know.
struct Older {
    home: Home,
    serving: JoinHandle<Vec<String>>,
    _folder: TempDir,
}

/// Starts one. `needed`: a machine keeps it alive.
fn older(needed: bool) -> Older {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(&folder.path().join("home")).unwrap();
    let lock = ProcessLock::try_take(&home.agent_lock())
        .unwrap()
        .map(Arc::new)
        .expect("it is free");
    let listener = Listener::of_agent(&home, &lock).unwrap();
    let serving = tokio::spawn(async move {
        let _lock = lock;
        let mut asked = Vec::new();
        loop {
            let (read, mut write) = tokio::io::split(listener.accept().await.unwrap());
            let mut read = BufReader::new(read);
            let hello = format!("{}\n", AGENT.lines().next().unwrap());
            let Some(Line::Message(Call::Hello { protocol: 1, .. })) = read_message(&mut read).await else {
                continue;
            };
            write_line(&mut write, hello.as_bytes()).await.unwrap();
            while let Some(Line::Message(Call::Ask { call, request })) = read_message(&mut read).await {
                let verb = request.verb();
                asked.push(verb.clone());
                let ends = verb == "agent-stop" && !needed;
                let line = match ends {
                    true => Some(format!(
                        "{{\"type\":\"answer\",\"call\":{call},\"answer\":{{\"answer\":\"done\"}}}}\n"
                    )),
                    false => answer_to(&verb, call),
                };
                let Some(line) = line else { break };
                write_line(&mut write, line.as_bytes()).await.unwrap();
                if ends {
                    return asked;
                }
            }
        }
    });
    Older {
        home,
        serving,
        _folder: folder,
    }
}

/// A program that says, when it is started, that it was.
fn program(folder: &Path) -> Launcher {
    let file = folder.join(format!("livepc{}", std::env::consts::EXE_SUFFIX));
    let said = r#"{"code":"failed","message":"a new agent was started","hint":""}"#;
    std::fs::write(&file, format!("#!/bin/sh\necho '{said}'\n")).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    Launcher::new(file).unwrap()
}

#[cfg(unix)]
#[tokio::test]
async fn an_older_agent_that_nobody_needs_makes_room_for_one_of_this_version() {
    let older = older(false);
    let launcher = program(older.home.root());
    let started = Client::connect_or_start(&older.home, &launcher, "test").await;
    assert_eq!(started.unwrap_err().message, "a new agent was started");
    assert_eq!(older.serving.await.unwrap(), ["agent-stop"]);
}

#[tokio::test]
async fn an_older_agent_that_a_machine_needs_is_used_for_what_it_knows() {
    let older = older(true);
    let launcher = program(older.home.root());
    let client = Client::connect_or_start(&older.home, &launcher, "test")
        .await
        .unwrap();
    assert!(client.peer().is_older());
    let Answer::List { livepcs, next: None } = client.all(Request::list()).await.unwrap() else {
        panic!("it lists");
    };
    assert_eq!(livepcs[0].id, "lab");
    let problem = client.call(Request::Job { job: 1 }).await.unwrap_err();
    assert_eq!(problem.code, Code::UpdateLivepc);
    assert!(
        problem.message.contains("0.1.0") && problem.hint.contains("Stop its machines"),
        "{problem:?}"
    );
    // It was not even asked: that would have ended the connection.
    assert!(matches!(
        client.all(Request::show("lab")).await,
        Ok(Answer::Shown { .. })
    ));
    older.serving.abort();
}

/// A process that was stopped, or is stuck: it is there, and says nothing any more.
#[tokio::test]
async fn a_call_that_nobody_answers_is_told_as_that_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(&folder.path().join("home")).unwrap();
    let lock = ProcessLock::try_take(&home.agent_lock())
        .unwrap()
        .map(Arc::new)
        .expect("it is free");
    let listener = Listener::of_agent(&home, &lock).unwrap();
    let agent = home.agent_whereabouts();
    let serving = tokio::spawn(async move {
        let (read, mut write) = tokio::io::split(listener.accept().await.unwrap());
        let mut read = BufReader::new(read);
        let _: Option<Line<Call>> = read_message(&mut read).await;
        let hello = format!("{}\n", AGENT.lines().next().unwrap());
        write_line(&mut write, hello.as_bytes()).await.unwrap();
        // Whoever comes next is not even greeted.
        let silent = listener.accept().await;
        std::future::pending::<()>().await;
        drop((read, write, silent));
    });
    let client = Client::connect(&agent, "test", false).await.unwrap();
    tokio::time::pause();
    let problem = client.call(Request::list()).await.unwrap_err();
    assert_eq!(problem.code, Code::Busy);
    assert!(
        problem.message.contains("“list”") && problem.message.contains("45 seconds"),
        "{problem}"
    );
    let problem = Client::connect(&agent, "test", false).await.unwrap_err();
    assert!(problem.message.contains("has not greeted"), "{problem}");
    serving.abort();
}
