//! Writing a new `livepc.toml`.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use livepc_format::shown;
use livepc_format::text;

use super::{PROJECT_FILE, Project};
use crate::error::{Context as _, PublishError, Result};
use crate::os;
use crate::regions;
use crate::source::{Source, TakenFor};

pub(super) fn init(source: &Path, name: &str, dir: &Path, taken_for: TakenFor) -> Result<Project> {
    let title = text::line(name, 120);
    let short = short_name(&title).ok_or_else(|| PublishError::Name(name.to_owned()))?;
    let path = dir.join(PROJECT_FILE);
    if path.exists() {
        return Err(PublishError::ProjectExists(path));
    }
    let disk = Source::open(source, taken_for)?;
    let read = |offset, buffer: &mut [u8]| disk.read_at(buffer, offset);
    let firmware = if regions::needs_uefi(disk.len(), &read)? {
        "uefi"
    } else {
        "bios"
    };
    livepc_durable::create_folder(dir).context(|| format!("making the folder {}", shown::path(dir)))?;
    let source = as_seen_from(source, dir)?;
    let Some(source) = source.to_str() else {
        return Err(PublishError::Project {
            path,
            line: None,
            why: format!(
                "the path {} is not UTF-8; rename the image, or a folder above it",
                shown::path(&source)
            ),
        });
    };
    let text = template(&short, &title, firmware, source, taken_for);
    write(&path, dir, &text)?;
    Project::load(dir)
}

/// Writes the file whole or not at all: half a project would be in the way of the next try.
fn write(path: &Path, dir: &Path, text: &str) -> Result<()> {
    let what = || format!("writing {}", shown::path(path));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".livepc-project-");
    os::public_file(&mut builder);
    let mut partial = builder.tempfile_in(dir).context(what)?;
    partial.write_all(text.as_bytes()).context(what)?;
    match livepc_durable::put_new(partial, path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(PublishError::ProjectExists(path.to_owned()))
        }
        Err(error) => Err(error).context(what),
    }
}

/// The path of the image for the project in `dir`: relative if it lies in there, so that the folder can be moved.
fn as_seen_from(source: &Path, dir: &Path) -> Result<PathBuf> {
    let absolute = |path: &Path| {
        std::path::absolute(path).context(|| format!("finding out where {} lies", shown::path(path)))
    };
    let (source, dir) = (absolute(source)?, absolute(dir)?);
    Ok(source
        .strip_prefix(&dir)
        .map_or_else(|_| source.clone(), Path::to_path_buf))
}

/// The short name of what a person calls something: `Net Lab` → `net-lab`.
fn short_name(title: &str) -> Option<String> {
    let mut short = String::new();
    for c in title.chars() {
        if c.is_ascii_alphanumeric() {
            short.push(c.to_ascii_lowercase());
        } else if !short.is_empty() && !short.ends_with('-') {
            short.push('-');
        }
    }
    short.truncate(63);
    let short = short.trim_end_matches('-');
    (!short.is_empty()).then(|| short.to_owned())
}

fn template(name: &str, title: &str, firmware: &str, source: &str, taken_for: TakenFor) -> String {
    let insisted = match taken_for {
        TakenFor::RawDisk => {
            "\nas = \"raw\"                    # these very bytes are the disk, whatever they look like"
        }
        TakenFor::SystemDisk | TakenFor::DataDisk => "",
    };
    let quote = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let (name, title, source) = (quote(name), quote(title), quote(source));
    format!(
        r#"# A LivePC, and what `livepc publish` makes of it. Every line may be changed between releases, but for the name.

# The short name. With your root key it makes the LivePC's identity: it stays when the title changes.
name = {name}
title = {title}
# One line that says what it is, and who publishes it.
summary = ""
publisher = ""
categories = []
# Who the next release is for; subscribers follow "stable" unless they choose another channel.
channel = "stable"
# A picture: PNG, JPEG or WebP, at most 1 MiB.
# logo = "logo.png"
# More web servers that carry the same files.
# mirrors = ["https://mirror.example.org/{folder}/"]
# Where the feed lies. When you move, write its new address here, publish (or livepc publish … --renew), and leave a copy
# of all files at the old address: subscribers go to the new one, if your key and this LivePC are there, and stay. (A server
# that answers 301 or 308 at the old address does the same.) From https:// nobody goes to http://.
# address = "https://www.example.org/{folder}/feed.xml"
# How long subscribers take your list of releases for fresh, in days, 1 to 1826. Then they are told that it may be out of
# date, as it is when a server holds back what is new. It is a promise to publish in time, or to renew the list without a
# release: livepc publish … --renew. Without this line the list is fresh for ever.
# expires-after = "90 days"

# What subscribers may do with it: an SPDX expression, or a text.
# [licence]
# spdx = "GPL-3.0-or-later"
# redistributable = true

[machine]
guest-os = "linux"            # linux, windows, bsd or other
guest-os-name = ""            # its name and version, for people: "Debian 12"
architecture = "x86_64"       # x86_64 or aarch64
cpus = 1
memory = "1 GiB"
firmware = "{firmware}"             # bios or uefi
network = "nat"               # nat (the guest reaches the host's networks) or none
nic = "virtio"                # virtio, e1000, e1000e, vmxnet3 or rtl8139
sound = false
usb = false

# The system disk: a raw image, read where it lies. Subscribers get it clean at each cold start.
[[disks]]
role = "system"
source = {source}{insisted}
controller = "virtio"         # virtio, sata, ide, scsi or nvme

# A disk for the subscriber's own data, which survives updates. It is blank unless it has a file-system.
# [[disks]]
# role = "user"
# size = "10 GiB"
# file-system = "fat32"         # made at the first start, on the whole disk; 64 MiB to 1 TiB
# label = "data"                # at most 16 characters; with fat32 at most 11
"#,
        folder = name.trim_matches('"'),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_made_of_titles() {
        assert_eq!(short_name("Net Lab").as_deref(), Some("net-lab"));
        assert_eq!(short_name("net-lab").as_deref(), Some("net-lab"));
        assert_eq!(
            short_name("  C++ & Rust: 2026.11! ").as_deref(),
            Some("c-rust-2026-11")
        );
        assert_eq!(short_name("…"), None);
        let long = short_name(&"ab ".repeat(40)).unwrap();
        text::check_name("x", "name", &long).expect("long titles are cut to a valid name");
    }
}
