//! Signed documents and the manifest: nothing panics, and what is read at all can be written and read again.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use livepc_format::{Envelope, Fingerprint, Head, Keys, Manifest, PublicKey, SecretKey, head, keys};

static KEY: LazyLock<(SecretKey, Keys)> = LazyLock::new(|| {
    let key = SecretKey::generate().expect("a key");
    let public = key.public_key().expect("its public half");
    let keys = Keys::new(public.clone(), "fuzz", public, jiff::Timestamp::UNIX_EPOCH);
    (key, keys)
});

fuzz_target!(|data: &[u8]| {
    let (key, keys) = &*KEY;
    let _ = Keys::open(data);
    let _ = Head::open(data, keys);
    if let Ok(manifest) = Manifest::parse(data) {
        let (bytes, _) = manifest.to_bytes().expect("it was checked");
        assert_eq!(Manifest::parse(&bytes).expect("it was written"), manifest);
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let _ = PublicKey::parse(text);
    let _ = Fingerprint::parse(text);
    // With the id and keys that a signed document must have, so that something gets through.
    let ours = text
        .replace("LIVEPC", &keys.livepc().to_string())
        .replace("KEY", keys.root.as_str());
    let signed = Envelope::sign(head::TYPE, ours.clone(), key).expect("a signature");
    if let Ok(head) = Head::open(&signed.to_bytes(), keys) {
        let bytes = head.seal(key).expect("it was checked");
        assert_eq!(Head::open(&bytes, keys).expect("it was written"), head);
    }
    let signed = Envelope::sign(keys::TYPE, ours, key).expect("a signature");
    let _ = Keys::open(&signed.to_bytes());
    let unsigned = Envelope {
        kind: head::TYPE.into(),
        payload: String::new(),
        signature: text.into(),
    };
    let _ = unsigned.verify("it", &keys.root);
});
