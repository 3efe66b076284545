//! Publishing into a folder, read back by a reader of its own.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it should be"
)]

mod support;

use std::collections::BTreeMap;
use std::fs;

use livepc_format::limits;
use livepc_format::manifest::Content;
use livepc_publish::{PublishError, PublishOptions};
use proptest::prelude::*;
use support::{MIB, PAGE, Publisher, Site, files, new_keys, noise, put_mbr};

/// Publishes a disk, reads it back, and checks all that can be checked of it.
fn round_trip(disk: &[u8]) -> (Publisher, Site) {
    let publisher = Publisher::new(disk);
    let published = publisher.publish().unwrap();
    let site = Site::open(publisher.site());
    assert!(published.changed && published.sequence == 1);
    let parts = site.read(1);
    assert!(parts.disks[0] == disk, "what is read back is what was published");
    site.check_bytes(1);
    assert_eq!(published.fetch, site.release(1).bytes);
    (publisher, site)
}

fn regions(site: &Site, sequence: u64) -> Vec<(u64, u64)> {
    match &site.read(sequence).manifest.disks[0].content {
        Content::Published { regions, .. } => regions.iter().map(|r| (r.start, r.sectors)).collect(),
        Content::User { .. } => panic!("the system disk is published"),
    }
}

#[test]
fn a_disk_without_partitions_comes_back() {
    let mut disk = noise(1, 3 * MIB);
    disk.extend(vec![0; 2 * MIB]);
    disk.extend(noise(2, 5 * 512));
    let (_publisher, site) = round_trip(&disk);
    assert_eq!(regions(&site, 1), [(0, disk.len() as u64 / 512)]);
}

#[test]
fn an_odd_partition_is_a_region_of_its_own() {
    let mut disk = vec![0; 4 * MIB];
    let start = 63 * 512;
    disk[start..start + 2 * MIB].copy_from_slice(&noise(1, 2 * MIB));
    put_mbr(&mut disk, 63, 2 * MIB as u32 / 512);
    let (publisher, site) = round_trip(&disk);
    assert_eq!(regions(&site, 1)[..2], [(0, 63), (63, 2 * MIB as u64 / 512)]);

    // The same partition where today's tools put it: all of its pages are known.
    let mut moved = vec![0; 4 * MIB];
    moved[MIB..3 * MIB].copy_from_slice(&noise(1, 2 * MIB));
    put_mbr(&mut moved, 2048, 2 * MIB as u32 / 512);
    publisher.set_disk(&moved);
    let published = publisher.publish().unwrap();
    assert_eq!(
        (published.pages_known, published.pages_new),
        (2 * MIB as u64 / 4096, 1),
        "only the partition table is new"
    );
    let site = Site::open(publisher.site());
    assert!(site.read(2).disks[0] == moved);
    assert!(site.read(1).disks[0] == disk, "the release before is what it was");
    site.check_bytes(2);
}

#[test]
fn extreme_disks_come_back() {
    let (_publisher, site) = round_trip(&[7; 512]);
    assert_eq!(site.read(1).chunks.len(), 1);
    let (publisher, site) = round_trip(&vec![0; 3 * MIB]);
    let parts = site.read(1);
    assert!(parts.chunks.is_empty(), "an empty disk has no chunks");
    assert!(!publisher.site().join("packs").exists(), "nor packs");
    round_trip(&[0; 512]);
}

#[test]
fn equal_pages_are_stored_once() {
    let page = noise(1, PAGE);
    let mut disk = page.repeat(200);
    disk.extend(noise(2, 10 * PAGE));
    disk.extend(page.repeat(7));
    let (publisher, site) = round_trip(&disk);
    let list = files(&publisher.site().join("packs"));
    let pages = list.iter().find(|(name, _)| name.ends_with(".pages")).unwrap();
    assert_eq!(pages.1.len(), 11 * 16, "eleven different pages");
    assert_eq!(site.read(1).chunks.len(), 1);
}

#[test]
fn packs_are_split_and_bounded() {
    let mut disk = Vec::new();
    for seed in 0..40 {
        disk.extend(noise(seed, MIB));
    }
    let publisher = Publisher::new(&disk);
    let mut options = publisher.options();
    options.level = 1;
    let published = publisher.publish_with(&options).unwrap();
    assert!(
        published.packs > 1,
        "{} bytes fill more than one pack",
        published.pack_bytes
    );
    for (name, bytes) in files(&publisher.site().join("packs")) {
        assert!(bytes.len() as u64 <= limits::PACK_STORED, "{name}");
    }
    let site = Site::open(publisher.site());
    assert!(site.read(1).disks[0] == disk);
    site.check_bytes(1);
    let again = Publisher::new(&disk);
    again.publish_with(&options).unwrap();
    let packs = |publisher: &Publisher| files(&publisher.site().join("packs"));
    assert!(
        packs(&publisher) == packs(&again),
        "the same disk gives the same packs, whatever the threads do"
    );
}

/// A disk, and the same disk after an upgrade: some pages changed, some moved, some are new.
fn upgrade() -> (Vec<u8>, Vec<u8>) {
    let mut first = noise(1, 12 * MIB);
    first.extend(vec![0; 4 * MIB]);
    let mut second = first.clone();
    for (place, seed) in [(100, 50), (101, 51), (700, 52), (2222, 53)] {
        second[place * PAGE..][..PAGE].copy_from_slice(&noise(seed, PAGE));
    }
    let (from, to) = second.split_at_mut(12 * MIB);
    to[..MIB].copy_from_slice(&from[3 * MIB..4 * MIB]);
    to[MIB..2 * MIB].copy_from_slice(&noise(60, MIB));
    second[3 * MIB..4 * MIB].fill(0);
    (first, second)
}

#[test]
fn an_update_is_its_new_pages() {
    let (first, second) = upgrade();
    let publisher = Publisher::new(&first);
    publisher.publish().unwrap();
    let before = files(publisher.site());
    publisher.set_disk(&second);
    let published = publisher.publish().unwrap();
    let after = files(publisher.site());
    for (name, bytes) in &before {
        if !matches!(name.as_str(), "head.json" | "feed.xml") {
            assert!(after[name] == *bytes, "{name} has not changed");
        }
    }
    let site = Site::open(publisher.site());
    assert!(site.read(2).disks[0] == second, "release 2 is disk 2");
    assert!(site.read(1).disks[0] == first, "release 1 is disk 1");
    site.check_bytes(1);
    site.check_bytes(2);

    // What the update costs, reckoned from the disks alone.
    let old: std::collections::HashSet<&[u8]> = first.chunks(PAGE).collect();
    let new: Vec<&[u8]> = second
        .chunks(PAGE)
        .filter(|page| !old.contains(page) && page.iter().any(|b| *b != 0))
        .collect();
    assert_eq!(published.pages_new, new.len() as u64);
    let ideal: usize = new
        .chunks(64)
        .map(|group| zstd::bulk::compress(&group.concat(), 9).unwrap().len())
        .sum();
    let written: usize = after
        .iter()
        .filter(|(name, _)| !before.contains_key(*name) && name.ends_with(".pack"))
        .map(|(_, bytes)| bytes.len())
        .sum();
    assert!(
        written as f64 <= 1.10 * ideal as f64,
        "{written} bytes of packs for {ideal} bytes of new pages"
    );
    let from = site.release(2).bytes.from[&1];
    assert!(
        from as f64 <= 1.10 * ideal as f64,
        "{from} bytes with the index, for {ideal} bytes of new pages"
    );
}

#[test]
fn unchanged_gibibytes_keep_their_shards() {
    // Two partitions: the second one does not change.
    let mut disk = vec![0; 8 * MIB];
    put_mbr(&mut disk, 2048, 4096);
    disk[466] = 0x83;
    disk[470..474].copy_from_slice(&8192_u32.to_le_bytes());
    disk[474..478].copy_from_slice(&4096_u32.to_le_bytes());
    disk[MIB..2 * MIB].copy_from_slice(&noise(1, MIB));
    disk[4 * MIB..5 * MIB].copy_from_slice(&noise(2, MIB));
    let publisher = Publisher::new(&disk);
    publisher.publish().unwrap();
    disk[MIB..MIB + PAGE].copy_from_slice(&noise(3, PAGE));
    publisher.set_disk(&disk);
    publisher.publish().unwrap();
    let site = Site::open(publisher.site());
    let (one, two) = (site.read(1), site.read(2));
    let new: Vec<_> = two
        .objects
        .keys()
        .filter(|digest| !one.objects.contains_key(*digest))
        .collect();
    assert_eq!(
        new.len(),
        4,
        "one shard, the disk's root, the list of packs and a chunk table are new: {new:?}"
    );
}

#[test]
fn another_computer_publishes_the_same_release() {
    let (first, second) = upgrade();
    let here = Publisher::new(&first);
    here.publish().unwrap();
    // It has the keys, the disk and what the server has, and nothing else.
    let mut there = Publisher::new(&second);
    fs::create_dir_all(there.site()).unwrap();
    for (name, bytes) in files(here.site()) {
        let path = there.site().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    there.keys = livepc_publish::PublishKeys {
        root: None,
        root_public: here.keys.root_public.clone(),
        signing: here.keys.signing,
        ledger: None,
    };
    there.publish().expect("the root key is not needed any more");
    let here = Publisher {
        keys: there.keys,
        ..here
    };
    here.set_disk(&second);
    here.publish().unwrap();
    let mut of_here = files(here.site());
    let mut of_there = files(there.dest.root());
    // Signatures have a random part.
    for files in [&mut of_here, &mut of_there] {
        files.remove("head.json");
    }
    assert!(of_here == of_there, "both made the same files");
    assert_eq!(Site::open(here.site()).head, Site::open(there.dest.root()).head);
}

#[test]
fn the_same_again_is_no_release() {
    let mut publisher = Publisher::new(&noise(1, MIB));
    publisher.publish().unwrap();
    let before = files(publisher.site());
    let mut options = publisher.options();
    options.changelog = "nothing".into();
    let published = publisher.publish_with(&options).unwrap();
    assert!(!published.changed && published.sequence == 1 && published.bytes_written == 0);
    assert!(files(publisher.site()) == before, "not a byte changed");

    options.label = Some("again".into());
    let published = publisher.publish_with(&options).unwrap();
    assert!(published.changed, "another label asks for a release");
    assert_eq!((published.sequence, published.pages_new), (2, 0));
    options.force = true;
    assert_eq!(publisher.publish_with(&options).unwrap().sequence, 3);
    publisher.project.machine.cpus = 4;
    options.force = false;
    let published = publisher.publish_with(&options).unwrap();
    assert!(published.changed, "another machine is another release");
    let site = Site::open(publisher.site());
    for sequence in 2..=4 {
        assert_eq!(
            site.read(sequence).manifest.previous,
            Some(site.release(sequence - 1).manifest),
            "each manifest names the one before"
        );
        site.check_bytes(sequence);
    }
    assert_eq!(site.head.revision, 4);

    publisher.project.mirrors = vec!["https://mirror.example.org/lab/".parse().unwrap()];
    assert!(!publisher.publish_with(&options).unwrap().changed);
    let site = Site::open(publisher.site());
    assert_eq!(
        (
            site.head.revision,
            site.head.mirrors.len(),
            site.head.releases.len()
        ),
        (5, 1, 4),
        "a new mirror is a new head, not a release"
    );
}

#[test]
fn a_release_tells_the_cost_from_the_newest_ones() {
    let publisher = Publisher::new(&noise(1, PAGE));
    for seed in 1..=18 {
        publisher.set_disk(&noise(seed, PAGE));
        publisher.publish().unwrap();
    }
    let site = Site::open(publisher.site());
    let from = &site.release(18).bytes.from;
    assert!(
        from.keys().copied().eq(2..=17),
        "the 16 before it: {:?}",
        from.keys()
    );
    site.check_bytes(18);
}

#[test]
fn the_feed_tells_the_releases() {
    let mut publisher = Publisher::new(&noise(1, MIB));
    let logo = publisher.dir.path().join("logo");
    fs::write(&logo, b"\x89PNG\r\n\x1a\nrest").unwrap();
    publisher.project.logo = Some(logo);
    publisher.project.summary = "Routers & switches".into();
    let mut options = publisher.options();
    options.label = Some("2026.11".into());
    options.changelog = "First.\nIt works.".into();
    publisher.publish_with(&options).unwrap();
    publisher.set_disk(&noise(2, MIB));
    publisher.publish().unwrap();
    let bytes = fs::read(publisher.site().join("feed.xml")).unwrap();
    let base = "https://example.org/lab/feed.xml".parse().unwrap();
    let feed = livepc_format::feed::read_feed(&bytes, &base).unwrap();
    assert_eq!(feed.title, "Net Lab");
    assert_eq!(feed.summary, "Routers & switches");
    assert_eq!(feed.head.as_str(), "https://example.org/lab/head.json");
    let logo = feed.logo.unwrap();
    let name = logo.path_segments().unwrap().next_back().unwrap();
    assert!(publisher.site().join(name).exists(), "{logo} is there");
    let labels: Vec<_> = feed.entries.iter().map(|entry| entry.label.as_str()).collect();
    assert_eq!(labels, ["2", "2026.11"], "newest first");
    assert_eq!(feed.entries[1].changelog, "First.\nIt works.");

    // A feed that was lost is made good by the next publication, even if that makes no release.
    fs::remove_file(publisher.site().join("feed.xml")).unwrap();
    assert!(!publisher.publish().unwrap().changed);
    assert!(fs::read(publisher.site().join("feed.xml")).unwrap() == bytes);
}

#[test]
fn the_feed_of_a_web_site_is_not_replaced() {
    let publisher = Publisher::new(&noise(1, MIB));
    fs::create_dir_all(publisher.site()).unwrap();
    let place = publisher.site().join("feed.xml");
    let blog = "<feed xmlns=\"http://www.w3.org/2005/Atom\"><title>My blog</title><entry><title>Hi</title></entry></feed>";
    for feed in [blog, "<feed", ""] {
        fs::write(&place, feed).unwrap();
        let refused = publisher.publish();
        assert!(
            matches!(refused, Err(PublishError::FeedForeign { .. })),
            "{feed}: {refused:?}"
        );
        let mut there = files(publisher.site());
        there.remove(".livepc-publish.lock");
        let there: Vec<_> = there
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
            .collect();
        assert_eq!(there, [("feed.xml", feed.as_bytes())], "nothing was written");
    }
    // One that a publication left which did not come to its end.
    fs::remove_file(&place).unwrap();
    publisher.publish().unwrap();
    for unfinished in ["head.json", "keys.json"] {
        fs::remove_file(publisher.site().join(unfinished)).unwrap();
    }
    publisher.publish().unwrap();
}

#[test]
fn a_dry_run_writes_nothing() {
    let publisher = Publisher::new(&noise(1, 2 * MIB));
    let dry = PublishOptions {
        dry_run: true,
        ..publisher.options()
    };
    let told = publisher.publish_with(&dry).unwrap();
    assert!(!publisher.site().exists(), "not even the folder");
    let done = publisher.publish().unwrap();
    assert_eq!(
        (told.bytes_written, &told.fetch, told.chunks),
        (done.bytes_written, &done.fetch, done.chunks),
        "it tells what will be written"
    );
    let before = files(publisher.site());
    publisher.set_disk(&noise(2, 2 * MIB));
    let told = publisher.publish_with(&dry).unwrap();
    assert!(told.changed && told.dry_run && told.sequence == 2);
    assert!(files(publisher.site()) == before, "not a byte changed");
    let done = publisher.publish().unwrap();
    assert_eq!(
        (told.bytes_written, &told.fetch),
        (done.bytes_written, &done.fetch)
    );
}

#[test]
fn several_disks_are_published_together() {
    let mut publisher = Publisher::new(&noise(1, MIB));
    let data = publisher.dir.path().join("data.raw");
    let mut second = noise(1, MIB / 2);
    second.extend(noise(9, MIB));
    fs::write(&data, &second).unwrap();
    for (role, content) in [
        ("data", livepc_publish::ProjectContent::Source(data)),
        (
            "user",
            livepc_publish::ProjectContent::User {
                size: 1 << 30,
                label: None,
                file_system: None,
            },
        ),
    ] {
        publisher.project.disks.push(livepc_publish::ProjectDisk {
            role: role.into(),
            content,
            ..publisher.project.disks[0].clone()
        });
    }
    let published = publisher.publish().unwrap();
    assert_eq!(
        published.pages_repeated,
        MIB as u64 / 2 / 4096,
        "what both disks have is stored once"
    );
    let site = Site::open(publisher.site());
    let parts = site.read(1);
    assert!(parts.disks[0] == noise(1, MIB) && parts.disks[1] == second);
    let roles: Vec<_> = parts.manifest.disks.iter().map(|d| d.role.as_str()).collect();
    assert_eq!(roles, ["system", "data", "user"]);
    site.check_bytes(1);
}

#[test]
fn only_the_publisher_publishes() {
    let publisher = Publisher::new(&noise(1, MIB));
    publisher.publish().unwrap();
    let before = files(publisher.site());
    let refused = |other: &Publisher| match other.publish() {
        Err(error) => {
            assert!(error.is_trust(), "{error}");
            assert!(files(publisher.site()) == before, "not a byte changed");
        }
        Ok(_) => panic!("another's keys must not publish"),
    };
    let at = |disk: &[u8]| {
        let mut other = Publisher::new(disk);
        other.dest = livepc_publish::Folder::new(publisher.site());
        other
    };
    let other = at(&noise(2, MIB));
    refused(&other);
    let mut other = at(&noise(2, MIB));
    other.keys.root_public = publisher.keys.root_public.clone();
    refused(&other);
    let mut other = at(&noise(2, MIB));
    other.keys = new_keys();
    other.project.name = "other".into();
    refused(&other);

    let first = Publisher::new(&noise(1, MIB));
    let keys = livepc_publish::PublishKeys {
        root: None,
        ..first.keys
    };
    let first = Publisher { keys, ..first };
    assert!(
        matches!(first.publish(), Err(PublishError::RootKeyNeeded)),
        "the first publication needs the root key"
    );
    publisher.set_disk(&noise(2, MIB));
    publisher.publish().expect("the publisher itself goes on");
}

#[test]
fn a_forged_destination_is_refused() {
    let publisher = Publisher::new(&noise(1, MIB));
    publisher.publish().unwrap();
    // Half of it is known, so that all of release 1's index is looked at.
    let half = [noise(1, MIB / 2), noise(2, MIB / 2)].concat();
    publisher.set_disk(&half);
    for (name, bytes) in files(publisher.site()) {
        if name.ends_with(".pack") || name.starts_with('.') || name == "feed.xml" {
            continue; // Not read.
        }
        let path = publisher.site().join(&name);
        let mut forged = bytes.clone();
        let middle = forged.len() / 2;
        forged[middle] ^= 1;
        fs::write(&path, &forged).unwrap();
        assert!(publisher.publish().is_err(), "a changed {name} is noticed");
        fs::remove_file(&path).unwrap();
        match publisher.publish() {
            // Without a head it is a first publication, whose packs are there already.
            Ok(published) => assert!(name == "head.json" && published.sequence == 1, "{name}"),
            Err(error) => assert!(
                matches!(error, PublishError::Lost { .. }),
                "a lost {name} is told: {error}"
            ),
        }
        fs::write(&path, &bytes).unwrap();
    }
    assert_eq!(
        publisher.publish().unwrap().sequence,
        2,
        "the true one is accepted"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// A row of releases of small disks: pages come and go, move and repeat; every release stays what it was.
    #[test]
    fn any_row_of_releases_comes_back(
        disks in proptest::collection::vec(proptest::collection::vec(0_u64..40, 1..150), 1..4),
        tail in 0_usize..8,
        start in prop_oneof![Just(None), (1_u32..20).prop_map(Some)],
    ) {
        let build = |pages: &Vec<u64>| {
            let mut disk: Vec<u8> = pages
                .iter()
                .flat_map(|seed| if *seed < 5 { vec![0; PAGE] } else { noise(*seed, PAGE) })
                .collect();
            disk.truncate((disk.len() - tail * 512).max(512));
            if let Some(start) = start.filter(|start| disk.len() / 512 > *start as usize) {
                disk[..512].fill(0);
                let rest = disk.len() as u32 / 512 - start;
                put_mbr(&mut disk, start, rest.div_ceil(2));
            }
            disk
        };
        let disks: Vec<_> = disks.iter().map(build).collect();
        let publisher = Publisher::new(&disks[0]);
        let mut made = BTreeMap::new();
        for disk in &disks {
            publisher.set_disk(disk);
            let published = publisher.publish().unwrap();
            made.insert(published.sequence, disk);
        }
        let site = Site::open(publisher.site());
        for (sequence, disk) in made {
            prop_assert!(&site.read(sequence).disks[0] == disk);
            site.check_bytes(sequence);
        }
    }
}
