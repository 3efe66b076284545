//! What later versions may add, what damage may change, and what is quoted of it.

use super::*;

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
fn errors_quote_nothing_that_acts() {
    let mut value = serde_json::to_value(manifest()).unwrap();
    value["disks"][0]["content"] = json!("\u{1b}[31mred\u{202e}");
    let error = why(Manifest::parse(value.to_string().as_bytes()));
    assert!(
        error.contains("red") && !error.contains(['\u{1b}', '\u{202e}']),
        "{error:?}"
    );
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
