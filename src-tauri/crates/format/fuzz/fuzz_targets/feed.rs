//! Feeds and catalogs: nothing panics, and what is read is read the same once it was written.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use livepc_format::feed::{Source, read, read_catalog, read_feed, write_catalog, write_feed};
use livepc_format::{Digest, LivePcId};
use url::Url;

static BASE: LazyLock<Url> = LazyLock::new(|| "https://example.org/lab/feed.xml".parse().expect("a URL"));

/// What HTTP may say of the encoding; the first byte of the data chooses.
const CHARSETS: [Option<&str>; 8] = [
    None,
    Some("utf-8"),
    Some("iso-8859-1"),
    Some("utf-16"),
    Some("shift_jis"),
    Some("iso-2022-jp"),
    Some("gb18030"),
    Some("nonsense"),
];

fuzz_target!(|data: &[u8]| {
    let base = &*BASE;
    let (charset, data) = match data.split_first() {
        Some((first, rest)) => (CHARSETS[usize::from(*first) % CHARSETS.len()], rest),
        None => (None, data),
    };
    match read(data, charset, base) {
        Ok(Source::Feed(mut feed)) => {
            feed.moved_to = None;
            let bytes = write_feed(LivePcId(Digest::of(b"")), &feed, base);
            assert_eq!(read_feed(&bytes, base).expect("it was written"), feed);
        }
        Ok(Source::Catalog(catalog)) => {
            let bytes = write_catalog(&catalog, Some(base));
            assert_eq!(read_catalog(&bytes, base).expect("it was written"), catalog);
        }
        Err(_) => {}
    }
});
