//! Reading `livepc.toml`.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use livepc_format::FileSystem;
use livepc_format::feed::why_not_address;
use livepc_format::head::check_mirrors;
use livepc_format::limits::{DISK_LABEL, DISK_SIZE, DISKS, LICENCE_BYTES, MIRRORS, SECTOR};
use livepc_format::machine::{
    Architecture, Controller, Firmware, GuestOs, HypervisorKind, Machine, Network, Nic,
};
use livepc_format::manifest::Licence;
use livepc_format::text;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use toml::Spanned;
use url::Url;

use super::{Project, ProjectContent, ProjectDisk};

const MIB: u64 = 1 << 20;
/// Days after which a list of releases may expire: up to five years.
const EXPIRES_AFTER: RangeInclusive<i64> = 1..=1826;

/// Reads the text of the file in the folder `dir`; an error has its line and what is wrong.
pub(super) fn parse(text: &str, dir: &Path) -> Result<Project, (Option<usize>, String)> {
    let line_of = |at: usize| text[..at.min(text.len())].matches('\n').count() + 1;
    let file: File = toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| line_of(span.start));
        (line, error.message().replace('\n', "; "))
    })?;
    if file.disks.is_empty() || file.disks.len() > DISKS {
        return Err((
            None,
            format!("a machine has 1 to {DISKS} disks; each is a [[disks]] section"),
        ));
    }
    let mut disks: Vec<ProjectDisk> = Vec::with_capacity(file.disks.len());
    for (number, disk) in file.disks.into_iter().enumerate() {
        let line = Some(line_of(disk.span().start));
        let disk = disk.into_inner().read(dir).map_err(|why| (line, why))?;
        let user = matches!(disk.content, ProjectContent::User { .. });
        if number == 0 && (disk.role != "system" || user) {
            let why = "the first disk must have role = \"system\" and a source";
            return Err((line, why.into()));
        }
        if disks.iter().any(|other| other.role == disk.role) {
            return Err((line, format!("there is another disk with role = {:?}", disk.role)));
        }
        disks.push(disk);
    }
    Ok(Project {
        title: file.title.unwrap_or_else(|| file.name.clone()),
        name: file.name,
        summary: file.summary,
        publisher: file.publisher,
        categories: file.categories,
        channel: file.channel,
        licence: file.licence.map(LicenceFile::read),
        machine: file.machine.read(),
        disks,
        logo: file.logo.map(|path| dir.join(path)),
        mirrors: file.mirrors,
        address: file.address,
        expires_after: file.expires_after,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    #[serde(deserialize_with = "short_name")]
    name: String,
    #[serde(default, deserialize_with = "title")]
    title: Option<String>,
    #[serde(default, deserialize_with = "one_line::<_, 500>")]
    summary: String,
    #[serde(default, deserialize_with = "one_line::<_, 120>")]
    publisher: String,
    #[serde(default)]
    categories: Vec<String>,
    #[serde(default = "stable", deserialize_with = "short_name")]
    channel: String,
    #[serde(default)]
    logo: Option<PathBuf>,
    #[serde(default, deserialize_with = "mirrors")]
    mirrors: Vec<Url>,
    #[serde(default, deserialize_with = "address")]
    address: Option<Url>,
    #[serde(default, deserialize_with = "expires_after")]
    expires_after: Option<SignedDuration>,
    #[serde(default)]
    licence: Option<LicenceFile>,
    #[serde(default)]
    machine: MachineFile,
    #[serde(default)]
    disks: Vec<Spanned<DiskFile>>,
}

fn stable() -> String {
    "stable".into()
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct LicenceFile {
    #[serde(default, deserialize_with = "label::<_, 200>")]
    spdx: Option<String>,
    #[serde(default, deserialize_with = "licence_text")]
    text: Option<String>,
    #[serde(default)]
    redistributable: bool,
}

impl LicenceFile {
    fn read(self) -> Licence {
        Licence {
            spdx: self.spdx,
            text: self.text,
            redistributable: self.redistributable,
        }
    }
}

/// [`Machine`] as a person writes it: a wrong name is an error, and memory may have a unit.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct MachineFile {
    guest_os: GuestOs,
    #[serde(deserialize_with = "one_line::<_, 80>")]
    guest_os_name: String,
    architecture: Architecture,
    #[serde(deserialize_with = "cpus")]
    cpus: u32,
    #[serde(deserialize_with = "memory")]
    memory: u64,
    firmware: Firmware,
    network: Network,
    nic: Nic,
    sound: bool,
    usb: bool,
    hypervisors: Vec<HypervisorKind>,
}

impl Default for MachineFile {
    fn default() -> Self {
        let Machine {
            guest_os,
            guest_os_name,
            architecture,
            cpus,
            memory,
            firmware,
            network,
            nic,
            sound,
            usb,
            hypervisors,
            ..
        } = Machine::default();
        Self {
            guest_os,
            guest_os_name,
            architecture,
            cpus,
            memory,
            firmware,
            network,
            nic,
            sound,
            usb,
            hypervisors,
        }
    }
}

impl MachineFile {
    fn read(self) -> Machine {
        Machine {
            guest_os: self.guest_os,
            guest_os_name: self.guest_os_name,
            architecture: self.architecture,
            cpus: self.cpus,
            memory: self.memory,
            firmware: self.firmware,
            network: self.network,
            nic: self.nic,
            sound: self.sound,
            usb: self.usb,
            hypervisors: self.hypervisors,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct DiskFile {
    #[serde(deserialize_with = "short_name")]
    role: String,
    source: Option<PathBuf>,
    #[serde(default, rename = "as")]
    taken_as: Option<TakenAs>,
    #[serde(default, deserialize_with = "disk_size")]
    size: Option<u64>,
    #[serde(default, deserialize_with = "label::<_, DISK_LABEL>")]
    label: Option<String>,
    #[serde(default)]
    file_system: Option<FileSystem>,
    #[serde(default)]
    controller: Controller,
}

/// What a source is, whatever it looks like.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum TakenAs {
    Raw,
}

impl DiskFile {
    fn read(self, dir: &Path) -> Result<ProjectDisk, String> {
        let content = match (self.source, self.size) {
            (Some(source), None) if self.label.is_none() && self.file_system.is_none() => {
                match self.taken_as {
                    Some(TakenAs::Raw) => ProjectContent::RawSource(dir.join(source)),
                    None => ProjectContent::Source(dir.join(source)),
                }
            }
            (None, Some(size)) if self.taken_as.is_none() => {
                let file_system = self.file_system;
                let why_not = file_system.and_then(|fs| fs.why_not(size, self.label.as_deref()));
                if let Some(why) = why_not {
                    return Err(why);
                }
                ProjectContent::User {
                    size,
                    label: self.label,
                    file_system,
                }
            }
            _ => {
                return Err(
                    "a disk has either a source (a raw image, which is published) or a size (a new disk, which may have a \
                     label and a file-system)"
                        .into(),
                );
            }
        };
        Ok(ProjectDisk {
            role: self.role,
            controller: self.controller,
            content,
        })
    }
}

fn short_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    match text::check_name("livepc.toml", "name", &name) {
        Ok(()) => Ok(name),
        Err(_) => Err(D::Error::custom(format!(
            "{name:?} must be 1 to 63 of a–z, 0–9 and single hyphens, as in \"net-lab\""
        ))),
    }
}

fn one_line<'de, D: Deserializer<'de>, const MAX: usize>(deserializer: D) -> Result<String, D::Error> {
    let line = String::deserialize(deserializer)?;
    if text::line(&line, MAX) == line {
        return Ok(line);
    }
    Err(D::Error::custom(format!(
        "it must be one line of at most {MAX} characters, without control characters, characters that nobody sees, or \
         spaces at its ends"
    )))
}

fn title<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let title = one_line::<D, 120>(deserializer)?;
    if title.is_empty() {
        return Err(D::Error::custom(
            "a title cannot be empty; leave it out to use the name",
        ));
    }
    Ok(Some(title))
}

fn mirrors<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Url>, D::Error> {
    let mirrors = Vec::<Url>::deserialize(deserializer)?;
    if check_mirrors(&mirrors).is_err() {
        return Err(D::Error::custom(format!(
            "mirrors are at most {MIRRORS} http(s) URLs of folders, which end in “/”, without “?” and “#”"
        )));
    }
    Ok(mirrors)
}

/// The address is not repeated in what is wrong with it: there may be a password in it.
fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    let why = match Url::parse(&String::deserialize(deserializer)?) {
        Ok(url) => match why_not_address(&url) {
            None => return Ok(Some(url)),
            Some(why) => why,
        },
        Err(_) => "write all of it, as in \"https://example.org/net-lab/feed.xml\"",
    };
    Err(D::Error::custom(format!(
        "the feed's address cannot be used; {why}"
    )))
}

fn expires_after<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SignedDuration>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a text like \"90 days\"")]
    enum Duration {
        Text(String),
    }
    let Duration::Text(text) = Duration::deserialize(deserializer)?;
    match read_days(&text) {
        Some(days) if EXPIRES_AFTER.contains(&days) => Ok(Some(SignedDuration::from_hours(days * 24))),
        _ => Err(D::Error::custom(format!(
            "{text:?} cannot be used; write 1 to 1826 days (five years), as in \"90 days\", or leave it out"
        ))),
    }
}

/// The number in `1 day` or `90 days`.
fn read_days(text: &str) -> Option<i64> {
    match text.split_once(' ')? {
        ("1", "day") => Some(1),
        (number, "days") if number.bytes().all(|digit| digit.is_ascii_digit()) => number.parse().ok(),
        _ => None,
    }
}

fn label<'de, D: Deserializer<'de>, const MAX: usize>(deserializer: D) -> Result<Option<String>, D::Error> {
    let label = String::deserialize(deserializer)?;
    match text::check_line("livepc.toml", "label", &label, MAX) {
        Ok(()) => Ok(Some(label)),
        Err(_) => Err(D::Error::custom(format!(
            "it must be one line of 1 to {MAX} characters, without control characters or characters that nobody sees"
        ))),
    }
}

fn licence_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.len() > LICENCE_BYTES {
        return Err(D::Error::custom(
            "a licence's text has at most 256 KiB; name the licence in spdx, or link its text",
        ));
    }
    Ok(Some(text))
}

fn cpus<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    match u32::deserialize(deserializer)? {
        cpus @ 1..=64 => Ok(cpus),
        cpus => Err(D::Error::custom(format!(
            "a machine has 1 to 64 CPUs, not {cpus}"
        ))),
    }
}

fn memory<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let memory = size(deserializer)?;
    if (16 * MIB..=1 << 40).contains(&memory) && memory.is_multiple_of(MIB) {
        return Ok(memory);
    }
    Err(D::Error::custom(
        "memory is 16 MiB to 1 TiB in whole MiB, as in \"512 MiB\"",
    ))
}

fn disk_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let size = size(deserializer)?;
    if (SECTOR..=DISK_SIZE).contains(&size) && size.is_multiple_of(SECTOR) {
        return Ok(Some(size));
    }
    Err(D::Error::custom(
        "a disk has up to 16 TiB in whole sectors of 512 bytes, as in \"10 GiB\"",
    ))
}

/// A number of bytes, or a text like `512 MiB`.
fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a number of bytes, or a text like \"512 MiB\"")]
    enum Size {
        Bytes(u64),
        Text(String),
    }
    match Size::deserialize(deserializer)? {
        Size::Bytes(bytes) => Ok(bytes),
        Size::Text(text) => read_size(&text).ok_or_else(|| {
            D::Error::custom(format!(
                "{text:?} is no size; write \"512 MiB\", with KiB, MiB, GiB or TiB"
            ))
        }),
    }
}

fn read_size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_start() {
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_a_number_and_a_word() {
        assert_eq!(read_days("1 day"), Some(1));
        assert_eq!(read_days("90 days"), Some(90));
        for wrong in [
            "90",
            "90days",
            "90  days",
            " 90 days",
            "90 days ",
            "+90 days",
            "-1 days",
            "1.5 days",
            "90 Days",
            "3 months",
            "2 day",
            "days",
            "",
            "99999999999999999999 days",
        ] {
            assert_eq!(read_days(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn sizes_have_binary_units() {
        assert_eq!(read_size("512 MiB"), Some(512 << 20));
        assert_eq!(read_size("1GiB"), Some(1 << 30));
        for wrong in ["512", "MiB", "1 GB", "-1 GiB", "1.5 GiB", "99999999999 TiB", ""] {
            assert_eq!(read_size(wrong), None, "{wrong:?}");
        }
    }
}
