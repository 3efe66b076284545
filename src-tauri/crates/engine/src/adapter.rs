//! What tells a machine's network adapter from those of all other machines, here and elsewhere: three bytes by chance, which
//! are made at its first start and stay.

use std::io;
use std::path::Path;

use data_encoding::HEXLOWER;
use livepc_durable::{Readers, write};
use livepc_protocol::Problem;

/// The file in a machine's folder: the bytes in hexadecimal digits.
const FILE: &str = "adapter";

/// What distinguishes the adapter of the machine in `folder`.
///
/// # Errors
/// When the file cannot be read, or not be made.
pub(crate) fn of(folder: &Path) -> Result<[u8; 3], Problem> {
    let file = folder.join(FILE);
    let failed = |error: io::Error| {
        let doing = format!(
            "The address of the machine's network adapter, in {}",
            file.display()
        );
        Problem::io(&doing, &error)
    };
    match livepc_durable::read(&file, 4096) {
        Ok(text) => {
            if let Some(bytes) = parse(&text) {
                return Ok(bytes);
            }
            tracing::warn!("{} has no address: the machine gets another", file.display());
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let mut bytes = [0; 3];
    getrandom::fill(&mut bytes).map_err(|error| failed(io::Error::other(error)))?;
    write(&file, Readers::User, HEXLOWER.encode(&bytes).as_bytes()).map_err(failed)?;
    Ok(bytes)
}

fn parse(text: &[u8]) -> Option<[u8; 3]> {
    let digits = text.trim_ascii();
    HEXLOWER.decode(digits).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_stays_and_is_its_machine_s_own() {
        let home = tempfile::tempdir().unwrap();
        let machines: Vec<_> = (0..8).map(|n| home.path().join(n.to_string())).collect();
        let mut seen = std::collections::HashSet::new();
        for machine in &machines {
            std::fs::create_dir(machine).unwrap();
            let first = of(machine).unwrap();
            assert_eq!(of(machine).unwrap(), first, "at every start");
            seen.insert(first);
        }
        assert!(seen.len() > 6, "{seen:?}");
        std::fs::write(machines[0].join(FILE), "nonsense").unwrap();
        let made = of(&machines[0]).unwrap();
        assert_eq!(of(&machines[0]).unwrap(), made);
    }

    #[test]
    fn one_that_cannot_be_read_is_an_error_that_names_the_file() {
        let machine = tempfile::tempdir().unwrap();
        std::fs::create_dir(machine.path().join(FILE)).unwrap();
        let refused = of(machine.path()).unwrap_err();
        assert!(refused.message.contains("adapter"), "{refused}");
    }

    /// It would be replaced by another address, which the guest takes for another network.
    #[cfg(unix)]
    #[test]
    fn one_that_cannot_be_read_is_not_one_that_is_not_there() {
        let machine = tempfile::tempdir().unwrap();
        let file = machine.path().join(FILE);
        // Nobody can read what leads to itself, but anybody can replace it.
        std::os::unix::fs::symlink(&file, &file).unwrap();
        assert!(of(machine.path()).is_err());
        assert!(file.is_symlink(), "it is there as before");
    }
}
