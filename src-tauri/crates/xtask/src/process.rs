//! Running other programs, so that every failure names the command that failed.

use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fmt::Write as _};

use anyhow::{Context, Result, bail};

/// Shows a command as a person would type it, and runs it with this process's input and output.
///
/// # Errors
/// When it cannot be started, or ends with another status than 0.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = command_line(command);
    println!("$ {line}");
    let status = command
        .status()
        .with_context(|| format!("`{}` could not be started", name(command)))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// Runs a command and returns what it prints, which must be UTF-8; its standard error is passed on.
///
/// # Errors
/// When it cannot be started, or ends with another status than 0.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let line = command_line(command);
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("`{}` could not be started", name(command)))?;
    if !output.status.success() {
        bail!("`{line}` failed ({})", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{line}` printed something that is not UTF-8"))
}

/// Whether `program` is on PATH.
pub(crate) fn is_on_path(program: &str) -> bool {
    let file = format!("{program}{}", env::consts::EXE_SUFFIX);
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(&file).is_file()))
}

/// The command with its arguments, quoted where a shell would need it.
pub(crate) fn command_line(command: &Command) -> String {
    let mut line = name(command);
    for argument in command.get_args() {
        let argument = argument.to_string_lossy();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
        if !argument.is_empty() && argument.chars().all(plain) {
            let _ = write!(line, " {argument}");
        } else {
            let _ = write!(line, " '{}'", argument.replace('\'', r"'\''"));
        }
    }
    line
}

/// The program's file name.
fn name(command: &Command) -> String {
    let program = Path::new(command.get_program());
    program
        .file_name()
        .unwrap_or(program.as_os_str())
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_can_be_pasted_into_a_shell() {
        let mut command = Command::new("/usr/bin/cargo");
        command.args(["test", "--only", "a b", "it's", ""]);
        assert_eq!(
            command_line(&command),
            r"cargo test --only 'a b' 'it'\''s' ''",
            "what a shell would split or drop is quoted, the rest is left plain"
        );
    }

    #[test]
    fn a_failure_names_the_command() {
        let error = run(Command::new("cargo").arg("no-such-command-of-cargo")).unwrap_err();
        assert!(
            error.to_string().contains("cargo no-such-command-of-cargo"),
            "a reader must see which command failed: {error}"
        );
    }
}
