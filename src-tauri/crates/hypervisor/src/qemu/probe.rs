//! What this QEMU can do on this host, found out by having it done.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use super::command_line::CommandLine;
use super::confinement::{self, Confinement, STRICT};
use super::explain;
use super::launch::{Failure, Launched, Start, launch};
use super::qmp::Event;
use crate::{Accelerator, HypervisorError, Rejected, Result, os};

/// Bytes of a folder's path that leave room for sockets below it, which have about 100.
const SHORT: usize = 72;

/// How long QEMU has to answer about itself.
const ANSWER: Duration = Duration::from_secs(10);

/// How long an accelerator has for the BIOS and a boot sector: it takes emulation half a second.
///
/// An accelerator that is slower than that is none: a nested host can offer a KVM that accepts everything and then runs
/// the guest thirty times slower than emulation would.
const BIOS: Duration = Duration::from_secs(5);

/// A boot sector that enters protected mode, returns from an interrupt there and resets the machine, as boot loaders do.
/// A nested KVM can run all of the BIOS and then fail at that return.
const BOOT_SECTOR: [u8; 85] = [
    0xfa, // cli
    0x31, 0xc0, // xor ax, ax
    0x8e, 0xd8, // mov ds, ax
    0x0f, 0x01, 0x16, 0x37, 0x7c, // lgdt [0x7c37]
    0x0f, 0x20, 0xc0, // mov eax, cr0
    0x0c, 0x01, // or al, 1
    0x0f, 0x22, 0xc0, // mov cr0, eax
    0xea, 0x17, 0x7c, 0x08, 0x00, // jmp 8:0x7c17
    0x66, 0xb8, 0x10, 0x00, // 32 bits from here on: mov ax, 16
    0x8e, 0xd8, // mov ds, ax
    0x8e, 0xd0, // mov ss, ax
    0xbc, 0x00, 0x7c, 0x00, 0x00, // mov esp, 0x7c00
    0x9c, // pushf
    0x6a, 0x08, // push 8
    0x68, 0x2d, 0x7c, 0x00, 0x00, // push 0x7c2d
    0xcf, // iret
    0x66, 0xba, 0xf9, 0x0c, // mov dx, 0xcf9
    0xb0, 0x06, // mov al, 6
    0xee, // out dx, al
    0xf4, 0xeb, 0xfd, // hlt, again and again
    0x17, 0x00, 0x3d, 0x7c, 0x00, 0x00, // 0x7c37: the descriptor table has 24 bytes at 0x7c3d
    0, 0, 0, 0, 0, 0, 0, 0, // nothing
    0xff, 0xff, 0, 0, 0, 0x9b, 0xcf, 0, // 8: code, 4 GiB
    0xff, 0xff, 0, 0, 0, 0x93, 0xcf, 0, // 16: data, 4 GiB
];
/// The disk that it is on: a BIOS reads no smaller one.
const BOOT_DISK: (&str, usize) = ("probe.raw", 1 << 20);

/// What runs a guest's code, and why nothing faster does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Acceleration {
    pub(super) accelerator: Accelerator,
    /// What it gives up without a window: nothing where it or the system cannot.
    pub(super) confinement: Confinement,
    pub(super) rejected: Vec<Rejected>,
}

/// A QEMU that is tried, and where what it needs for a moment is put.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tried<'a> {
    pub(super) program: &'a Path,
    /// A private folder with a short path.
    pub(super) scratch: Option<&'a Path>,
}

/// Why QEMU does not do what was tried.
#[derive(Clone, Debug, Default)]
struct Refusal {
    /// For people.
    why: String,
    /// What it said.
    lines: Vec<String>,
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self {
            why,
            lines: Vec::new(),
        }
    }
}

/// Tries every accelerator that `program` was built with, the fastest first.
pub(super) async fn acceleration(tried: Tried<'_>) -> Result<Acceleration> {
    let program = tried.program;
    let built = words(&help(program, "-accel").await?);
    let mut rejected = Vec::new();
    let mut said = Vec::new();
    for accelerator in [
        Accelerator::Kvm,
        Accelerator::Hvf,
        Accelerator::Whpx,
        Accelerator::Tcg,
    ] {
        if !built.iter().any(|name| name == accelerator.name()) {
            continue;
        }
        match runs(tried, accelerator, &BOOT_SECTOR).await {
            Ok(()) => {
                let mut line = CommandLine::default();
                line.plain("-sandbox", STRICT);
                line.accelerator(accelerator);
                let works = cfg!(target_os = "linux") && starts(tried, line).await.is_ok();
                let confinement = if works {
                    Confinement::Strict
                } else {
                    Confinement::None
                };
                tracing::debug!(?accelerator, ?confinement, ?rejected, "QEMU was tried");
                return Ok(Acceleration {
                    accelerator,
                    confinement,
                    rejected,
                });
            }
            Err(Refusal { why, lines }) => {
                rejected.push(Rejected { accelerator, why });
                said = lines;
            }
        }
    }
    if let Some(missing) = explain::missing_part(program, &said) {
        return Err(missing);
    }
    let why = rejected
        .iter()
        .map(|no| format!("{}: {}", no.accelerator.name(), no.why));
    let why = why.reduce(|all, next| format!("{all}; {next}"));
    Err(HypervisorError::NoAccelerator {
        why: why.unwrap_or_else(|| "it was built without accelerators".into()),
    })
}

/// Tries whether a machine gets through its BIOS and a boot sector, which resets it.
async fn runs(tried: Tried<'_>, accelerator: Accelerator, boot_sector: &[u8]) -> Result<(), Refusal> {
    let mut line = CommandLine::default();
    line.accelerator(accelerator);
    line.plain("-drive", format!("file={},format=raw,if=ide", BOOT_DISK.0));
    line.flag("-no-reboot");
    line.plain("-display", "none");
    let run_dir = run_dir(tried.scratch).map_err(|error| no_folder(&error))?;
    let mut disk = vec![0; BOOT_DISK.1];
    disk[..boot_sector.len()].copy_from_slice(boot_sector);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    std::fs::write(run_dir.path().join(BOOT_DISK.0), disk).map_err(|error| no_folder(&error))?;
    let started = started(tried.program, line, run_dir.path(), &[]).await;
    let mut launched = started.map_err(|(lines, _)| Refusal {
        why: explain::rejected(accelerator.name(), &lines),
        lines,
    })?;
    let ended = async {
        launched.qmp.execute("cont", Value::Null).await.ok()?;
        while let Some(Event { name, data }) = launched.events.recv().await {
            match name.as_str() {
                "SHUTDOWN" if data["reason"] == "guest-reset" => return Some(true),
                // Nobody asked it to stop: it cannot go on.
                "STOP" => return Some(false),
                _ => {}
            }
        }
        None
    };
    match timeout(BIOS, ended).await {
        Ok(Some(true)) => Ok(()),
        Ok(Some(false)) => Err("it fails at what boot loaders do (internal error)"
            .to_owned()
            .into()),
        Ok(None) => {
            let lines = launched.messages.at_end().await;
            Err(Refusal {
                why: explain::rejected(accelerator.name(), &lines),
                lines,
            })
        }
        Err(_) => Err(format!("a guest made no progress within {} s", BIOS.as_secs()).into()),
    }
}

/// Tries whether QEMU starts with these options; what it said if it does not.
async fn starts(tried: Tried<'_>, mut line: CommandLine) -> Result<(), Vec<String>> {
    let run_dir = run_dir(tried.scratch).map_err(|error| vec![no_folder(&error)])?;
    line.plain("-display", "none");
    let started = started(tried.program, line, run_dir.path(), &[]).await;
    started.map(drop).map_err(|(lines, _)| lines)
}

/// A folder for one try. That of the caller comes first: the folder for temporary files that the environment names may have
/// been that of a terminal or a job that has ended since.
fn run_dir(scratch: Option<&Path>) -> std::io::Result<tempfile::TempDir> {
    let made = |folder: &Path| tempfile::Builder::new().prefix("t").tempdir_in(folder);
    let mut failed = std::io::Error::from(std::io::ErrorKind::NotFound);
    let temporary = [std::env::temp_dir(), "/tmp".into(), "/var/tmp".into()];
    let own = scratch.filter(|folder| folder.as_os_str().len() < SHORT);
    for folder in own.into_iter().chain(temporary.iter().map(PathBuf::as_path)) {
        match made(folder) {
            Ok(dir) => return Ok(dir),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn no_folder(error: &std::io::Error) -> String {
    format!("there is no folder for a moment's files ({error})")
}

async fn started(
    program: &Path,
    mut line: CommandLine,
    run_dir: &Path,
    environment: &[(&str, &str)],
) -> Result<Launched, (Vec<String>, Option<i32>)> {
    line.flag("-nodefaults");
    line.flag("-no-user-config");
    line.flag("-S");
    line.plain("-machine", "q35");
    line.plain("-m", "32M");
    let arguments = |backend: String| {
        line.monitor(&backend);
        Ok(line.into_args())
    };
    let start = Start {
        program,
        run_dir,
        log: None,
        time: ANSWER,
        environment,
    };
    match launch(start, arguments).await {
        Ok(launched) => Ok(launched),
        Err(Failure::Exited(lines, signal)) => Err((lines, signal)),
        Err(Failure::Silent(mut lines)) => {
            lines.push(format!("it did not answer within {} s", ANSWER.as_secs()));
            Err((lines, None))
        }
        Err(Failure::Other(error)) => Err((vec![error.to_string()], None)),
    }
}

/// Opens a window for a moment, as machines have it; gives what QEMU gives up then.
pub(super) async fn opens_window(
    tried: Tried<'_>,
    display: &'static str,
    accelerator: Accelerator,
    strongest: Confinement,
) -> Result<Confinement> {
    let mut next = Some(strongest);
    let mut said = Vec::new();
    while let Some(confinement) = next {
        let run_dir =
            run_dir(tried.scratch).map_err(HypervisorError::file("creating a folder for", tried.program))?;
        let mut line = CommandLine::default();
        line.accelerator(accelerator);
        line.plain("-display", display);
        line.plain("-vga", "std");
        if let Some(sandbox) = confinement.option() {
            line.plain("-sandbox", sandbox);
        }
        match started(tried.program, line, run_dir.path(), confinement::environment()).await {
            Ok(_) => return Ok(confinement),
            Err((lines, signal)) => {
                let by_sandbox = signal.is_some_and(os::is_of_sandbox);
                next = if by_sandbox { confinement.weaker() } else { None };
                said = lines;
            }
        }
    }
    Err(explain::failed_start(tried.program, &said, 0))
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
pub(super) async fn audio(tried: Tried<'_>) -> Result<&'static str> {
    let built = words(&help(tried.program, "-audiodev").await?);
    for driver in ["coreaudio", "dsound", "pipewire", "pa", "sdl", "alsa"] {
        if built.iter().any(|name| name == driver) {
            let mut line = CommandLine::default();
            line.sound(driver);
            match starts(tried, line).await {
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
        .kill_on_drop(true);
    os::detach(&mut command);
    let why = match timeout(ANSWER, command.output()).await {
        Ok(Ok(output)) if !output.status.success() && output.stdout.is_empty() => {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.lines().rev().map(str::trim).find(|line| !line.is_empty());
            let said: String = said.unwrap_or("it said nothing").chars().take(500).collect();
            format!(
                "asked for “{option} help” it ended with {}: {said}",
                output.status
            )
        }
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

    #[cfg(unix)]
    #[tokio::test]
    async fn a_program_that_cannot_list_what_it_has_is_not_taken_for_one_without() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("qemu");
        std::fs::write(
            &program,
            "#!/bin/sh\necho 'libfoo.so: no such file' >&2\nexit 127\n",
        )
        .unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let tried = Tried {
            program: &program,
            scratch: None,
        };
        let error = acceleration(tried).await.unwrap_err().to_string();
        assert!(error.contains("libfoo.so: no such file"), "{error}");
        assert!(error.contains("127"), "{error}");
    }

    // It needs the system's QEMU, which the other systems' test machines have not, and Wine would find that of the host.
    #[cfg(target_os = "linux")]
    async fn qemu() -> crate::Qemu {
        let search = crate::Search::of_system(None);
        let qemu = crate::Qemu::find(&search, livepc_format::machine::Architecture::X86_64).await;
        qemu.expect("these tests need QEMU: Debian's qemu-system-x86 and qemu-utils")
    }

    /// Some builds of QEMU have no libseccomp, and some systems no seccomp: it says so and ends.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_qemu_without_a_sandbox_is_used_without_one() {
        use std::os::unix::fs::PermissionsExt;
        let qemu = qemu().await;
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("qemu");
        let script = format!(
            "#!/bin/sh\n\
             case $* in *-sandbox*) echo 'qemu: -sandbox: There is no option group sandbox' >&2; exit 1;; esac\n\
             exec '{}' \"$@\"\n",
            qemu.program().display()
        );
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        for (program, expected) in [
            (program.as_path(), Confinement::None),
            (qemu.program(), Confinement::Strict),
        ] {
            let tried = Tried {
                program,
                scratch: None,
            };
            let found = acceleration(tried).await.unwrap();
            assert_eq!(found.confinement, expected, "{found:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn an_accelerator_runs_a_boot_sector_to_its_end() {
        let qemu = qemu().await;
        let gone = tempfile::tempdir().unwrap().path().join("gone");
        let program = Tried {
            program: qemu.program(),
            // Whose it was has ended.
            scratch: Some(&gone),
        };
        let tried = |sector: &'static [u8]| runs(program, Accelerator::Tcg, sector);
        tried(&BOOT_SECTOR).await.unwrap();
        let hangs = tried(&[0xf4, 0xeb, 0xfd]).await.unwrap_err();
        assert!(hangs.why.contains("no progress"), "{hangs:?}");
    }

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
