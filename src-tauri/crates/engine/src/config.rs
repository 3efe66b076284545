//! Settings: a closed set of names, each with a check and a default.

use livepc_protocol::{Code, Problem};

use crate::database::Database;
use crate::problems::not_found;

/// Bytes a second that downloads may take; 0 is no limit. A running guest's reads count, but never wait for it.
pub(crate) const MAX_RATE: &str = "download.max-bytes-per-second";
/// The `qemu-system-*` program; empty to look for it.
pub const QEMU: &str = "qemu.program";

const NAMES: [(&str, &str); 2] = [(MAX_RATE, "0"), (QEMU, "")];

/// The names of all settings.
#[must_use]
pub fn names() -> Vec<&'static str> {
    NAMES.iter().map(|(name, _)| *name).collect()
}

/// The value of a setting, or its default.
pub(crate) fn get(database: &Database, name: &str) -> Result<String, Problem> {
    let (_, default) = NAMES
        .iter()
        .find(|(known, _)| *known == name)
        .ok_or_else(|| unknown(name))?;
    Ok(database.setting(name)?.unwrap_or_else(|| (*default).to_owned()))
}

/// Changes a setting; gives its value.
pub(crate) fn set(database: &Database, name: &str, value: &str) -> Result<String, Problem> {
    let value = value.trim();
    match name {
        MAX_RATE if value.parse::<u64>().is_err() => {
            return Err(Problem::new(
                Code::Usage,
                format!("“{name}” is a number of bytes a second, 0 for no limit."),
                format!("For example: livepc config set {name} 2000000."),
            ));
        }
        MAX_RATE => {}
        QEMU if !value.is_empty() && !std::path::Path::new(value).is_file() => {
            return Err(Problem::new(
                Code::Usage,
                format!("There is no program {}.", livepc_format::text::line(value, 300)),
                "Give the full path of qemu-system-x86_64, or nothing to look for it.",
            ));
        }
        QEMU => {}
        _ => return Err(unknown(name)),
    }
    database.set(name, value)?;
    Ok(value.to_owned())
}

fn unknown(name: &str) -> Problem {
    not_found(
        format!("There is no setting “{}”.", livepc_format::text::line(name, 80)),
        format!("The settings are {}.", names().join(", ")),
    )
}
