//! The signed documents and the manifest: who may sign what, what later versions may add, and that nothing panics.

#![allow(clippy::unwrap_used)]

mod changes;
mod rules;
mod trust;

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
                    file_system: None,
                },
            },
        ],
        packs: object(),
    }
}

fn why(result: Result<impl std::fmt::Debug>) -> String {
    result.expect_err("this must be refused").to_string()
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
