//! A small LivePC in `tests/golden/`, as an earlier version of this crate published it. Today's reader must read it to
//! the same values, and today's writer must write it to the same bytes, or to the same contents where a compressor
//! has a say. These files change only when the format gets a new major version: whoever has published in it relies on
//! this.
//!
//! `LIVEPC_GOLDEN=write cargo test -p livepc-format --test golden` wrote them.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use livepc_format::feed::{
    Catalog, CatalogEntry, Feed, FeedEntry, read_catalog, read_feed, write_catalog, write_feed,
};
use livepc_format::head::{FetchBytes, ReleaseState};
use livepc_format::index::{
    BootChunk, BootExtent, BootMap, ChunkTable, DiskRoot, Extent, ObjectRef, PackList, PackRef, PackSource,
    PageDigest, Shard, ShardRef, decode_pages, encode_pages,
};
use livepc_format::limits::OBJECT_BYTES;
use livepc_format::machine::{Controller, Firmware, GuestOs, HypervisorKind, Machine, Network, Nic};
use livepc_format::manifest::{Content, Disk, Licence, Region};
use livepc_format::{
    Digest, Head, Keys, Manifest, PackId, Release, SecretKey, compress_chunk, decompress_chunk, paths,
};
use url::Url;

const PAGE: usize = 4096;
/// The disk: 63 sectors before a partition, 600 in it. The last page of each region is shorter on the disk.
const REGIONS: [Region; 2] = [
    Region {
        start: 0,
        sectors: 63,
    },
    Region {
        start: 63,
        sectors: 600,
    },
];

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(golden().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn line(name: &str) -> String {
    String::from_utf8(read(name)).unwrap().trim_end().to_owned()
}

fn key(name: &str) -> SecretKey {
    let text = String::from_utf8(read(name)).unwrap();
    SecretKey::from_file_text(&text, None).unwrap()
}

fn time(text: &str) -> jiff::Timestamp {
    text.parse().unwrap()
}

fn base() -> Url {
    "https://golden.example/lab/feed.xml".parse().unwrap()
}

/// The disk's bytes: every third page of a region is zero, the others are lines that say where they are.
fn disk() -> Vec<u8> {
    let mut disk = Vec::new();
    for (number, region) in REGIONS.iter().enumerate() {
        let mut bytes = Vec::new();
        for page in 0..region.pages() {
            if page % 3 == 2 {
                bytes.resize(bytes.len() + PAGE, 0);
            } else {
                let lines = (0..256_u64).map(|line| format!("{number:03}{page:06}{:06}\n", line * page));
                bytes.extend(lines.flat_map(String::into_bytes));
            }
        }
        bytes.truncate(region.len() as usize);
        disk.extend(bytes);
    }
    disk
}

/// Page `page` of a region, padded with zeros.
fn page(disk: &[u8], region: &Region, page: u64) -> Vec<u8> {
    let end = (region.offset() + region.len()) as usize;
    let start = (region.offset() + page * PAGE as u64) as usize;
    let mut bytes = disk[start..end.min(start + PAGE)].to_vec();
    bytes.resize(PAGE, 0);
    bytes
}

/// A LivePC's files by name, and what is in them.
struct Published {
    files: BTreeMap<String, Vec<u8>>,
    keys: Keys,
    head: Head,
    manifest: Manifest,
    root: DiskRoot,
    shards: Vec<Shard>,
    packs: PackList,
    boot_map: BootMap,
    table: ChunkTable,
    pages: Vec<PageDigest>,
    feed: Feed,
    catalog: Catalog,
}

/// Publishes the disk, in the simplest way that the format allows.
fn publish() -> Published {
    let mut files = BTreeMap::new();
    let disk = disk();
    let (root_key, signing_key) = (key("root.key"), key("signing.key"));
    let keys = Keys::new(
        root_key.public_key().unwrap(),
        "golden-lab",
        signing_key.public_key().unwrap(),
        time("2026-11-01T08:00:00Z"),
    );

    // Pages that are not zero, in disk order, and where they lie.
    let mut new = Vec::new();
    let mut extents = vec![Vec::<Extent>::new(); REGIONS.len()];
    for (region, extents) in REGIONS.iter().zip(&mut extents) {
        for number in 0..region.pages() {
            let bytes = page(&disk, region, number);
            if bytes.iter().all(|&byte| byte == 0) {
                continue;
            }
            let (place, number) = (new.len() as u32, number as u32);
            match extents.last_mut() {
                Some(last) if last.page + last.len == number => last.len += 1,
                _ => extents.push(Extent {
                    page: number,
                    len: 1,
                    pack: 0,
                    first_page: place,
                }),
            }
            new.push(bytes);
        }
    }
    let (mut pack, mut entries) = (Vec::new(), Vec::new());
    for chunk in new.chunks(40) {
        let (stored, entry) = compress_chunk(&chunk.concat(), 9).unwrap();
        pack.extend(stored);
        entries.push(entry);
    }
    let (table, table_bytes) = ChunkTable::build(&entries).unwrap();
    let id = table.id();
    let pages: Vec<PageDigest> = new
        .iter()
        .map(|page| Digest::of(page).as_bytes()[..16].try_into().unwrap())
        .collect();
    let (page_list, page_list_digest) = encode_pages(&pages);
    files.insert(paths::object(&id.0), table_bytes);
    files.insert(paths::page_list(&id), page_list);

    let mut object = |written: livepc_format::Result<(Vec<u8>, ObjectRef)>| {
        let (bytes, object) = written.unwrap();
        files.insert(paths::object(&object.digest), bytes);
        object
    };
    let shards: Vec<Shard> = extents
        .into_iter()
        .map(|extents| Shard {
            packs: vec![id],
            extents,
        })
        .collect();
    let shard_refs = shards.iter().enumerate().map(|(region, shard)| ShardRef {
        region: region as u32,
        number: 0,
        object: object(shard.encode()),
    });
    let root = DiskRoot {
        shards: shard_refs.collect(),
    };
    let packs = PackList {
        packs: vec![PackRef {
            id,
            stored: pack.len() as u64,
            pages: table.pages(),
            page_list: page_list_digest,
            sources: vec![PackSource {
                pack: PackId(Digest::of(b"an older pack")),
                first_page: 5,
                to_page: 2,
                len: 3,
            }],
        }],
    };
    let boot_map = BootMap {
        packs: vec![id],
        chunks: table.chunks()[..1]
            .iter()
            .map(|&chunk| BootChunk { pack: 0, chunk })
            .collect(),
        // The partition's first two pages, then the disk's first.
        extents: [(1, 0, 2, shards[1].extents[0].first_page), (0, 0, 1, 0)]
            .map(|(region, page, len, first_page)| BootExtent {
                disk: 0,
                region,
                page,
                len,
                pack: 0,
                first_page,
            })
            .to_vec(),
    };
    let index = object(root.encode());
    let packs_object = object(packs.encode());
    let boot_object = object(boot_map.encode());
    files.insert(paths::pack(&id), pack);

    let manifest = Manifest {
        version: 1,
        requires: vec![],
        livepc: keys.livepc(),
        sequence: 1,
        label: "2026.11".into(),
        title: "Golden lab".into(),
        created: time("2026-11-01T09:00:00Z"),
        previous: None,
        changelog: "The first release.\nIt has two lines.".into(),
        licence: Some(Licence {
            spdx: Some("CC0-1.0".into()),
            text: None,
            redistributable: true,
        }),
        machine: Machine {
            guest_os: GuestOs::Linux,
            guest_os_name: "Golden Linux 1".into(),
            cpus: 2,
            memory: 256 << 20,
            firmware: Firmware::Bios,
            network: Network::Nat,
            nic: Nic::E1000,
            sound: true,
            usb: true,
            hypervisors: vec![HypervisorKind::Qemu, HypervisorKind::Vmware],
            ..Machine::default()
        },
        disks: vec![
            Disk {
                role: "system".into(),
                size: disk.len() as u64,
                controller: Controller::Virtio,
                content: Content::Published {
                    regions: REGIONS.to_vec(),
                    index,
                    stored: table.stored(),
                },
            },
            Disk {
                role: "user".into(),
                size: 1 << 30,
                controller: Controller::Virtio,
                content: Content::User {
                    label: Some("data".into()),
                    file_system: None,
                },
            },
        ],
        packs: packs_object,
    };
    let (manifest_bytes, manifest_digest) = manifest.to_bytes().unwrap();
    let head = Head {
        version: 1,
        requires: vec![],
        livepc: keys.livepc(),
        epoch: 1,
        revision: 1,
        issued: time("2026-11-01T10:00:00Z"),
        expires: Some(time("2027-11-01T10:00:00Z")),
        mirrors: vec!["https://mirror.example/lab/".parse().unwrap()],
        releases: vec![Release {
            sequence: 1,
            label: "2026.11".into(),
            created: time("2026-11-01T09:00:00Z"),
            manifest: manifest_digest,
            manifest_bytes: manifest_bytes.len() as u64,
            channel: "stable".into(),
            state: ReleaseState::Current,
            gone_after: None,
            boot_map: Some(boot_object),
            bytes: FetchBytes {
                new: 5000,
                boot_ready: 3000,
                from: BTreeMap::new(),
            },
            patches: vec![],
        }],
    };
    files.insert(paths::manifest(&manifest_digest), manifest_bytes);
    files.insert(paths::KEYS.into(), keys.seal(&root_key).unwrap());
    files.insert(paths::HEAD.into(), head.seal(&signing_key).unwrap());

    let updated = Some(time("2026-11-01T10:00:00Z"));
    let feed = Feed {
        title: "Golden lab".into(),
        summary: "A disk of 663 sectors".into(),
        publisher: "Golden & Sons".into(),
        logo: Some(base().join("logo.png").unwrap()),
        updated,
        categories: vec!["example".into()],
        head: base().join(paths::HEAD).unwrap(),
        address: None,
        moved_to: None,
        entries: vec![FeedEntry {
            id: format!("urn:livepc:{}:1", keys.livepc()),
            label: "2026.11".into(),
            updated,
            changelog: manifest.changelog.clone(),
        }],
    };
    let catalog = Catalog {
        title: "Golden library".into(),
        entries: vec![CatalogEntry {
            title: feed.title.clone(),
            summary: feed.summary.clone(),
            description: "Lines that say where they are.\n\nNothing else.".into(),
            publisher: feed.publisher.clone(),
            feed: base(),
            thumbnail: feed.logo.clone(),
            categories: feed.categories.clone(),
            guest_os: Some(GuestOs::Linux),
            updated,
            boot_ready_bytes: Some(3000),
            full_bytes: Some(5000),
        }],
    };
    files.insert(paths::FEED.into(), write_feed(keys.livepc(), &feed, &base()));
    files.insert("catalog.xml".into(), write_catalog(&catalog, None));
    Published {
        files,
        keys,
        head,
        manifest,
        root,
        shards,
        packs,
        boot_map,
        table,
        pages,
        feed,
        catalog,
    }
}

#[test]
fn todays_writer_writes_the_same() {
    let today = publish();
    if std::env::var_os("LIVEPC_GOLDEN").is_some_and(|what| what == "write") {
        for (name, bytes) in &today.files {
            let path = golden().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        let digest = Digest::of(&disk()).to_string() + "\n";
        std::fs::write(golden().join("disk.sha256"), digest).unwrap();
    }
    // zstd may compress otherwise one day, which changes digests, and so everything that names them: then only what
    // is not compressed is compared here, and contents by `todays_reader_reads_the_same`.
    let same_zstd = today.files.keys().all(|name| golden().join(name).exists());
    let plain = [paths::KEYS, paths::FEED, "catalog.xml"];
    for (name, bytes) in &today.files {
        if same_zstd || plain.contains(&name.as_str()) {
            assert_eq!(unsigned(name, bytes), unsigned(name, &read(name)), "{name}");
        }
    }
}

/// A file as text, without its signature, which is another one each time.
fn unsigned(name: &str, bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    if matches!(name, paths::KEYS | paths::HEAD) {
        let begin = text.find("\"signature\"").expect("it is signed");
        text.truncate(begin);
    }
    text
}

/// Reads the files as a subscriber does, with nothing but the root key's fingerprint to begin with.
#[test]
fn todays_reader_reads_the_same() {
    let expected = publish();
    let keys = Keys::open(&read(paths::KEYS)).unwrap();
    assert_eq!(keys, expected.keys);
    assert_eq!(keys.root.fingerprint().to_string(), line("fingerprint.txt"));
    assert_eq!(keys.livepc().to_string(), line("livepc.txt"));

    let head = Head::open(&read(paths::HEAD), &keys).unwrap();
    let release = head.newest("stable").expect("a release").clone();
    let manifest_bytes = read(&paths::manifest(&release.manifest));
    let manifest = Manifest::open(&manifest_bytes, keys.livepc(), &release).unwrap();
    let object = |object: &ObjectRef| read(&paths::object(&object.digest));

    let Content::Published {
        regions,
        index,
        stored,
    } = &manifest.disks[0].content
    else {
        panic!("the system disk is published");
    };
    let root = DiskRoot::decode(&object(index), index).unwrap();
    root.check_fits(regions).unwrap();
    let packs = PackList::decode(&object(&manifest.packs), &manifest.packs).unwrap();
    let boot_object = release.boot_map.expect("a boot map");
    let boot_map = BootMap::decode(&object(&boot_object), &boot_object).unwrap();
    boot_map.check_fits(&manifest.disks).unwrap();

    let mut pages = BTreeMap::new();
    for pack in &packs.packs {
        let table = ChunkTable::open(&read(&paths::object(&pack.id.0)), pack.id).unwrap();
        let bytes = read(&paths::pack(&pack.id));
        assert_eq!((bytes.len() as u64, table.pages()), (pack.stored, pack.pages));
        let list = decode_pages(&read(&paths::page_list(&pack.id)), &pack.page_list).unwrap();
        for chunk in table.chunks() {
            let stored = &bytes[chunk.offset as usize..chunk.end_offset() as usize];
            let content = decompress_chunk(stored, &chunk.entry).unwrap();
            for (number, page) in (chunk.first_page..).zip(content.chunks(PAGE)) {
                assert_eq!(
                    Digest::of(page).as_bytes()[..16],
                    list[number as usize],
                    "page list"
                );
                pages.insert((pack.id, number), page.to_vec());
            }
        }
    }
    let mut found = Vec::new();
    for (number, region) in regions.iter().enumerate() {
        let mut bytes = vec![0; region.pages() as usize * PAGE];
        let name = root.shard(number as u32, 0).expect("a shard");
        let shard = Shard::decode(&object(name), name).unwrap();
        shard.check_fits(region.pages()).unwrap();
        for extent in &shard.extents {
            for n in 0..extent.len {
                let page = &pages[&(shard.packs[extent.pack as usize], extent.first_page + n)];
                let at = (extent.page + n) as usize * PAGE;
                bytes[at..at + PAGE].copy_from_slice(page);
            }
        }
        bytes.truncate(region.len() as usize);
        found.extend(bytes);
        assert_eq!(shard.extents, expected.shards[number].extents);
    }
    assert!(found == disk(), "the disk's bytes");
    assert_eq!(Digest::of(&found).to_string(), line("disk.sha256"));
    assert_eq!(
        found.len() as u64,
        manifest.disks[0].size,
        "regions cover the disk"
    );

    // What a compressor has no say in.
    assert_eq!(*stored, packs.packs[0].stored);
    assert_eq!(boot_map.extents, expected.boot_map.extents);
    assert_eq!(packs.packs[0].sources, expected.packs.packs[0].sources);
    assert_eq!(packs.packs[0].page_list, expected.packs.packs[0].page_list);
    assert_eq!(expected.pages.len(), packs.packs[0].pages as usize);
    let without = |mut manifest: Manifest| {
        manifest.packs = expected.manifest.packs;
        manifest.disks[0].content = Content::User {
            label: None,
            file_system: None,
        };
        manifest
    };
    assert_eq!(without(manifest), without(expected.manifest.clone()));
    let without = |mut head: Head| {
        head.releases[0].manifest = Digest::of(b"");
        head.releases[0].manifest_bytes = 0;
        head.releases[0].boot_map = None;
        head
    };
    assert_eq!(without(head), without(expected.head.clone()));
    let contents = |table: &ChunkTable| -> Vec<_> {
        let entries = table.chunks().iter();
        entries
            .map(|c| (c.first_page, c.entry.pages, c.entry.content_digest))
            .collect()
    };
    let id = packs.packs[0].id;
    let table = ChunkTable::open(&read(&paths::object(&id.0)), id).unwrap();
    assert_eq!(contents(&table), contents(&expected.table));
    assert_eq!(root.shards.len(), expected.root.shards.len());

    assert_eq!(read_feed(&read(paths::FEED), &base()).unwrap(), expected.feed);
    assert_eq!(
        read_catalog(&read("catalog.xml"), &base()).unwrap(),
        expected.catalog
    );
}

/// The bodies of objects, as they are before compression: byte for byte what `FORMAT.md` says.
#[test]
fn bodies_are_what_the_specification_says() {
    let body = |written: livepc_format::Result<(Vec<u8>, ObjectRef)>| {
        zstd::bulk::decompress(&written.unwrap().0, OBJECT_BYTES as usize).unwrap()
    };
    let extent = |page, len, pack, first_page| Extent {
        page,
        len,
        pack,
        first_page,
    };
    let shard = Shard {
        packs: [0xaa, 0xcc]
            .map(|byte| PackId(Digest::from_bytes([byte; 32])))
            .to_vec(),
        extents: vec![extent(300, 2, 0, 7), extent(302, 1, 1, 5), extent(303, 1, 0, 9)],
    };
    // Gap 300, 2 pages, pack 0, +7; gap 0, 1 page, pack 1, 5 - 9 = -4; gap 0, 1 page, pack 0, 9 - 6 = +3.
    let expected = [
        &b"LPXS\x01\x02"[..],
        &[0xaa; 32],
        &[0xcc; 32],
        b"\x03\xac\x02\x02\x00\x0e\x00\x01\x01\x07\x00\x01\x00\x06",
    ];
    assert_eq!(body(shard.encode()), expected.concat());

    let object = ObjectRef {
        digest: Digest::from_bytes([0xbb; 32]),
        stored: 200,
        size: 1000,
    };
    let root = DiskRoot {
        shards: vec![ShardRef {
            region: 1,
            number: 2,
            object,
        }],
    };
    let expected = [&b"LPDR\x01\x01\x01\x02"[..], &[0xbb; 32], b"\xc8\x01\xe8\x07"];
    assert_eq!(body(root.encode()), expected.concat());
}
