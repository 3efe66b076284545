//! The signed documents and the manifest: who may sign what, what later versions may add, and that nothing panics.

#![allow(clippy::unwrap_used)]

use std::sync::LazyLock;

use jiff::Timestamp;
use livepc_format::head::{self, FetchBytes, Patch, ReleaseState};
use livepc_format::index::ObjectRef;
use livepc_format::machine::{Controller, GuestOs, HypervisorKind, Machine};
use livepc_format::manifest::{Content, Disk, Licence, Region, check_regions};
use livepc_format::{
    Digest, Envelope, FormatError, Head, Keys, LivePcId, Manifest, PublicKey, Release, Result, SecretKey,
    keys,
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Making keys takes a moment.
struct Publisher {
    root: SecretKey,
    signing: SecretKey,
    next: SecretKey,
    keys: Keys,
}

static PUBLISHER: LazyLock<Publisher> = LazyLock::new(|| {
    let [root, signing, next] = [(); 3].map(|()| SecretKey::generate().unwrap());
    let keys = Keys::new(public(&root), "net-lab", public(&signing), now());
    Publisher {
        root,
        signing,
        next,
        keys,
    }
});

fn public(key: &SecretKey) -> PublicKey {
    key.public_key().unwrap()
}

fn now() -> Timestamp {
    "2026-11-02T10:00:00Z".parse().unwrap()
}

fn object() -> ObjectRef {
    ObjectRef {
        digest: Digest::of(b"object"),
        stored: 100,
        size: 200,
    }
}

fn release(sequence: u64) -> Release {
    let (bytes, digest) = manifest().to_bytes().unwrap();
    Release {
        sequence,
        label: "2026.11".into(),
        created: now(),
        manifest: digest,
        manifest_bytes: bytes.len() as u64,
        channel: "stable".into(),
        state: ReleaseState::Current,
        gone_after: None,
        boot_map: Some(object()),
        bytes: FetchBytes {
            new: 1000,
            boot_ready: 10,
            from: [(1, 5)].into(),
        },
        patches: vec![],
    }
}

fn head() -> Head {
    Head {
        version: 1,
        requires: vec![],
        livepc: PUBLISHER.keys.livepc(),
        epoch: 1,
        revision: 7,
        issued: now(),
        expires: Some(now()),
        mirrors: vec!["https://mirror.example/net-lab/".parse().unwrap()],
        releases: vec![release(2), release(1)],
    }
}

fn manifest() -> Manifest {
    Manifest {
        version: 1,
        requires: vec![],
        livepc: PUBLISHER.keys.livepc(),
        sequence: 2,
        label: "2026.11".into(),
        title: "Net lab".into(),
        created: now(),
        previous: Some(Digest::of(b"before")),
        changelog: "Two\nlines".into(),
        licence: Some(Licence {
            spdx: Some("MIT".into()),
            text: None,
            redistributable: true,
        }),
        machine: Machine {
            hypervisors: vec![HypervisorKind::Qemu],
            ..Machine::default()
        },
        disks: vec![
            Disk {
                role: "system".into(),
                size: 1024,
                controller: Controller::Virtio,
                content: Content::Published {
                    regions: vec![Region { start: 0, sectors: 1 }, Region { start: 1, sectors: 1 }],
                    index: object(),
                    stored: 77,
                },
            },
            Disk {
                role: "user".into(),
                size: 1 << 30,
                controller: Controller::Sata,
                content: Content::User {
                    label: Some("data".into()),
                },
            },
        ],
        packs: object(),
    }
}

fn why(result: Result<impl std::fmt::Debug>) -> String {
    result.expect_err("this must be refused").to_string()
}

/// A kind of document, with what it takes to make and read one of any content.
struct Kind {
    name: &'static str,
    good: Value,
    read: fn(&Value) -> Result<Value>,
}

fn kinds() -> [Kind; 3] {
    [
        Kind {
            name: "keys.json",
            good: serde_json::to_value(&PUBLISHER.keys).unwrap(),
            read: |value| {
                let signed = Envelope::sign(keys::TYPE, value.to_string(), &PUBLISHER.root)?;
                Keys::open(&signed.to_bytes()).map(|keys| serde_json::to_value(keys).unwrap())
            },
        },
        Kind {
            name: "head.json",
            good: serde_json::to_value(head()).unwrap(),
            read: |value| {
                let signed = Envelope::sign(head::TYPE, value.to_string(), &PUBLISHER.signing)?;
                Head::open(&signed.to_bytes(), &PUBLISHER.keys)
                    .map(|head| serde_json::to_value(head).unwrap())
            },
        },
        Kind {
            name: "the manifest",
            good: serde_json::to_value(manifest()).unwrap(),
            read: |value| {
                Manifest::parse(value.to_string().as_bytes())
                    .map(|found| serde_json::to_value(found).unwrap())
            },
        },
    ]
}

#[test]
fn documents_are_read_as_they_were_written() {
    let Publisher {
        root, signing, keys, ..
    } = &*PUBLISHER;
    assert_eq!(&Keys::open(&keys.seal(root).unwrap()).unwrap(), keys);
    assert_eq!(Head::open(&head().seal(signing).unwrap(), keys).unwrap(), head());
    let (bytes, _) = manifest().to_bytes().unwrap();
    assert_eq!(
        Manifest::open(&bytes, keys.livepc(), &release(2)).unwrap(),
        manifest()
    );
}

#[test]
fn what_a_reader_does_not_know_is_ignored_unless_it_is_required() {
    for Kind { name, good, read } in kinds() {
        assert_eq!(read(&good).expect(name), good);
        let mut more = good.clone();
        more["shine"] = json!({"requires": ["nothing"], "deep": [1, {"version": 9}]});
        if name == "the manifest" {
            more["disks"][0]["shine"] = json!(1);
            more["machine"]["shine"] = json!([]);
            more["disks"][0]["regions"][0]["shine"] = json!(null);
        }
        assert_eq!(
            read(&more).expect(name),
            good,
            "{name}: unknown fields are ignored"
        );
        more["requires"] = json!([]);
        read(&more).expect("an empty list requires nothing");

        more["requires"] = json!(["patches-2", "shine\u{1b}[31m"]);
        let error = why(read(&more));
        assert!(
            error.contains("“patches-2”") && error.contains("update LivePC") && error.starts_with(name),
            "{name}: {error}"
        );

        for version in [json!(2), json!(4_294_967_296_u64)] {
            // The rest may be anything: a later version has other fields.
            let later = json!({"version": version, "what": "else"});
            let error = why(read(&later));
            assert!(
                error.contains(&format!("format version {version}")),
                "{name}: {error}"
            );
            assert!(error.contains("update LivePC"), "{name}: {error}");
        }
        for version in [json!(0), json!(-1), json!("1"), json!(null)] {
            let mut odd = good.clone();
            odd["version"] = version;
            assert!(matches!(read(&odd), Err(FormatError::Malformed { .. })), "{name}");
        }
    }
}

#[test]
fn sets_that_are_advice_may_grow() {
    let mut value = serde_json::to_value(manifest()).unwrap();
    value["machine"]["hypervisors"] = json!(["hyper-z", "qemu"]);
    value["machine"]["guest-os"] = json!("plan9");
    let machine = Manifest::parse(value.to_string().as_bytes()).unwrap().machine;
    assert_eq!(machine.hypervisors, [HypervisorKind::Qemu]);
    assert_eq!(machine.guest_os, GuestOs::Other);
    value["machine"]["nic"] = json!("carrier-pigeon");
    assert!(
        why(Manifest::parse(value.to_string().as_bytes())).contains("carrier-pigeon"),
        "what the machine cannot do without is refused"
    );
}

#[test]
fn only_the_right_key_signs() {
    let Publisher {
        root,
        signing,
        next,
        keys,
    } = &*PUBLISHER;
    assert!(matches!(
        Head::open(&head().seal(root).unwrap(), keys),
        Err(FormatError::BadSignature { .. })
    ));
    assert!(matches!(
        Keys::open(&keys.seal(signing).unwrap()),
        Err(FormatError::BadSignature { .. })
    ));

    let mut rotated = keys.clone();
    rotated.keys.push(keys::SigningKeyEntry {
        epoch: 2,
        key: public(next),
        issued: now(),
    });
    let rotated = Keys::open(&rotated.seal(root).unwrap()).unwrap();
    assert!(
        rotated.extends(keys) && !keys.extends(&rotated),
        "keys.json only grows"
    );
    let error = why(Head::open(&head().seal(signing).unwrap(), &rotated));
    assert!(error.contains("has replaced"), "{error}");
    let error = why(Head::open(&head().seal(next).unwrap(), &rotated));
    assert!(error.contains("epoch 1, but the keys are of epoch 2"), "{error}");
    let newer = Head { epoch: 2, ..head() };
    Head::open(&newer.seal(next).unwrap(), &rotated).expect("the new key signs its epoch");
}

#[test]
fn what_belongs_to_another_livepc_is_refused() {
    let Publisher { signing, keys, .. } = &*PUBLISHER;
    let other = LivePcId(Digest::of(b"other"));
    let stray = Head {
        livepc: other,
        ..head()
    };
    assert!(matches!(
        Head::open(&stray.seal(signing).unwrap(), keys),
        Err(FormatError::Foreign { .. })
    ));
    let (bytes, _) = manifest().to_bytes().unwrap();
    assert!(matches!(
        Manifest::open(&bytes, other, &release(2)),
        Err(FormatError::Foreign { .. })
    ));
    let error = why(Manifest::open(&bytes, keys.livepc(), &release(1)));
    assert!(error.contains("of release 2, not 1"), "{error}");
    let changed = [&bytes[..], b" "].concat();
    assert!(matches!(
        Manifest::open(&changed, keys.livepc(), &release(2)),
        Err(FormatError::WrongDigest { .. })
    ));
    let renamed = Keys {
        name: "net-lab2".into(),
        ..keys.clone()
    };
    assert_ne!(renamed.livepc(), keys.livepc(), "the name is part of the id");
}

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

#[test]
fn envelopes_are_bounded_and_of_one_type() {
    let signed = Envelope::sign(head::TYPE, "x".repeat(100), &PUBLISHER.signing).unwrap();
    let bytes = signed.to_bytes();
    Envelope::parse("it", head::TYPE, &bytes, bytes.len() as u64).expect("just fits");
    assert!(matches!(
        Envelope::parse("it", head::TYPE, &bytes, bytes.len() as u64 - 1),
        Err(FormatError::TooLarge { .. })
    ));
    let error = why(Envelope::parse("it", keys::TYPE, &bytes, 1 << 20));
    assert!(error.contains(head::TYPE), "{error}");
    for bad in [
        &b""[..],
        b"[]",
        b"{}",
        b"{\"type\":1}",
        &bytes[..20],
        &[0xff; 9],
        &[b'['; 9000],
    ] {
        assert!(matches!(
            Envelope::parse("it", head::TYPE, bad, 1 << 20),
            Err(FormatError::Malformed { .. })
        ));
    }
    for signature in [
        "",
        "\n\n\n",
        "untrusted comment: x\nRW\ntrusted comment: x\n",
        &"x".repeat(9999),
    ] {
        let unsigned = Envelope {
            signature: signature.into(),
            ..signed.clone()
        };
        assert!(unsigned.verify("it", &public(&PUBLISHER.signing)).is_err());
    }
}

#[test]
fn errors_quote_nothing_that_acts() {
    let mut value = serde_json::to_value(manifest()).unwrap();
    value["disks"][0]["content"] = json!("\u{1b}[31mred\u{202e}");
    let error = why(Manifest::parse(value.to_string().as_bytes()));
    assert!(
        error.contains("red") && !error.contains(['\u{1b}', '\u{202e}']),
        "{error:?}"
    );
}

#[test]
fn digests_have_one_form() {
    let text = Digest::of(b"abc").to_string();
    assert_eq!(
        text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "FIPS 180-4"
    );
    assert_eq!(text.parse::<Digest>().unwrap(), Digest::of(b"abc"));
    for bad in [
        &text[1..],
        &text.to_uppercase(),
        &format!("{text}0"),
        "",
        &"é".repeat(32),
    ] {
        assert!(bad.parse::<Digest>().is_err(), "{bad}");
    }
}

/// Any JSON, of a few levels.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,9}".prop_map(Value::from),
        Just(json!("published")),
        Just(json!(Digest::of(b"").to_string())),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-z]{1,5}", inner, 0..4)
                .prop_map(|map| map.into_iter().collect::<Value>()),
        ]
    })
}

/// All places in a document.
fn places(value: &Value) -> Vec<String> {
    fn walk(value: &Value, at: &str, found: &mut Vec<String>) {
        found.push(at.to_owned());
        match value {
            Value::Object(map) => map
                .iter()
                .for_each(|(key, value)| walk(value, &format!("{at}/{key}"), found)),
            Value::Array(list) => {
                for (key, value) in list.iter().enumerate() {
                    walk(value, &format!("{at}/{key}"), found);
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(value, "", &mut found);
    found
}

proptest! {
    #[test]
    fn anything_anywhere_in_a_document_does_not_panic(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any_json()), 1..3),
    ) {
        for Kind { mut good, read, .. } in kinds() {
            for (index, value) in &changes {
                let places = places(&good);
                let place = &places[index.index(places.len())];
                *good.pointer_mut(place).unwrap() = value.clone();
            }
            // What is read at all is what is written again.
            if let Ok(found) = read(&good) {
                prop_assert_eq!(read(&found).unwrap(), found);
            }
        }
    }

    #[test]
    fn noise_does_not_panic(noise in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Keys::open(&noise);
        let _ = Head::open(&noise, &PUBLISHER.keys);
        let _ = Manifest::parse(&noise);
        let text = String::from_utf8_lossy(&noise);
        let _ = PublicKey::parse(&text);
        let unsigned = Envelope { kind: head::TYPE.into(), payload: String::new(), signature: text.into_owned() };
        let _ = Head::open(&unsigned.to_bytes(), &PUBLISHER.keys);
    }
}
