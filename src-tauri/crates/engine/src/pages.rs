//! Keeping answers within what a message may have: in pages, and snapshots by leaving out what is long.

use livepc_protocol::{Code, PAGE_BYTES, Problem, Snapshot};
use serde::Serialize;

/// Bytes of a snapshot after which long texts are cut.
const SNAPSHOT_BYTES: usize = 2 * PAGE_BYTES;
/// Characters that are left of a text that is cut.
const CUT: usize = 200;

/// The first of these things that have a place in a page together, at least one; and whether there are more.
pub(crate) fn page<T: Serialize>(things: impl IntoIterator<Item = T>) -> (Vec<T>, bool) {
    let (mut page, mut bytes) = (Vec::new(), 0);
    for thing in things {
        bytes += bytes_of(&thing);
        if bytes > PAGE_BYTES && !page.is_empty() {
            return (page, true);
        }
        page.push(thing);
    }
    (page, false)
}

/// The page behind the thing that `is_last` of the page before; where it ends, if there are more, is what `name` says.
///
/// # Errors
/// If that thing is gone: what the list has now may be anywhere.
pub(crate) fn behind<T: Serialize>(
    mut things: Vec<T>,
    after: Option<&str>,
    name: impl Fn(&T) -> &str,
) -> Result<(Vec<T>, Option<String>), Problem> {
    if let Some(after) = after {
        let last = things.iter().position(|thing| name(thing) == after);
        things.drain(..=last.ok_or_else(changed)?);
    }
    let (things, more) = page(things);
    let next = things.last().filter(|_| more).map(|thing| name(thing).to_owned());
    Ok((things, next))
}

/// What is told when a page cannot follow the one before.
pub(crate) fn changed() -> Problem {
    Problem::new(
        Code::Busy,
        "The list has changed while it was read.",
        "Ask for it again.",
    )
}

/// Makes a snapshot that is too large small enough: long texts are cut, and what there is still no place for is only
/// counted. What `List` and `Show` answer has all of it.
pub(crate) fn fit(snapshot: &mut Snapshot) {
    if bytes_of(snapshot) <= SNAPSHOT_BYTES {
        return;
    }
    for livepc in &mut snapshot.livepcs {
        for text in [&mut livepc.summary, &mut livepc.publisher, &mut livepc.title] {
            cut(text);
        }
        livepc.passed_over.iter_mut().for_each(cut);
        livepc.problem.iter_mut().for_each(cut_problem);
    }
    for job in &mut snapshot.jobs {
        cut(&mut job.title);
        job.problem.iter_mut().for_each(cut_problem);
    }
    // What runs is shown in any case.
    let (live, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut snapshot.livepcs)
        .into_iter()
        .enumerate()
        .partition(|(_, livepc)| livepc.state.is_live());
    let all = live.len() + rest.len();
    let (mut shown, _) = page(live);
    shown.extend(page(rest).0);
    shown.sort_by_key(|(place, _)| *place);
    snapshot.omitted = (all - shown.len()) as u64;
    snapshot.livepcs = shown.into_iter().map(|(_, livepc)| livepc).collect();
    snapshot.jobs = page(std::mem::take(&mut snapshot.jobs)).0;
}

fn cut(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(CUT) {
        text.truncate(end);
        text.push('…');
    }
}

fn cut_problem(problem: &mut Problem) {
    cut(&mut problem.message);
    cut(&mut problem.hint);
}

/// The bytes that a thing has in a message.
pub(crate) fn bytes_of(thing: &impl Serialize) -> usize {
    let mut counted = Counted(0);
    // Nothing of what is sent can fail to be written.
    let _ = serde_json::to_writer(&mut counted, thing);
    counted.0
}

struct Counted(usize);

impl std::io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use livepc_protocol::{LivePc, MachineState};

    use super::*;

    #[test]
    fn a_page_has_what_fits_and_at_least_one() {
        let texts: Vec<String> = (0..10).map(|_| "x".repeat(PAGE_BYTES / 3)).collect();
        assert_eq!(page(texts.clone()), (texts[..2].to_vec(), true));
        assert_eq!(page(texts[..2].to_vec()), (texts[..2].to_vec(), false));
        let huge = vec!["x".repeat(2 * PAGE_BYTES)];
        assert_eq!(page(huge.clone()), (huge, false));
    }

    #[test]
    fn pages_follow_each_other_to_the_end() {
        let all: Vec<String> = (0..10)
            .map(|n| format!("{n}{}", "x".repeat(PAGE_BYTES / 3)))
            .collect();
        let (mut seen, mut after) = (Vec::new(), None::<String>);
        loop {
            let (page, next) = behind(all.clone(), after.as_deref(), |text| text).unwrap();
            assert_eq!(page.len(), 2, "what fits");
            seen.extend(page);
            match next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert_eq!(seen, all);
        let gone = behind(all.clone(), Some("gone"), |text| text).unwrap_err();
        assert_eq!(gone.code, Code::Busy);
    }

    /// A LivePC as clients are told of it.
    pub(crate) fn livepc(number: usize, state: MachineState, text: &str) -> LivePc {
        let json = serde_json::json!({
            "id": format!("m{number}"), "title": format!("Machine {number}"), "summary": text, "publisher": "",
            "guest_os": "", "feed_url": "", "publisher_key": "x".repeat(4000), "fingerprint": "", "trust": "verified",
            "boot_ready": false, "complete": false, "has_boot_map": false, "bytes_local": 0, "bytes_total": 0,
            "boot_bytes_local": 0, "boot_bytes_total": 0, "state": state, "policy": "auto", "keep_changes": false,
            "changes_bytes": 0, "suspended_bytes": 0, "machine_bytes": 0,
        });
        let mut livepc: LivePc = serde_json::from_value(json).expect("a LivePC");
        livepc.problem = Some(Problem::new(Code::Failed, text, text));
        livepc
    }

    fn of(livepcs: impl IntoIterator<Item = LivePc>) -> Snapshot {
        Snapshot {
            livepcs: livepcs.into_iter().collect(),
            ..Snapshot::default()
        }
    }

    /// Whoever has many subscriptions, or some with long texts, still sees those that run, and the window still opens.
    #[test]
    fn a_snapshot_is_never_larger_than_a_message() {
        let long = "long ".repeat(20_000);
        let mut some = of((0..100).map(|n| livepc(n, MachineState::Ready, &long)));
        fit(&mut some);
        assert_eq!(
            (some.livepcs.len(), some.omitted),
            (100, 0),
            "only their texts are cut"
        );
        assert!(bytes_of(&some) <= SNAPSHOT_BYTES);

        let running = livepc(4_000, MachineState::Running, "");
        let many = (0..4_000).map(|n| livepc(n, MachineState::Ready, &long[..500]));
        let mut many = of(many.chain([running]));
        fit(&mut many);
        assert!(bytes_of(&many) <= SNAPSHOT_BYTES);
        assert_eq!(many.livepcs.len() as u64 + many.omitted, 4_001);
        assert!(many.omitted > 0);
        assert!(many.livepcs.iter().any(|livepc| livepc.state.is_live()));

        let mut small = of([livepc(1, MachineState::Ready, &"x".repeat(300))]);
        let before = small.clone();
        fit(&mut small);
        assert_eq!(small, before, "what fits is left alone");
    }
}
