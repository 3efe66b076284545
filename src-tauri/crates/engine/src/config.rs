//! Settings: a closed set of names, each with a check and a default.

use livepc_protocol::{Code, Problem};

use crate::database::Database;
use crate::hours::Hours;
use crate::problems::not_found;

/// Bytes a second that downloads may take; 0 is no limit. A running guest's reads count, but never wait for it.
pub(crate) const MAX_RATE: &str = "download.max-bytes-per-second";
/// The same while a machine runs; 0 is the limit of other times.
pub(crate) const MAX_RATE_RUNNING: &str = "download.max-bytes-per-second-running";
/// Bytes that the store may take on the disk; 0 is no limit. Downloads keep to it; what a running machine reads is fetched
/// whatever it says.
pub(crate) const MAX_STORE: &str = "store.max-bytes";
/// The hours in which new releases are fetched without asking, as `22:00-07:00`; empty for all. What somebody asks for is
/// fetched at once, whatever the hour.
pub(crate) const UPDATE_HOURS: &str = "updates.hours";
/// What becomes of new releases over a connection that costs by the byte: `ask` shows them and fetches nothing, `fetch` does.
pub(crate) const METERED: &str = "updates.metered";
/// Which hypervisor is tried first: `auto`, `qemu` or `vmware`.
pub const HYPERVISOR: &str = "hypervisor";
/// The `qemu-system-*` program; empty to look for it.
pub const QEMU: &str = "qemu.program";
/// VMware's `vmrun` or `vmplayer`, or the folder that they are in; empty to look for them.
pub const VMWARE: &str = "vmware.program";
/// Whether VMware may run what is not complete: `true` or `false`.
pub const VMWARE_STREAMS: &str = "vmware.streaming";

/// Whether all downloads are paused: no setting to be set by its name, but kept with them.
pub(crate) const PAUSED: &str = "paused";

const NAMES: [(&str, &str); 9] = [
    (MAX_RATE, "0"),
    (MAX_RATE_RUNNING, "0"),
    (MAX_STORE, "0"),
    (UPDATE_HOURS, ""),
    (METERED, "ask"),
    (HYPERVISOR, "auto"),
    (QEMU, ""),
    (VMWARE, ""),
    (VMWARE_STREAMS, "false"),
];

/// The names of all settings.
#[must_use]
pub fn names() -> Vec<&'static str> {
    NAMES.iter().map(|(name, _)| *name).collect()
}

/// What a setting is as long as nobody has changed it.
pub(crate) fn default(name: &str) -> String {
    let found = NAMES.iter().find(|(known, _)| *known == name);
    found.map_or_else(String::new, |(_, default)| (*default).to_owned())
}

/// The value of a setting, or its default.
pub(crate) fn get(database: &Database, name: &str) -> Result<String, Problem> {
    let (_, default) = NAMES
        .iter()
        .find(|(known, _)| *known == name)
        .ok_or_else(|| unknown(name))?;
    Ok(database.setting(name)?.unwrap_or_else(|| (*default).to_owned()))
}

/// The bytes that the store may take, if that is limited.
pub(crate) fn max_store_bytes(database: &Database) -> Result<Option<u64>, Problem> {
    let bytes = get(database, MAX_STORE)?.parse().unwrap_or(0);
    Ok((bytes > 0).then_some(bytes))
}

/// Whether new releases are fetched without asking at this time of the day.
pub(crate) fn is_update_hour(database: &Database, time: jiff::civil::Time) -> Result<bool, Problem> {
    let hours = get(database, UPDATE_HOURS)?;
    Ok(Hours::parse(&hours).is_none_or(|hours| hours.contain(time)))
}

/// Changes a setting; gives its value.
pub(crate) fn set(database: &Database, name: &str, value: &str) -> Result<String, Problem> {
    let value = value.trim();
    match name {
        MAX_RATE | MAX_RATE_RUNNING if value.parse::<u64>().is_err() => {
            return Err(Problem::new(
                Code::Usage,
                format!("“{name}” is a number of bytes a second, 0 for no limit."),
                format!("For example: livepc config set {name} 2000000."),
            ));
        }
        MAX_STORE if value.parse::<u64>().is_err() => {
            return Err(Problem::new(
                Code::Usage,
                format!("“{name}” is a number of bytes, 0 for no limit."),
                format!("For example: livepc config set {name} 50000000000."),
            ));
        }
        UPDATE_HOURS if !value.is_empty() && Hours::parse(value).is_none() => {
            return Err(Problem::new(
                Code::Usage,
                format!("“{name}” is two times of the day, or nothing for all hours."),
                format!("For example: livepc config set {name} 22:00-07:00."),
            ));
        }
        METERED if !["ask", "fetch"].contains(&value) => return Err(one_of(name, "ask or fetch")),
        HYPERVISOR if !["auto", "qemu", "vmware"].contains(&value) => {
            return Err(one_of(name, "auto, qemu or vmware"));
        }
        VMWARE_STREAMS if !["true", "false"].contains(&value) => return Err(one_of(name, "true or false")),
        QEMU if !value.is_empty() && !std::path::Path::new(value).is_file() => {
            return Err(Problem::new(
                Code::Usage,
                format!("There is no program {}.", livepc_format::text::line(value, 300)),
                "Give the full path of qemu-system-x86_64, or nothing to look for it.",
            ));
        }
        VMWARE if !value.is_empty() && !std::path::Path::new(value).exists() => {
            return Err(Problem::new(
                Code::Usage,
                format!("There is no {}.", livepc_format::text::line(value, 300)),
                "Give the full path of vmrun or vmplayer, or the folder of VMware, or nothing to look for it.",
            ));
        }
        MAX_RATE | MAX_RATE_RUNNING | MAX_STORE | UPDATE_HOURS | METERED | HYPERVISOR | QEMU | VMWARE
        | VMWARE_STREAMS => {}
        _ => return Err(unknown(name)),
    }
    database.set(name, value)?;
    Ok(value.to_owned())
}

fn one_of(name: &str, values: &str) -> Problem {
    Problem::new(
        Code::Usage,
        format!("“{name}” is {values}."),
        format!("“livepc config get {name}” shows what it is now."),
    )
}

fn unknown(name: &str) -> Problem {
    not_found(
        format!("There is no setting “{}”.", livepc_format::text::line(name, 80)),
        format!("The settings are {}.", names().join(", ")),
    )
}
