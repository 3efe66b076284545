//! Who may sign what.

use super::*;

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
            Err(FormatError::Instead { .. })
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
