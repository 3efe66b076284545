//! What a VMware configuration may say.

use std::collections::BTreeMap;

use super::is_path;

/// Every key that may be written, without the numbers of controllers and units.
const KEYS: &str = "
    .encoding config.version virtualHW.version displayName guestOS firmware memsize numvcpus cpuid.coresPerSocket nvram
    pciBridge#.present pciBridge#.virtualDev pciBridge#.functions hpet#.present svga.present svga.autodetect mks.enable#d
    floppy#.present parallel#.present vmci#.present isolation.tools.hgfs.disable isolation.tools.hgfsServerSet.disable
    isolation.tools.dnd.disable isolation.tools.copy.disable isolation.tools.paste.disable isolation.tools.unity.disable
    isolation.tools.diskShrink.disable isolation.tools.diskWiper.disable sharedFolder.maxNum usb.restrictions.defaultAllow
    tools.upgrade.policy tools.syncTime snapshot.disabled snapshot.maxSnapshots disk.locking uuid.action msg.autoAnswer
    gui.exitOnCLIHLT gui.exitAtPowerOff powerType.powerOff powerType.suspend powerType.powerOn logging
    log.keepOld log.rotateSize bios.bootOrder bios.hddOrder sata#.present scsi#.present scsi#.virtualDev nvme#.present
    sata#:#.present sata#:#.deviceType sata#:#.fileName sata#:#.mode sata#:#.startConnected
    scsi#:#.present scsi#:#.deviceType scsi#:#.fileName scsi#:#.mode
    nvme#:#.present nvme#:#.deviceType nvme#:#.fileName nvme#:#.mode
    ide#:#.present ide#:#.deviceType ide#:#.fileName ide#:#.mode ide#:#.startConnected
    ethernet#.present ethernet#.virtualDev ethernet#.connectionType ethernet#.addressType ethernet#.address ethernet#.startConnected
    ethernet#.wakeOnPcktRcv sound.present sound.virtualDev sound.fileName sound.autoDetect usb.present ehci.present
    usb_xhci.present serial#.present serial#.fileType serial#.fileName serial#.startConnected serial#.yieldOnMsrRead
    serial#.pipe.endPoint serial#.tryNoRxLoss";

/// Reads a configuration as strictly as can be: known keys, each once, and values that are escaped in full.
///
/// # Errors
/// The first line that is not so.
pub(crate) fn parse(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut settings = BTreeMap::new();
    for line in text.split_terminator('\n') {
        let wrong = || format!("malformed: {line}");
        let (key, rest) = line.split_once(" = \"").ok_or_else(wrong)?;
        let value = rest.strip_suffix('"').ok_or_else(wrong)?;
        if value.contains('"') || value.contains(char::is_control) {
            return Err(wrong());
        }
        let mut pattern = String::new();
        for c in key.chars() {
            let c = if c.is_ascii_digit() { '#' } else { c };
            if c != '#' || !pattern.ends_with('#') {
                pattern.push(c);
            }
        }
        if !KEYS.split_whitespace().any(|known| known == pattern) {
            return Err(format!("unknown: {key}"));
        }
        let mut parts = value.split('|');
        let mut plain = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let code = part.get(..2).ok_or_else(wrong)?;
            plain.push(char::from(u8::from_str_radix(code, 16).map_err(|_| wrong())?));
            plain += &part[2..];
        }
        if settings.insert(key.to_owned(), plain).is_some() {
            return Err(format!("twice: {key}"));
        }
    }
    Ok(settings)
}

/// Panics if a configuration says what it may not.
pub(super) fn check(text: &str) {
    let settings = parse(text).expect("a configuration of known settings");
    for (key, value) in settings {
        let fits = match key.rsplit('.').next().unwrap_or_default() {
            "displayName" => !value.contains(['"', '|', '\n', '=', '#', '$', '/', '\\']),
            "fileName" => is_path(&value) || value == "-1",
            "address" => value == "00:50:56:21:b2:c3",
            _ => {
                value.len() <= 16
                    && value
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || "-_.:,".contains(c))
            }
        };
        assert!(fits, "{key} must not be {value:?}");
    }
}
