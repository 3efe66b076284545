//! What this QEMU can do on this host, found out by having it done.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use super::command_line::{CommandLine, SANDBOX};
use super::explain;
use super::launch::{Failure, launch};
use super::qmp::Event;
use crate::{Accelerator, HypervisorError, Rejected, Result, os};

/// How long QEMU has to answer about itself.
const ANSWER: Duration = Duration::from_secs(10);

/// How long an accelerator has for the BIOS of an empty machine: it takes emulation half a second.
///
/// An accelerator that is slower than that is none: a nested host can offer a KVM that accepts everything and then runs
/// the guest thirty times slower than emulation would.
const BIOS: Duration = Duration::from_secs(5);

/// What runs a guest's code, and why nothing faster does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Acceleration {
    pub(super) accelerator: Accelerator,
    /// Whether QEMU can give up system calls.
    pub(super) sandbox: bool,
    pub(super) rejected: Vec<Rejected>,
}

/// Tries every accelerator that `program` was built with, the fastest first.
pub(super) async fn acceleration(program: &Path) -> Result<Acceleration> {
    let built = words(&help(program, "-accel").await?);
    let mut rejected = Vec::new();
    for accelerator in [
        Accelerator::Kvm,
        Accelerator::Hvf,
        Accelerator::Whpx,
        Accelerator::Tcg,
    ] {
        if !built.iter().any(|name| name == accelerator.name()) {
            continue;
        }
        match runs(program, accelerator).await {
            Ok(()) => {
                let mut line = CommandLine::default();
                line.plain("-sandbox", SANDBOX);
                line.accelerator(accelerator);
                let sandbox = cfg!(target_os = "linux") && starts(program, line).await.is_ok();
                tracing::debug!(?accelerator, sandbox, ?rejected, "QEMU was tried");
                return Ok(Acceleration {
                    accelerator,
                    sandbox,
                    rejected,
                });
            }
            Err(why) => rejected.push(Rejected { accelerator, why }),
        }
    }
    let why = rejected
        .iter()
        .map(|no| format!("{}: {}", no.accelerator.name(), no.why));
    let why = why.reduce(|all, next| format!("{all}; {next}"));
    Err(HypervisorError::NoAccelerator {
        why: why.unwrap_or_else(|| "it was built without accelerators".into()),
    })
}

/// Tries whether an empty machine gets through its BIOS, which restarts it when there is nothing to boot from.
async fn runs(program: &Path, accelerator: Accelerator) -> Result<(), String> {
    let mut line = CommandLine::default();
    line.accelerator(accelerator);
    line.plain("-boot", "reboot-timeout=0");
    line.flag("-no-reboot");
    let mut launched = started(program, line)
        .await
        .map_err(|lines| explain::rejected(accelerator.name(), &lines))?;
    let ended = async {
        launched.qmp.execute("cont", Value::Null).await.ok()?;
        while let Some(Event { name, data }) = launched.events.recv().await {
            if name == "SHUTDOWN" {
                return (data["reason"] == "guest-reset").then_some(());
            }
        }
        None
    };
    match timeout(BIOS, ended).await {
        Ok(Some(())) => Ok(()),
        Ok(None) => Err(explain::rejected(
            accelerator.name(),
            &launched.messages.at_end().await,
        )),
        Err(_) => Err(format!("a guest made no progress within {} s", BIOS.as_secs())),
    }
}

/// Tries whether QEMU starts with these options; what it said if it does not.
async fn starts(program: &Path, line: CommandLine) -> Result<(), Vec<String>> {
    started(program, line).await.map(drop)
}

async fn started(program: &Path, mut line: CommandLine) -> Result<super::launch::Launched, Vec<String>> {
    let run_dir = tempfile::Builder::new()
        .prefix("livepc-")
        .tempdir()
        .map_err(|error| vec![error.to_string()])?;
    line.flag("-nodefaults");
    line.flag("-no-user-config");
    line.flag("-S");
    line.plain("-machine", "q35");
    line.plain("-m", "32M");
    line.plain("-display", "none");
    let arguments = |backend: String| {
        line.monitor(&backend);
        Ok(line.into_args())
    };
    match launch(program, run_dir.path(), None, ANSWER, arguments).await {
        Ok(launched) => Ok(launched),
        Err(Failure::Exited(lines)) => Err(lines),
        Err(Failure::Silent(mut lines)) => {
            lines.push(format!("it did not answer within {} s", ANSWER.as_secs()));
            Err(lines)
        }
        Err(Failure::Other(error)) => Err(vec![error.to_string()]),
    }
}

/// The value of `-display` for a window.
pub(super) async fn window(program: &Path) -> Result<&'static str> {
    let session = ["DISPLAY", "WAYLAND_DISPLAY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some());
    choose_window(
        &words(&help(program, "-display").await?),
        session || cfg!(any(windows, target_os = "macos")),
    )
}

/// Closing the window would pull the plug: it is stopped in LivePC, or by shutting down the guest.
fn choose_window(built: &[String], session: bool) -> Result<&'static str> {
    let choices = [
        ("cocoa", "cocoa"),
        ("gtk", "gtk,window-close=off"),
        ("sdl", "sdl,window-close=off"),
    ];
    let choice = choices
        .iter()
        .find(|(name, _)| built.iter().any(|built| built == name));
    let why = match choice {
        Some((_, value)) if session => return Ok(value),
        Some(_) => "there is no desktop session; start it from one, or without a window",
        None => {
            "this QEMU has no windows; install the rest of it (Debian and Ubuntu: qemu-system-gui, Fedora: qemu-ui-gtk)"
        }
    };
    Err(HypervisorError::NoWindow { why: why.into() })
}

/// The driver of the sound card's other end: one that works in this session, or silence.
pub(super) async fn audio(program: &Path) -> Result<&'static str> {
    let built = words(&help(program, "-audiodev").await?);
    for driver in ["coreaudio", "dsound", "pipewire", "pa", "sdl", "alsa"] {
        if built.iter().any(|name| name == driver) {
            let mut line = CommandLine::default();
            line.sound(driver);
            match starts(program, line).await {
                Ok(()) => return Ok(driver),
                Err(said) => tracing::debug!(driver, ?said, "a sound driver does not work here"),
            }
        }
    }
    Ok("none")
}

/// What `option` may be, as QEMU lists it.
async fn help(program: &Path, option: &'static str) -> Result<String> {
    let mut command = Command::new(program);
    command
        .args([option, "help"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    os::detach(&mut command);
    let why = match timeout(ANSWER, command.output()).await {
        Ok(Ok(output)) => return Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("it did not answer within {} s", ANSWER.as_secs()),
    };
    Err(HypervisorError::Broken {
        program: program.into(),
        why,
        hint: "install QEMU again",
    })
}

/// The lines of one word: what is listed under a heading.
fn words(list: &str) -> Vec<String> {
    let word =
        |line: &str| (!line.is_empty() && !line.contains(char::is_whitespace)).then(|| line.to_owned());
    list.lines().map(str::trim).filter_map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_needs_a_toolkit_and_a_session() {
        let built = |list: &str| words(list);
        let all = built(
            "Available display backend types:\nnone\nsdl\ngtk\ncurses\n\nSome display backends support\n",
        );
        assert_eq!(all, ["none", "sdl", "gtk", "curses"], "headings are no backends");
        assert_eq!(choose_window(&all, true).unwrap(), "gtk,window-close=off");
        assert_eq!(
            choose_window(&built("sdl\n"), true).unwrap(),
            "sdl,window-close=off"
        );
        let no_session = choose_window(&all, false).unwrap_err().to_string();
        assert!(no_session.contains("desktop session"), "{no_session}");
        let no_toolkit = choose_window(&built("none\ncurses\n"), true)
            .unwrap_err()
            .to_string();
        assert!(no_toolkit.contains("qemu-system-gui"), "{no_toolkit}");
    }
}
