//! The `livepc` program: every verb of the command line, and the roles of agent and runner.
//!
//! Verbs are clients of the agent; what they print for people may change, what they print with `--json` and their exit
//! codes may not. `args` is the whole command line, `output` how anything is said, and `verbs` has a file per subject.

mod args;
mod output;
mod session;
mod size;
mod verbs;

use std::future::Future;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use livepc_protocol::{Code, Problem};

use crate::args::{Args, StoreVerb, Verb};
use crate::output::Output;
use crate::session::Session;

/// How long a verb that notices Ctrl-C itself has to leave things in order.
const IN_ORDER: Duration = Duration::from_secs(1);

/// What a panic of a verb is told of.
const THE_COMMAND: &str = "The command";

/// How long what is left of a verb has to end.
const LEFT: Duration = Duration::from_millis(500);

/// The exit code for a problem; the list is part of the contract with scripts.
fn exit_code(code: Code) -> u8 {
    match code {
        Code::Usage => 2,
        Code::NotFound => 3,
        Code::Trust => 4,
        Code::Network => 5,
        Code::DiskFull => 6,
        Code::Hypervisor => 7,
        Code::Login => 8,
        Code::Cancelled => 130,
        Code::UpdateLivepc | Code::Busy | Code::AgentGone | Code::Failed => 1,
    }
}

fn main() -> ExitCode {
    livepc_protocol::allow_many_files();
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return ExitCode::from(not_understood(&error)),
    };
    let output = Output::new(args.json, args.verbose);
    // Agents and runners see to it themselves that they end in order, and write down what panics.
    let is_role = matches!(args.verb, Verb::Agent { verb: None } | Verb::Runner(_));
    if !is_role {
        livepc_panics::watch(wants_backtraces(), |_, _| {});
    }
    let done = match args.verb {
        Verb::Completions { shell } => completions(shell, &output),
        _ => finished(is_role, run(args, &output)),
    };
    ExitCode::from(ended(&output, done))
}

/// True if panics are to be printed as they are, for who looks for their cause; else they are told as what they are to a
/// verb: why it failed.
fn wants_backtraces() -> bool {
    std::env::var_os("RUST_BACKTRACE").is_some_and(|wanted| wanted != "0")
}

fn completions(shell: clap_complete::Shell, output: &Output) -> Result<(), Problem> {
    let script = livepc_panics::caught(THE_COMMAND, || {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Args::command(), "livepc", &mut script);
        script
    });
    output.print(&String::from_utf8_lossy(&script.map_err(Problem::of_panic)?));
    Ok(())
}

/// Does the work of a verb to its end, also if that is Ctrl-C or a panic.
fn finished(is_role: bool, verb: impl Future<Output = Result<(), Problem>>) -> Result<(), Problem> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Problem::io("LivePC cannot start", &error))?;
    let done = runtime.block_on(async {
        let mut verb = std::pin::pin!(livepc_panics::fenced(THE_COMMAND, verb));
        let done = tokio::select! {
            done = &mut verb => done,
            interrupted = livepc_engine::session_end::asked_to_end(), if !is_role => match interrupted {
                Ok(()) => tokio::time::timeout(IN_ORDER, verb).await.unwrap_or_else(|_| Ok(Err(session::interrupted()))),
                Err(error) => Ok(Err(Problem::io("Ctrl-C cannot be noticed", &error))),
            },
        };
        done.unwrap_or_else(|panicked| Err(Problem::of_panic(panicked)))
    });
    // Tasks that still wait for something have nobody to tell any more; what they have started ends with them.
    runtime.shutdown_timeout(LEFT);
    done
}

/// Tells how a verb has ended, well only if what it printed has got to where it should; gives the exit code.
fn ended(output: &Output, done: Result<(), Problem>) -> u8 {
    match done.and_then(|()| output.finish()) {
        Ok(()) => 0,
        Err(problem) => fail(output, &problem),
    }
}

/// Tells what is wrong with the command line, or shows the help that it asks for.
fn not_understood(error: &clap::Error) -> u8 {
    if error.use_stderr() && std::env::args_os().any(|arg| arg == "--json") {
        let text = error.to_string();
        let message = text.lines().next().unwrap_or_default();
        let message = message.strip_prefix("error: ").unwrap_or(message);
        let hint = "“livepc help” lists the verbs, “livepc help VERB” what one takes.";
        return fail(
            &Output::new(true, false),
            &Problem::new(Code::Usage, message, hint),
        );
    }
    let usage = exit_code(Code::Usage);
    let help = match error.kind() {
        // Nothing at all asks for help, also when the home comes from the environment.
        ErrorKind::MissingSubcommand => Args::command().render_help(),
        _ if error.use_stderr() => {
            // Nobody is left to tell if this fails.
            let _ = error.print();
            return usage;
        }
        _ => error.render(),
    };
    let output = Output::new(false, false);
    output.print(&if std::io::stdout().is_terminal() {
        help.ansi().to_string()
    } else {
        help.to_string()
    });
    let shown = ended(&output, Ok(()));
    if error.use_stderr() { usage } else { shown }
}

fn fail(output: &Output, problem: &Problem) -> u8 {
    output.problem(problem);
    exit_code(problem.code)
}

async fn run(args: Args, output: &Output) -> Result<(), Problem> {
    let session = match Session::open(args.home.as_deref(), output) {
        Err(problem) if matches!(args.verb, Verb::Doctor) => {
            return verbs::doctor::without_home(output, &problem);
        }
        session => session?,
    };
    match args.verb {
        Verb::Key { verb } => verbs::key::run(&session, verb).await,
        Verb::Project { verb } => verbs::publish::project(&session, verb),
        Verb::Publish(publish) => verbs::publish::publish(&session, publish).await,
        Verb::Catalog { verb } => verbs::catalog::run(&session, verb).await,
        Verb::Source { verb } => verbs::library::source(&session, verb).await,
        Verb::Search { text } => verbs::library::search(&session, text.unwrap_or_default()).await,
        Verb::Subscribe {
            feed_url,
            yes,
            fingerprint,
        } => verbs::subscribe::subscribe(&session, feed_url, yes, fingerprint).await,
        Verb::Login(login) => verbs::login::login(&session, login).await,
        Verb::Logout(logout) => verbs::login::logout(&session, logout).await,
        Verb::Unsubscribe {
            id,
            keep_data,
            delete_data,
        } => verbs::subscribe::unsubscribe(&session, id, keep_data, delete_data).await,
        Verb::List => verbs::list::list(&session).await,
        Verb::Show { id } => verbs::list::show(&session, id).await,
        Verb::Status { id } => verbs::list::status(&session, id).await,
        Verb::Download { id, until, release } => {
            verbs::download::download(&session, id, until, release).await
        }
        Verb::Update { id, check } => verbs::download::update(&session, id, check).await,
        Verb::Verify { id, repair } => verbs::download::verify(&session, id, repair).await,
        Verb::Pause { off } => verbs::download::pause(&session, !off).await,
        Verb::Prune { dry_run, wanted } => verbs::store::prune(&session, dry_run, wanted).await,
        Verb::Store {
            verb: StoreVerb::Move { dir },
        } => verbs::store::move_to(&session, &dir).await,
        Verb::Start(start) => verbs::machine::start(&session, start).await,
        Verb::Stop { id, force, timeout } => verbs::machine::stop(&session, id, force, timeout).await,
        Verb::Suspend { id } => verbs::lifecycle::suspend(&session, id).await,
        Verb::Revert { id, yes } => verbs::lifecycle::revert(&session, id, yes).await,
        Verb::Reset { id, yes } => verbs::lifecycle::reset(&session, id, yes).await,
        Verb::Keep { id, off, yes } => verbs::lifecycle::keep(&session, id, !off, yes).await,
        Verb::Rollback { id, release } => verbs::lifecycle::rollback(&session, id, release).await,
        Verb::Pin {
            id,
            release,
            newest,
            updates,
        } => verbs::lifecycle::pin(&session, id, release, newest, updates).await,
        Verb::Grow { id, size, disk } => verbs::lifecycle::grow(&session, id, size, disk).await,
        Verb::Serve {
            id,
            nbd,
            mount,
            fill,
            release,
            disk,
        } => {
            let Some(place) = verbs::serve::Place::of(nbd, mount) else {
                return Err(session::unexpected());
            };
            verbs::serve::serve(&session, &id, &place, fill, release, &disk).await
        }
        Verb::Export(export) => verbs::export::export(&session, export).await,
        Verb::Doctor => verbs::doctor::doctor(&session).await,
        Verb::Logs { id } => verbs::doctor::logs(&session, id).await,
        Verb::Config { verb } => verbs::config::run(&session, verb).await,
        Verb::Agent { verb } => verbs::roles::agent(&session, verb).await,
        Verb::Runner(runner) => verbs::roles::runner(&session, runner).await,
        Verb::Completions { .. } => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Output as Ran};

    use serde_json::Value;

    use super::*;

    /// What the test's own process does when it is started again, and how it speaks.
    const PLAYS: &str = "LIVEPC_TEST_PLAYS";

    /// The rest of a process whose verb ends as `plays` says.
    fn play(plays: &str) -> ! {
        livepc_panics::watch(wants_backtraces(), |_, _| {});
        let output = Output::new(plays.starts_with("json"), false);
        let is_role = false;
        let done = finished(is_role, async {
            output.progress("a phase", 1, 2, Value::Null);
            // What blocks for long keeps nobody.
            drop(tokio::task::spawn_blocking(|| {
                std::thread::sleep(Duration::from_secs(30));
            }));
            tokio::task::yield_now().await;
            match plays {
                "json-bad" | "text-bad" => panic!("a mistake\nof ours"),
                "json-poor" => Err(Problem::new(
                    Code::NotFound,
                    "It is not there.",
                    "Look elsewhere.",
                )),
                _ => Ok(()),
            }
        });
        std::process::exit(ended(&output, done).into());
    }

    fn played(plays: &str, backtrace: Option<&str>) -> (Option<i32>, String) {
        let itself = std::env::current_exe().unwrap();
        let mut command = Command::new(itself);
        command
            .args([
                "--exact",
                "tests::a_verb_that_panics_fails_as_any_other",
                "--nocapture",
            ])
            .env(PLAYS, plays)
            .env_remove("RUST_BACKTRACE");
        command.envs(backtrace.map(|wanted| ("RUST_BACKTRACE", wanted)));
        let Ran { status, stderr, .. } = command.output().unwrap();
        (status.code(), String::from_utf8(stderr).unwrap())
    }

    #[test]
    fn a_verb_that_panics_fails_as_any_other() {
        if let Ok(plays) = std::env::var(PLAYS) {
            play(&plays);
        }
        let last = |text: &str| serde_json::from_str::<Value>(text.lines().last().unwrap()).unwrap();
        assert_eq!(played("json-well", None).0, Some(0));
        let (code, told) = played("json-poor", None);
        assert_eq!((code, &last(&told)["code"]), (Some(3), &"not-found".into()));

        let (code, told) = played("json-bad", None);
        let error = last(&told);
        assert_eq!(
            (code, &error["type"], &error["code"]),
            (Some(1), &"error".into(), &"failed".into())
        );
        let message = error["message"].as_str().unwrap();
        assert!(
            message.contains("a mistake of ours") && message.contains("main.rs:"),
            "{message}"
        );
        assert!(
            told.lines().all(|line| line.starts_with('{')),
            "an object a line: {told}"
        );

        let (code, told) = played("text-bad", None);
        assert_eq!(code, Some(1));
        assert!(told.contains("livepc: The command has failed at "), "{told}");
        assert!(told.contains("please report it"), "{told}");
        assert!(
            !told.contains("panicked") && !told.contains("backtrace"),
            "{told}"
        );
        assert_eq!(played("text-bad", Some("0")).1, told);

        let (code, told) = played("text-bad", Some("1"));
        assert_eq!(code, Some(1));
        assert!(
            told.contains("backtrace"),
            "who looks for the cause gets it: {told}"
        );
    }
}
