//! Whether this computer has room for one more machine.

use std::path::Path;

use livepc_format::shown;
use livepc_protocol::{Code, Problem};
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

/// Bytes that are free at the least for what a guest writes while it starts. It is paused when they are used up, but then
/// its user has something open.
const DISK: u64 = 64 << 20;

/// Refuses a start that would make the computer unusable, or that would be paused at once.
///
/// # Errors
/// [`Code::Busy`] if less memory is free than the machine has, unless `overcommit` says that this will do;
/// [`Code::DiskFull`] if there is no space for what it writes to `folder`.
pub(super) fn check(folder: &Path, memory: u64, overcommit: bool) -> Result<(), Problem> {
    let refresh = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let available = System::new_with_specifics(refresh).available_memory();
    if !overcommit {
        check_memory(memory, available)?;
    }
    check_disk(fs4::available_space(folder).unwrap_or(u64::MAX))
}

/// `available` is 0 where the system does not tell.
fn check_memory(memory: u64, available: u64) -> Result<(), Problem> {
    if available == 0 || memory <= available {
        return Ok(());
    }
    Err(Problem::new(
        Code::Busy,
        format!(
            "The machine has {} MiB of memory, and only {} MiB are free on this computer.",
            memory >> 20,
            available >> 20
        ),
        "Close programs or stop another machine, or start it with “livepc start --overcommit”.",
    ))
}

fn check_disk(free: u64) -> Result<(), Problem> {
    if free >= DISK {
        return Ok(());
    }
    Err(Problem::new(
        Code::DiskFull,
        format!(
            "There is only {} left for what the machine writes.",
            shown::size(free)
        ),
        "Free some space, then start it again.",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_larger_than_what_is_free_is_refused() {
        check_memory(1 << 30, 1 << 30).expect("it just fits");
        check_memory(1 << 40, 0).expect("nobody knows");
        let refused = check_memory(2 << 30, 1 << 30).unwrap_err();
        assert_eq!(refused.code, Code::Busy);
        assert!(
            refused.message.contains("2048 MiB") && refused.message.contains("1024 MiB"),
            "{refused}"
        );
    }

    #[test]
    fn a_full_disk_is_told_before_the_guest_finds_it() {
        check_disk(DISK).expect("it just fits");
        assert_eq!(check_disk(DISK - 1).unwrap_err().code, Code::DiskFull);
    }
}
