//! What `vmrun` is asked.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use super::machine::{Entry, TRANSFER, listed, run, write_state};
use super::qmp::Qmp;
use super::{Failure, fall_ill, sick, state_dir};

/// How long the monitor of a machine that runs has to answer.
const ANSWER: Duration = Duration::from_secs(2);

/// Does what the arguments say; gives what is printed.
///
/// # Errors
/// When it cannot, in words like VMware's.
pub fn vmrun(arguments: &[String]) -> Result<String, String> {
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    // The machine's own process, which the start leaves behind.
    if let ["--machine", vmx] = words[..] {
        run(Path::new(vmx), || println!("started"))?;
        return Ok(String::new());
    }
    let ["-T", "ws" | "player" | "fusion", command @ ..] = &words[..] else {
        return Err("Invalid host type".into());
    };
    match *command {
        ["list"] => list(),
        ["start", vmx, "gui" | "nogui"] => start(Path::new(vmx)).map(|()| String::new()),
        ["stop", vmx, "soft"] => stop_soft(Path::new(vmx)).map(|()| String::new()),
        ["stop", vmx, "hard"] => stop_hard(Path::new(vmx)).map(|()| String::new()),
        ["suspend", vmx, "hard"] => suspend(Path::new(vmx)).map(|()| String::new()),
        _ => Err(format!("Unrecognized command: {command:?}")),
    }
}

fn running(vmx: &Path) -> Result<Qmp, Failure> {
    let entry = Entry::of(vmx)?;
    let off = || format!("The virtual machine is not powered on: {}", vmx.display());
    if !entry.is_listed() {
        return Err(off());
    }
    Qmp::connect(&entry.orders(), ANSWER).map_err(|_| off())
}

/// Waits until the machine is off, however long its guest takes.
fn wait_until_off(vmx: &Path) -> Result<(), Failure> {
    let entry = Entry::of(vmx)?;
    while entry.is_listed() {
        // A process that is not a child makes no event.
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

fn list() -> Result<String, Failure> {
    let entries = std::fs::read_dir(state_dir()?).map_err(|error| error.to_string())?;
    let paths = entries.flatten().map(|entry| entry.path());
    let found: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "listed"))
        .filter_map(|path| listed(&path))
        .collect();
    let lines: String = found.iter().map(|vmx| format!("{vmx}\n")).collect();
    Ok(format!("Total running VMs: {}\n{lines}", found.len()))
}

fn start(vmx: &Path) -> Result<(), Failure> {
    fall_ill()?;
    if Entry::of(vmx)?.is_listed() {
        return Err("The file is already in use".into());
    }
    let myself = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut machine = Command::new(myself)
        .arg("--machine")
        .arg(vmx)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| error.to_string())?;
    let output = machine.stdout.take().ok_or("no output")?;
    let mut said = BufReader::new(output);
    let mut line = String::new();
    let _ = said.read_line(&mut line);
    if line == "started\n" {
        return Ok(());
    }
    let _ = said.read_to_string(&mut line);
    let _ = machine.wait();
    Err(line.trim().trim_start_matches("Error: ").to_owned())
}

fn stop_soft(vmx: &Path) -> Result<(), Failure> {
    let mut qmp = running(vmx)?;
    if sick() == "notools" {
        return Err("The VMware Tools are not running in the virtual machine".into());
    }
    qmp.ask("system_powerdown", &json!({}))?;
    // The monitor takes one client: somebody may want to switch the machine off meanwhile.
    drop(qmp);
    wait_until_off(vmx)
}

fn stop_hard(vmx: &Path) -> Result<(), Failure> {
    let mut qmp = running(vmx)?;
    qmp.tell("quit", &json!({}))?;
    while qmp.next().is_some() {}
    wait_until_off(vmx)
}

fn suspend(vmx: &Path) -> Result<(), Failure> {
    let mut qmp = running(vmx)?;
    qmp.ask("stop", &json!({}))?;
    let name = "machine-5c1f.vmss";
    let state = vmx.with_file_name(name);
    let uri = format!("exec:cat > '{}'", state.display());
    qmp.ask("migrate-set-parameters", &json!({ "max-bandwidth": 1_u64 << 40 }))?;
    qmp.ask("migrate", &json!({ "uri": uri }))?;
    qmp.migrated(TRANSFER)?;
    write_state(vmx, name)?;
    qmp.tell("quit", &json!({}))?;
    while qmp.next().is_some() {}
    wait_until_off(vmx)
}
