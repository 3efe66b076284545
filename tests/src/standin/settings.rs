//! Reading a `.vmx` file as strictly as can be.

use std::collections::BTreeMap;
use std::path::Path;

use super::Failure;

/// What a value may be.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Bool,
    Number,
    Text,
    OneOf(&'static [&'static str]),
}
use Kind::{Bool, Number, OneOf, Text};

/// The keys that are known, in small letters, `#` for a number. Written from VMware's documents and configurations that
/// its products have written, not from LivePC's driver.
const TABLE: &[(&str, Kind)] = &[
    (".encoding", OneOf(&["UTF-8"])),
    ("config.version", OneOf(&["8"])),
    ("virtualhw.version", OneOf(&["14", "16", "18", "19", "20", "21"])),
    ("displayname", Text),
    (
        "guestos",
        OneOf(&[
            "otherlinux-64",
            "other3xlinux-64",
            "other4xlinux-64",
            "debian10-64",
            "ubuntu-64",
            "windows7-64",
            "windows9-64",
            "freebsd-64",
            "other-64",
        ]),
    ),
    ("firmware", OneOf(&["bios", "efi"])),
    ("nvram", Text),
    ("memsize", Number),
    ("numvcpus", Number),
    ("cpuid.corespersocket", Number),
    ("bios.bootorder", Text),
    ("bios.hddorder", Text),
    ("pcibridge#.present", Bool),
    ("pcibridge#.virtualdev", OneOf(&["pcieRootPort"])),
    ("pcibridge#.functions", OneOf(&["8"])),
    ("hpet#.present", Bool),
    ("vmci#.present", Bool),
    ("svga.present", Bool),
    ("svga.autodetect", Bool),
    ("mks.enable#d", Bool),
    ("floppy#.present", Bool),
    ("parallel#.present", Bool),
    ("usb.present", Bool),
    ("ehci.present", Bool),
    ("usb_xhci.present", Bool),
    ("usb.restrictions.defaultallow", Bool),
    ("sound.present", Bool),
    ("sound.virtualdev", OneOf(&["hdaudio", "es1371", "sb16"])),
    ("sound.filename", Text),
    ("sound.autodetect", Bool),
    ("isolation.tools.hgfs.disable", Bool),
    ("isolation.tools.hgfsserverset.disable", Bool),
    ("isolation.tools.dnd.disable", Bool),
    ("isolation.tools.copy.disable", Bool),
    ("isolation.tools.paste.disable", Bool),
    ("isolation.tools.unity.disable", Bool),
    ("isolation.tools.diskshrink.disable", Bool),
    ("isolation.tools.diskwiper.disable", Bool),
    ("sharedfolder.maxnum", Number),
    (
        "tools.upgrade.policy",
        OneOf(&["manual", "useGlobal", "upgradeAtPowerCycle"]),
    ),
    ("tools.synctime", Bool),
    ("snapshot.disabled", Bool),
    ("snapshot.maxsnapshots", Number),
    ("disk.locking", Bool),
    ("uuid.action", OneOf(&["keep", "create", "change"])),
    ("msg.autoanswer", Bool),
    ("gui.exitonclihlt", Bool),
    ("gui.exitatpoweroff", Bool),
    ("powertype.poweron", OneOf(&["soft", "hard", "default"])),
    ("powertype.poweroff", OneOf(&["soft", "hard", "default"])),
    ("powertype.suspend", OneOf(&["soft", "hard", "default"])),
    ("logging", Bool),
    ("log.keepold", Number),
    ("log.rotatesize", Number),
    ("sata#.present", Bool),
    ("nvme#.present", Bool),
    ("scsi#.present", Bool),
    (
        "scsi#.virtualdev",
        OneOf(&["pvscsi", "lsisas1068", "lsilogic", "buslogic"]),
    ),
    ("@#:#.present", Bool),
    ("@#:#.devicetype", OneOf(&["disk", "cdrom-image"])),
    ("@#:#.filename", Text),
    ("@#:#.mode", OneOf(&["persistent"])),
    ("@#:#.startconnected", Bool),
    ("ethernet#.present", Bool),
    ("ethernet#.virtualdev", OneOf(&["e1000", "e1000e", "vmxnet3"])),
    ("ethernet#.connectiontype", OneOf(&["nat", "bridged", "hostonly"])),
    ("ethernet#.addresstype", OneOf(&["generated", "static"])),
    ("ethernet#.address", Text),
    ("ethernet#.startconnected", Bool),
    ("ethernet#.wakeonpcktrcv", Bool),
    ("serial#.present", Bool),
    ("serial#.filetype", OneOf(&["file", "pipe"])),
    ("serial#.filename", Text),
    ("serial#.startconnected", Bool),
    ("serial#.yieldonmsrread", Bool),
    ("serial#.pipe.endpoint", OneOf(&["server", "client"])),
    ("serial#.trynorxloss", Bool),
    ("checkpoint.vmstate", Text),
];

/// A configuration that was read.
#[derive(Debug)]
pub(super) struct Settings(BTreeMap<String, String>);

impl Settings {
    pub(super) fn read(vmx: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(vmx)
            .map_err(|error| format!("Cannot open the configuration file {}: {error}", vmx.display()))?;
        let mut settings = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            let (key, value) = parse(line)
                .ok_or_else(|| format!("Syntax error in the configuration, line {}: {line}", number + 1))?;
            check(&key, &value)?;
            if settings.insert(key.clone(), value).is_some() {
                return Err(format!("Variable \"{key}\" is already defined"));
            }
        }
        for needed in ["config.version", "virtualhw.version", "guestos", "memsize"] {
            if !settings.contains_key(needed) {
                return Err(format!("The configuration has no {needed}"));
            }
        }
        Ok(Self(settings))
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    pub(super) fn is_true(&self, key: &str) -> bool {
        self.get(key)
            .is_some_and(|value| value.eq_ignore_ascii_case("TRUE"))
    }

    /// The places of drives: `sata0:0`.
    pub(super) fn drives(&self) -> impl Iterator<Item = &str> {
        let place = |key| str::strip_suffix(key, ".filename").filter(|place| place.contains(':'));
        self.0
            .keys()
            .filter_map(move |key| place(key))
            .filter(|place| self.is_true(&format!("{place}.present")))
    }
}

/// A line's key in small letters, and its value without escapes.
fn parse(line: &str) -> Option<(String, String)> {
    let (key, rest) = line.split_once('=')?;
    let quoted = rest.trim().strip_prefix('"')?.strip_suffix('"')?;
    if quoted.contains('"') || quoted.contains(char::is_control) {
        return None;
    }
    let mut parts = quoted.split('|');
    let mut value = parts.next()?.to_owned();
    for part in parts {
        value.push(char::from(u8::from_str_radix(part.get(..2)?, 16).ok()?));
        value.push_str(&part[2..]);
    }
    Some((key.trim().to_lowercase(), value))
}

fn check(key: &str, value: &str) -> Result<(), Failure> {
    let mut pattern = String::new();
    for c in key.chars() {
        match c {
            '0'..='9' if pattern.ends_with('#') => {}
            '0'..='9' => pattern.push('#'),
            c => pattern.push(c),
        }
    }
    for drives in ["sata#:", "scsi#:", "ide#:", "nvme#:"] {
        if let Some(rest) = pattern.strip_prefix(drives) {
            pattern = format!("@#:{rest}");
        }
    }
    let Some((_, kind)) = TABLE.iter().find(|(known, _)| *known == pattern) else {
        return Err(format!("Unknown variable \"{key}\" in the configuration"));
    };
    let fits = match kind {
        Bool => ["TRUE", "FALSE"].contains(&value),
        Number => value.parse::<u32>().is_ok(),
        Text => true,
        OneOf(values) => values.contains(&value),
    };
    if fits {
        Ok(())
    } else {
        Err(format!("Invalid value \"{value}\" for variable \"{key}\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_vmware_might_only_ignore_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let vmx = folder.path().join("machine.vmx");
        let good =
            "config.version = \"8\"\nvirtualHW.version = \"14\"\nguestOS = \"other-64\"\nmemsize = \"512\"\n";
        let read = |more: &str| {
            std::fs::write(&vmx, format!("{good}{more}")).expect("it is written");
            Settings::read(&vmx).map(drop)
        };
        read("displayName = \"a|22b\"\nsata0:1.fileName = \"/x\"\n").expect("what the others differ from");
        for bad in [
            "nonsense = \"1\"\n",
            "memSize = \"512\"\n",
            "sata0.present = \"yes\"\n",
            "displayName = \"a\"b\"\n",
            "displayName = \"a|2\"\n",
            "displayName\n",
            "numvcpus = \"many\"\n",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
