//! What hostile documents can make a reader allocate is bounded by the size of what was sent, or by a fixed limit.
//!
//! One test, so that nothing else allocates meanwhile.

#![allow(clippy::unwrap_used)]
// A counting allocator is an unsafe trait; it forwards to the system's.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use livepc_format::index::{BootMap, ChunkEntry, ChunkTable, DiskRoot, ObjectRef, PackList, Shard};
use livepc_format::{
    Digest, Envelope, Head, Keys, Manifest, PackId, SecretKey, decompress_chunk, feed, head, limits,
};

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator with the same arguments.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(now, Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const MIB: usize = 1 << 20;

/// Runs `read`, which must allocate at most `limit` bytes at a time.
fn within<T>(what: &str, limit: usize, read: impl FnOnce() -> T) -> T {
    let before = NOW.load(Relaxed);
    PEAK.store(before, Relaxed);
    let result = read();
    let used = PEAK.load(Relaxed).saturating_sub(before);
    println!("{what}: {} KiB", used >> 10);
    assert!(
        used <= limit,
        "{what}: {used} bytes instead of {limit} at the most"
    );
    result
}

fn store(body: &[u8], size: u64) -> (Vec<u8>, ObjectRef) {
    let stored = zstd::bulk::compress(body, 1).unwrap();
    let object = ObjectRef {
        digest: Digest::of(&stored),
        stored: stored.len() as u64,
        size,
    };
    (stored, object)
}

#[test]
fn memory_is_bounded() {
    objects();
    chunks();
    documents();
    feeds();
}

fn objects() {
    type Read = fn(&[u8], &ObjectRef) -> bool;
    let kinds: [(&[u8; 5], Read); 4] = [
        (b"LPXS\x01", |bytes, object| Shard::decode(bytes, object).is_ok()),
        (b"LPDR\x01", |bytes, object| {
            DiskRoot::decode(bytes, object).is_ok()
        }),
        (b"LPPL\x01", |bytes, object| {
            PackList::decode(bytes, object).is_ok()
        }),
        (b"LPBM\x01", |bytes, object| {
            BootMap::decode(bytes, object).is_ok()
        }),
    ];
    for (letters, read) in kinds {
        let name = String::from_utf8_lossy(&letters[..4]).into_owned();
        // Counts that promise far more than is there.
        for count in [
            &b"\xff\x7f"[..],
            b"\x80\x80\x10",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        ] {
            let body = [&letters[..], count].concat();
            let (stored, object) = store(&body, body.len() as u64);
            let ok = within(&format!("{name} with a false count"), MIB, || {
                read(&stored, &object)
            });
            assert!(!ok, "there are no entries");
        }
        // Few bytes that become many: as many as were announced, and they are bounded.
        let body = vec![0; 200 * MIB];
        let (stored, object) = store(&body, 200 << 20);
        assert!(stored.len() < MIB, "it looks harmless");
        assert!(!within(&format!("{name} of 200 MiB"), MIB, || read(
            &stored, &object
        )));
        let announced = ObjectRef { size: 1000, ..object };
        assert!(!within(
            &format!("{name} of 200 MiB instead of 1 KB"),
            MIB,
            || read(&stored, &announced)
        ));
    }
    let promises = b"LPCT\x01\x00\x00\x01\x00";
    let table = within("a chunk table with a false count", MIB, || {
        ChunkTable::open(promises, PackId(Digest::of(promises)))
    });
    assert!(table.is_err());
}

fn chunks() {
    let bomb = zstd::bulk::compress(&vec![0; 200 * MIB], 1).unwrap();
    let entry = ChunkEntry {
        stored: bomb.len() as u32,
        pages: 64,
        stored_digest: Digest::of(&bomb),
        content_digest: Digest::of(b""),
    };
    assert!(bomb.len() < limits::CHUNK_STORED as usize, "it looks harmless");
    assert!(within("a chunk of 200 MiB", MIB, || decompress_chunk(&bomb, &entry)).is_err());
}

fn documents() {
    let key = SecretKey::generate().unwrap();
    let now = jiff::Timestamp::UNIX_EPOCH;
    let keys = Keys::new(key.public_key().unwrap(), "x", key.public_key().unwrap(), now);
    let head = |fields: &str| {
        let text = format!(
            r#"{{"version":1,"livepc":"{}","epoch":1,"revision":1,"issued":"{now}",{fields}}}"#,
            keys.livepc()
        );
        Envelope::sign(head::TYPE, text, &key).unwrap().to_bytes()
    };
    let digest = Digest::of(b"");
    for (what, fields) in [
        ("empty strings", format!(r#""requires":["{}"],"releases":[]"#, r#"",""#.repeat(400_000))),
        ("deep nesting", format!(r#""x":{}"#, "[".repeat(1_000_000))),
        (
            "earlier releases",
            format!(
                r#""releases":[{{"sequence":1,"label":"x","created":"{now}","manifest":"{digest}","manifest_bytes":1,
                   "bytes":{{"new":1,"boot_ready":1,"from":{{{}"0":0}}}}}}]"#,
                (1..20_000).map(|n| format!(r#""{n}":1,"#)).collect::<String>()
            ),
        ),
        (
            "releases",
            format!(
                r#""releases":[{}]"#,
                vec![
                    format!(
                        r#"{{"sequence":1,"label":"x","created":"{now}","manifest":"{digest}","manifest_bytes":1,"bytes":{{"new":1,"boot_ready":1}}}}"#
                    );
                    5_000
                ]
                .join(",")
            ),
        ),
    ] {
        let bytes = head(&fields);
        assert!(bytes.len() as u64 <= limits::HEAD_BYTES, "{what}: {} bytes", bytes.len());
        let limit = 16 * bytes.len();
        let read = within(&format!("a head of {what}"), limit, || Head::open(&bytes, &keys));
        assert!(read.is_err(), "{what} must be refused");
    }
    let disks = format!(
        r#"{{"version":1,"disks":[{}]}}"#,
        vec![r#"{"a":[0,0,0]}"#; 60_000].join(",")
    );
    within("a manifest", 16 * limits::MANIFEST_BYTES as usize, || {
        Manifest::parse(disks.as_bytes()).unwrap_err()
    });
}

fn feeds() {
    let base = "https://example.org/feed.xml".parse().unwrap();
    let atom = |inside: &str| {
        format!(
            "<feed xmlns='http://www.w3.org/2005/Atom' xmlns:media='http://search.yahoo.com/mrss/'><entry>\
             <link type='application/atom+xml' href='a'/>{inside}</entry></feed>"
        )
    };
    let x = "x".repeat(MIB);
    for (what, document) in [
        ("a long title", atom(&format!("<title>{x}</title>"))),
        (
            "quotes",
            atom(&format!("<content><![CDATA[{}]]></content>", "\"".repeat(MIB)).repeat(7)),
        ),
        (
            "many quotes",
            atom(&format!("<id>{}</id>", "\"".repeat(30_000)).repeat(100)),
        ),
        ("many categories", atom(&"<category term=''/>".repeat(50_000))),
        ("many links", atom(&"<link href=''/>".repeat(50_000))),
        ("many entries", atom(&"</entry><entry>".repeat(10_000))),
        (
            "one media title for many",
            atom(&format!(
                "<media:title>{x}</media:title>{}",
                "<media:group><media:content url='a:b'/></media:group>".repeat(20_000)
            )),
        ),
        (
            "one base for many",
            atom(&"<link href='a'/>".repeat(20_000))
                .replace("<entry>", &format!("<entry xml:base='http://a/{x}'>")),
        ),
        (
            "one author for many",
            atom(&"</entry><entry>".repeat(10_000)).replacen(
                "<entry>",
                &format!("<author><name>{x}</name></author><entry>"),
                1,
            ),
        ),
    ] {
        assert!(
            document.len() as u64 <= limits::CATALOG_BYTES,
            "{what}: {} bytes",
            document.len()
        );
        let read = within(&format!("a catalog with {what}"), 32 * MIB, || {
            feed::read_catalog(document.as_bytes(), &base)
        });
        read.unwrap_or_else(|e| panic!("{what}: {e}"));
    }
}
