//! Looking for QEMU on systems of all kinds, with programs that are not what they say.
#![cfg(unix)] // The stand-ins are shell scripts.
#![allow(clippy::unwrap_used)] // A test fails where it unwraps.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use livepc_format::machine::{Architecture, Machine};
use livepc_hypervisor::{Accelerator, Hypervisor, HypervisorError, Qemu, Search};
use tempfile::TempDir;

const VERSION: &str = "echo 'QEMU emulator version 7.2.0 (stand-in)'";

/// A folder with programs that are shell scripts.
struct Stand(TempDir);

impl Stand {
    fn new(programs: &[(&str, &str)]) -> Self {
        let stand = Self(tempfile::tempdir().unwrap());
        for (name, script) in programs {
            stand.add(name, script);
        }
        stand
    }

    /// Written by another process: one that this process has open for writing could not be started by another thread.
    fn add(&self, name: &str, script: &str) {
        let write = r#"printf '#!/bin/sh\n%s\n' "$2" >"$1" && chmod +x "$1""#;
        let file = self.path(name);
        assert!(
            Command::new("sh")
                .args(["-c", write, "sh"])
                .arg(file)
                .arg(script)
                .status()
                .unwrap()
                .success()
        );
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn search(&self) -> Search {
        Search {
            path: Some(self.0.path().into()),
            ..Search::default()
        }
    }
}

async fn find(search: &Search) -> Result<Qemu, HypervisorError> {
    Qemu::find(search, Architecture::X86_64).await
}

#[tokio::test]
async fn nothing_installed_is_an_error_that_says_what_to_install() {
    let error = find(&Stand::new(&[]).search()).await.unwrap_err();
    assert!(matches!(error, HypervisorError::NotFound { .. }), "{error:?}");
    assert!(error.to_string().contains("install QEMU"), "{error}");

    let search = Search {
        program: Some("/nowhere/qemu".into()),
        ..Search::of_system(None)
    };
    let error = find(&search).await.unwrap_err().to_string();
    assert!(
        error.contains("/nowhere/qemu was not found"),
        "the user's choice is not replaced: {error}"
    );
}

#[tokio::test]
async fn half_an_installation_is_not_enough() {
    let error = find(&Stand::new(&[("qemu-system-x86_64", VERSION)]).search())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("its program qemu-img is missing"), "{error}");
    assert!(error.contains("qemu-system-x86_64 is here"), "{error}");
}

#[tokio::test]
async fn a_program_that_fails_or_is_another_is_broken() {
    for (script, why) in [
        ("exit 1", "exit status: 1"),
        ("echo 'bash, version 5'", "not QEMU"),
        ("kill -9 $$", "signal"),
        ("yes", "not QEMU"),
    ] {
        let error = find(&Stand::new(&[("qemu-system-x86_64", script)]).search())
            .await
            .unwrap_err();
        assert!(
            matches!(error, HypervisorError::Broken { .. }),
            "{script}: {error:?}"
        );
        assert!(
            error.to_string().contains(why) || script == "yes",
            "{script}: {error}"
        );
    }
}

#[tokio::test]
async fn a_program_that_hangs_is_given_up_and_ended() {
    let stand = Stand::new(&[]);
    let pid = stand.path("pid");
    stand.add(
        "qemu-system-x86_64",
        &format!("echo $$ >{}; exec sleep 1000", pid.display()),
    );
    let begin = Instant::now();
    let error = find(&stand.search()).await.unwrap_err().to_string();
    assert!(error.contains("did not tell its version"), "{error}");
    assert!(
        begin.elapsed() < Duration::from_secs(60),
        "it took {:?}",
        begin.elapsed()
    );
    let pid = std::fs::read_to_string(pid).unwrap();
    let gone = || {
        !Path::new("/proc")
            .join(pid.trim())
            .join("fd")
            .read_dir()
            .is_ok_and(|fds| fds.count() > 0)
    };
    while !gone() {
        assert!(
            begin.elapsed() < Duration::from_secs(60),
            "process {pid} still runs"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_qemu_that_is_too_old_says_so() {
    let old = "echo 'QEMU emulator version 5.2.0'";
    let error = find(&Stand::new(&[("qemu-system-x86_64", old)]).search())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, HypervisorError::TooOld { version, .. } if version == "5.2.0"),
        "{error:?}"
    );
}

#[tokio::test]
async fn the_first_that_works_is_taken_from_the_path_and_then_elsewhere() {
    let broken = Stand::new(&[("qemu-system-x86_64", "exit 1")]);
    let good = Stand::new(&[("qemu-system-x86_64", VERSION), ("qemu-img", "exit 0")]);
    let search = Search {
        extra: vec![good.0.path().into()],
        ..broken.search()
    };
    assert_eq!(
        find(&search).await.unwrap().program(),
        good.path("qemu-system-x86_64")
    );
    let chosen = Search {
        program: Some(broken.path("qemu-system-x86_64")),
        ..good.search()
    };
    assert!(
        find(&chosen).await.is_err(),
        "a choice that is broken is told, not passed over"
    );
}

#[tokio::test]
async fn the_accelerator_is_one_that_runs() {
    let qemu = common::qemu().await;
    let begin = Instant::now();
    let installation = qemu.inspect().await.unwrap();
    let first = begin.elapsed();
    let accelerator = installation.accelerator.unwrap();
    assert_eq!(qemu.accelerator().await.unwrap(), accelerator);
    assert!(
        begin.elapsed() - first < Duration::from_millis(50),
        "the answer is kept"
    );
    if accelerator == Accelerator::Tcg {
        for no in &installation.rejected {
            assert!(
                !no.why.is_empty(),
                "{:?} was rejected without a reason",
                no.accelerator
            );
        }
    }
    println!("{installation:#?}");
}

#[tokio::test]
async fn a_qemu_without_accelerators_that_work_says_what_each_said() {
    let script = format!(
        "case $* in\n--version) {VERSION};;\n'-accel help') printf 'Accelerators supported:\\nkvm\\ntcg\\n';;\n\
         *) echo 'qemu-system-x86_64: no luck' >&2; exit 1;;\nesac"
    );
    let stand = Stand::new(&[("qemu-system-x86_64", script.as_str()), ("qemu-img", "exit 0")]);
    let qemu = find(&stand.search()).await.unwrap();
    let error = qemu.inspect().await.unwrap_err().to_string();
    assert!(error.contains("kvm: no luck; tcg: no luck"), "{error}");
}

#[tokio::test]
async fn what_red_hat_calls_it_is_found_and_the_usual_name_is_preferred() {
    let other = Stand::new(&[("qemu-kvm", VERSION), ("qemu-img", "exit 0")]);
    let found = find(&other.search()).await;
    if cfg!(target_arch = "x86_64") {
        assert_eq!(found.unwrap().program(), other.path("qemu-kvm"));
    }
    other.add("qemu-system-x86_64", VERSION);
    let found = find(&other.search()).await.unwrap();
    assert_eq!(found.program(), other.path("qemu-system-x86_64"));
}

#[tokio::test]
async fn a_machine_for_another_architecture_is_refused_before_anything_happens() {
    let qemu = common::qemu().await;
    let home = common::Home::new();
    let machine = Machine {
        architecture: Architecture::Aarch64,
        ..Machine::default()
    };
    let paths = home.paths();
    let error = qemu.start(paths.spec(&machine, vec![])).await.unwrap_err();
    assert!(matches!(error, HypervisorError::Unsupported { .. }), "{error:?}");
    assert!(!home.path("run").exists(), "nothing was made");
}
