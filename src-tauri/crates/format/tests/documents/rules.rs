//! What makes no sense is neither signed nor read.

use livepc_format::FileSystem;

use super::*;

#[test]
fn heads_that_make_no_sense_are_neither_signed_nor_read() {
    let change = |change: fn(&mut Head)| {
        let mut head = head();
        change(&mut head);
        head
    };
    let seal = |head: &Head| head.seal(&PUBLISHER.signing);
    seal(&change(|h| h.releases.clear())).expect("a head may be empty");
    seal(&change(|h| h.revision = (1 << 53) - 1)).expect("the last revision");
    for (what, bad) in [
        ("version", change(|h| h.version = 2)),
        ("revision 0", change(|h| h.revision = 0)),
        ("revision 2^53", change(|h| h.revision = 1 << 53)),
        ("sequence 0", change(|h| h.releases[1].sequence = 0)),
        ("sequence 2^64", change(|h| h.releases[0].sequence = u64::MAX)),
        ("order", change(|h| h.releases.swap(0, 1))),
        ("twice the same", change(|h| h.releases[1].sequence = 2)),
        ("too many", change(|h| h.releases = vec![release(1); 10_001])),
        ("label", change(|h| h.releases[0].label = "a\nb".into())),
        ("channel", change(|h| h.releases[0].channel = "../x".into())),
        (
            "manifest",
            change(|h| h.releases[0].manifest_bytes = (1 << 20) + 1),
        ),
        (
            "boot map",
            change(|h| h.releases[0].boot_map.as_mut().unwrap().size = u64::MAX),
        ),
        ("bytes", change(|h| h.releases[0].bytes.new = u64::MAX)),
        (
            "bytes from",
            change(|h| h.releases[0].bytes.from = [(1, u64::MAX)].into()),
        ),
        (
            "patch from itself",
            change(|h| {
                h.releases[0].patches = vec![Patch {
                    from: 2,
                    object: object(),
                    bytes: 1,
                }];
            }),
        ),
        (
            "mirror without slash",
            change(|h| h.mirrors = vec!["https://a.example/b".parse().unwrap()]),
        ),
        (
            "mirror with query",
            change(|h| h.mirrors = vec!["https://a.example/?a/".parse().unwrap()]),
        ),
        (
            "file mirror",
            change(|h| h.mirrors = vec!["file:///srv/".parse().unwrap()]),
        ),
    ] {
        assert!(seal(&bad).is_err(), "{what} must not be signed");
        let signed = Envelope::sign(
            head::TYPE,
            serde_json::to_string(&bad).unwrap(),
            &PUBLISHER.signing,
        )
        .unwrap();
        assert!(
            Head::open(&signed.to_bytes(), &PUBLISHER.keys).is_err(),
            "{what} must not be read"
        );
    }
}

#[test]
fn what_readers_would_find_too_large_is_not_written() {
    let mut long = head();
    let mut release = release(1);
    release.bytes.from = (1..=10_000).map(|sequence| (sequence, 1 << 50)).collect();
    long.releases = (1..=30)
        .rev()
        .map(|sequence| Release {
            sequence,
            ..release.clone()
        })
        .collect();
    assert!(matches!(
        long.seal(&PUBLISHER.signing),
        Err(FormatError::TooLarge { limit: 8_388_608, .. })
    ));
    let mut keys = PUBLISHER.keys.clone();
    keys.requires = vec!["x".repeat(256 << 10)];
    assert!(matches!(
        keys.seal(&PUBLISHER.root),
        Err(FormatError::TooLarge { limit: 262_144, .. })
    ));
    let mut manifest = manifest();
    // Each becomes six characters.
    manifest.licence.as_mut().unwrap().text = Some("\u{1}".repeat(256 << 10));
    assert!(matches!(
        manifest.to_bytes(),
        Err(FormatError::TooLarge { limit: 1_048_576, .. })
    ));
}

#[test]
fn the_newest_release_is_one_that_may_be_used() {
    let mut head = head();
    assert_eq!(head.newest("stable").unwrap().sequence, 2);
    assert_eq!(head.newest("beta"), None);
    head.releases[0].state = ReleaseState::Yanked;
    assert_eq!(head.newest("stable").unwrap().sequence, 1);
    assert_eq!(head.release(2).unwrap().state, ReleaseState::Yanked);
}

#[test]
fn keys_that_make_no_sense_are_refused() {
    let seal = |epochs: &[u32]| {
        let mut keys = PUBLISHER.keys.clone();
        let entry = keys.keys.remove(0);
        keys.keys = epochs
            .iter()
            .map(|&epoch| keys::SigningKeyEntry {
                epoch,
                ..entry.clone()
            })
            .collect();
        keys.seal(&PUBLISHER.root)
    };
    seal(&[1, 2, 9]).expect("epochs rise");
    for epochs in [&[][..], &[0], &[2], &[1, 1], &[1, 3, 2], &vec![1; 1001]] {
        assert!(seal(epochs).is_err(), "{epochs:?}");
    }
    let renamed = Keys {
        name: "Net Lab".into(),
        ..PUBLISHER.keys.clone()
    };
    assert!(renamed.seal(&PUBLISHER.root).is_err(), "it is a short name");
    for key in [
        "",
        "x",
        "RWQ",
        &"A".repeat(56),
        &format!("{}=", public(&PUBLISHER.root)),
    ] {
        assert!(PublicKey::parse(key).is_err(), "{key:?}");
    }
}

#[test]
fn manifests_that_make_no_sense_are_neither_written_nor_read() {
    let change = |change: fn(&mut Manifest)| {
        let mut manifest = manifest();
        change(&mut manifest);
        manifest
    };
    let regions = |regions: &[(u64, u64)]| {
        let mut manifest = manifest();
        let found: Vec<_> = regions
            .iter()
            .map(|&(start, sectors)| Region { start, sectors })
            .collect();
        if let Content::Published { regions, .. } = &mut manifest.disks[0].content {
            *regions = found;
        }
        manifest
    };
    regions(&[(0, 2)]).to_bytes().expect("one region");
    for (what, bad) in [
        ("version", change(|m| m.version = 0)),
        ("sequence", change(|m| m.sequence = 0)),
        ("label", change(|m| m.label = String::new())),
        ("title", change(|m| m.title = "x".repeat(121))),
        ("changelog", change(|m| m.changelog = "x".repeat((64 << 10) + 1))),
        (
            "licence",
            change(|m| m.licence.as_mut().unwrap().spdx = Some("MIT\n".into())),
        ),
        ("no disk", change(|m| m.disks.clear())),
        (
            "nine disks",
            change(|m| m.disks = (0..9).map(|_| manifest().disks.remove(1)).collect()),
        ),
        ("no system disk", change(|m| m.disks.swap(0, 1))),
        ("a role twice", change(|m| m.disks.push(m.disks[1].clone()))),
        (
            "a role that is a path",
            change(|m| m.disks[1].role = "../user".into()),
        ),
        ("no bytes", change(|m| m.disks[1].size = 0)),
        ("half a sector", change(|m| m.disks[1].size = 513)),
        ("more than 16 TiB", change(|m| m.disks[1].size = (16 << 40) + 512)),
        (
            "too small for its file system",
            change(|m| {
                m.disks[1].size = 32 << 20;
                m.disks[1].content = fat32("data");
            }),
        ),
        (
            "a label that is too long for its file system",
            change(|m| m.disks[1].content = fat32("twelve chars")),
        ),
        ("too large a packs object", change(|m| m.packs.stored = u64::MAX)),
        ("no CPU", change(|m| m.machine.cpus = 0)),
        ("65 CPUs", change(|m| m.machine.cpus = 65)),
        ("little memory", change(|m| m.machine.memory = 15 << 20)),
        ("odd memory", change(|m| m.machine.memory = (512 << 20) + 1)),
        ("much memory", change(|m| m.machine.memory = u64::MAX)),
        ("no region", regions(&[])),
        ("a gap", regions(&[(0, 1), (2, 1)])),
        ("an overlap", regions(&[(0, 2), (1, 1)])),
        ("not from 0", regions(&[(1, 1)])),
        ("an empty region", regions(&[(0, 0), (0, 2)])),
        ("not all of it", regions(&[(0, 1)])),
        ("more than there is", regions(&[(0, 3)])),
        ("an overflow", regions(&[(0, u64::MAX)])),
        ("a late overflow", regions(&[(0, 1 << 35), (1 << 35, u64::MAX)])),
    ] {
        assert!(bad.to_bytes().is_err(), "{what} must not be written");
        let text = serde_json::to_string(&bad).unwrap();
        assert!(
            Manifest::parse(text.as_bytes()).is_err(),
            "{what} must not be read"
        );
    }
    let far = Region {
        start: u64::MAX,
        sectors: u64::MAX,
    };
    assert_eq!(
        (far.offset(), far.len()),
        (u64::MAX, u64::MAX),
        "no arithmetic overflows"
    );
    assert_eq!(far.pages(), u64::MAX.div_ceil(4096));
    assert_eq!(
        Region { start: 0, sectors: 9 }.pages(),
        2,
        "the last page may be shorter"
    );
    let many: Vec<_> = (0..1025).map(|start| Region { start, sectors: 1 }).collect();
    check_regions(1024 * 512, &many[..1024]).expect("1024 regions");
    assert!(check_regions(1025 * 512, &many).is_err(), "1025 regions");
    assert!(check_regions(513, &many[..1]).is_err(), "half a sector");
}

fn fat32(label: &str) -> Content {
    Content::User {
        label: Some(label.into()),
        file_system: Some(FileSystem::Fat32),
    }
}

#[test]
fn a_file_system_is_one_that_is_known_or_none() {
    let mut with = manifest();
    with.disks[1].content = fat32("livepc-user");
    let text = String::from_utf8(with.to_bytes().unwrap().0).unwrap();
    assert!(text.contains("\"file-system\": \"fat32\""), "{text}");
    assert_eq!(Manifest::parse(text.as_bytes()).unwrap(), with);
    let later = text.replace("fat32", "btrfs");
    assert!(
        Manifest::parse(later.as_bytes()).is_err(),
        "a blank disk in its place would not be what was published"
    );
    let without = String::from_utf8(manifest().to_bytes().unwrap().0).unwrap();
    assert!(!without.contains("file-system"), "{without}");
}
