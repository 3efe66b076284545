//! LivePCs that look the same to a person, although their publishers' keys differ: by the same title, or by characters that
//! look like others or like nothing. Whoever shows them shows their keys too.

use std::collections::{HashMap, HashSet};

use icu_properties::CodePointSetData;
use icu_properties::props::DefaultIgnorableCodePoint;
use livepc_protocol::{LibraryEntry, LivePc, Lookalike};

use crate::subscription::Subscription;

/// What titles that look the same have in common: Unicode's skeleton (UTS 39), without what is not seen, without spaces and
/// without regard to case.
fn skeleton(title: &str) -> String {
    let invisible = CodePointSetData::new::<DefaultIgnorableCodePoint>();
    let seen = |text: &str| -> String {
        text.chars()
            .filter(|c| !invisible.contains(*c) && !c.is_whitespace())
            .collect()
    };
    let bones = |text: &str| -> String { unicode_security::skeleton(&seen(text)).collect() };
    // Small letters look like others than capital ones: `I` is like `l`, `i` is not.
    bones(&bones(title).to_lowercase())
}

/// Marks the subscriptions that look like one with another key.
pub(crate) fn mark(livepcs: &mut [LivePc]) {
    let mut keys: HashMap<String, HashSet<String>> = HashMap::new();
    for livepc in livepcs.iter() {
        let of_title = keys.entry(skeleton(&livepc.title)).or_default();
        of_title.insert(livepc.publisher_key.clone());
    }
    for livepc in livepcs {
        livepc.alike = keys
            .get(&skeleton(&livepc.title))
            .is_some_and(|keys| keys.len() > 1);
    }
}

/// Who has which titles in the Library and among the subscriptions; what has no known key may be of anybody.
pub(crate) struct Owners {
    /// Fingerprints, or addresses of feeds, by the skeleton of a title.
    by_title: HashMap<String, HashSet<String>>,
    /// Fingerprints by the ids of subscriptions.
    keys: HashMap<String, String>,
}

impl Owners {
    pub(crate) fn of(subscriptions: Vec<Subscription>) -> Self {
        let mut owners = Self {
            by_title: HashMap::new(),
            keys: HashMap::new(),
        };
        for subscription in subscriptions {
            let key = subscription.keys.root.fingerprint().to_string();
            let of_title = owners.by_title.entry(skeleton(&subscription.title));
            of_title.or_default().insert(key.clone());
            owners.keys.insert(subscription.id, key);
        }
        owners
    }

    /// Notes an entry of the Library.
    pub(crate) fn add(&mut self, title: &str, feed_url: &str, subscribed: Option<&str>) {
        let key = subscribed.and_then(|id| self.keys.get(id));
        let owner = key.map_or(feed_url, String::as_str).to_owned();
        self.by_title.entry(skeleton(title)).or_default().insert(owner);
    }

    /// The entry with its key, if it is known, and whether others that were noted look like it.
    pub(crate) fn told(&self, entry: LibraryEntry) -> LibraryEntry {
        let owners = self.by_title.get(&skeleton(&entry.title));
        LibraryEntry {
            fingerprint: entry
                .subscribed
                .as_ref()
                .and_then(|id| self.keys.get(id))
                .cloned(),
            alike: owners.is_some_and(|owners| owners.len() > 1),
            ..entry
        }
    }
}

/// The subscription that a LivePC with this title and key would be taken for.
pub(crate) fn of(title: &str, fingerprint: &str, subscriptions: &[Subscription]) -> Option<Lookalike> {
    let bones = skeleton(title);
    subscriptions.iter().find_map(|subscription| {
        let theirs = subscription.keys.root.fingerprint().to_string();
        (theirs != fingerprint && skeleton(&subscription.title) == bones).then(|| Lookalike {
            id: subscription.id.clone(),
            title: subscription.title.clone(),
            fingerprint: theirs,
        })
    })
}

#[cfg(test)]
mod tests {
    use livepc_protocol::MachineState;

    use super::*;
    use crate::pages::tests::livepc;

    #[test]
    fn subscriptions_that_look_the_same_are_marked_if_their_keys_differ() {
        let of = |(number, (title, key)): (usize, (&str, &str))| LivePc {
            title: title.into(),
            publisher_key: key.into(),
            ..livepc(number, MachineState::Stopped, "")
        };
        let titles = [
            ("Net Lab", "one"),
            ("N\u{435}t\u{200b} Lab", "two"),
            ("Other Lab", "one"),
            ("other lab", "one"),
        ];
        let mut livepcs: Vec<LivePc> = titles.into_iter().enumerate().map(of).collect();
        mark(&mut livepcs);
        let marked: Vec<bool> = livepcs.iter().map(|livepc| livepc.alike).collect();
        assert_eq!(
            marked,
            [true, true, false, false],
            "one publisher may have two of a name"
        );
    }

    #[test]
    fn entries_of_the_library_that_look_the_same_are_marked_if_they_are_of_several() {
        let entry = |title: &str, feed_url: &str| LibraryEntry {
            feed_url: feed_url.into(),
            title: title.into(),
            summary: String::new(),
            description: String::new(),
            publisher: String::new(),
            categories: Vec::new(),
            guest_os: String::new(),
            boot_ready_bytes: None,
            full_bytes: None,
            source: String::new(),
            subscribed: None,
            fingerprint: None,
            alike: false,
        };
        let mut owners = Owners::of(Vec::new());
        let entries = [
            entry("Net Lab", "https://a.example/f"),
            entry("net lab", "https://b.example/f"),
            entry("Other", "https://a.example/o"),
            entry("Other", "https://a.example/o"),
        ];
        for entry in &entries {
            owners.add(&entry.title, &entry.feed_url, None);
        }
        let told = entries.map(|entry| owners.told(entry).alike);
        assert_eq!(told, [true, true, false, false], "two catalogs may list the same");
    }

    #[test]
    fn what_looks_the_same_has_one_skeleton() {
        for (one, other) in [
            ("Net Lab", "Net Lab"),
            ("Net Lab", "net  lab"),
            ("Net Lab", "Net\u{200b} Lab"),
            ("Net Lab", "N\u{435}t Lab"),
            ("Net Lab", "Net La\u{2060}b\u{ad}"),
            ("Paypal", "Payp\u{430}l"),
            ("Illinois", "lllinois"),
            ("r\u{e9}seau", "re\u{301}seau"),
            ("Lab 10", "Lab 1O"),
            ("Net Lab", "N\u{ff45}t Lab"),
            ("Net Lab", "Net\u{3164}Lab"),
        ] {
            assert_eq!(skeleton(one), skeleton(other), "{one} and {other}");
        }
        for (one, other) in [
            ("Net Lab", "Net Lab 2"),
            ("Debian 12", "Debian 13"),
            ("Lab", "Labs"),
        ] {
            assert_ne!(skeleton(one), skeleton(other), "{one} and {other}");
        }
    }
}
