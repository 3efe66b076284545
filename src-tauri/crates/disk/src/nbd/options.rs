//! The payloads of options: what a client sends while it negotiates. Parsing only; all of it is hostile.

use bytes::Buf;

use super::wire;

/// Why an option's payload was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadOption {
    /// Its lengths contradict each other, or a name is not UTF-8.
    Malformed,
    /// A name is longer than the protocol allows.
    TooLong,
}

/// The payload of `INFO` and `GO`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Selection<'a> {
    pub(super) name: &'a str,
    /// The information types asked for.
    pub(super) wanted: Vec<u16>,
}

/// The payload of `LIST_META_CONTEXT` and `SET_META_CONTEXT`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ContextQuery<'a> {
    pub(super) name: &'a str,
    pub(super) queries: Vec<&'a str>,
}

/// Reads the payload of `INFO` or `GO`.
pub(super) fn selection(mut payload: &[u8]) -> Result<Selection<'_>, BadOption> {
    let name = text(&mut payload)?;
    let count = payload.try_get_u16().map_err(|_| BadOption::Malformed)?;
    if payload.len() != usize::from(count) * 2 {
        return Err(BadOption::Malformed);
    }
    let wanted = payload
        .chunks_exact(2)
        .map(|kind| u16::from_be_bytes([kind[0], kind[1]]))
        .collect();
    Ok(Selection { name, wanted })
}

/// Reads the payload of `LIST_META_CONTEXT` or `SET_META_CONTEXT`.
pub(super) fn context_query(mut payload: &[u8]) -> Result<ContextQuery<'_>, BadOption> {
    let name = text(&mut payload)?;
    let count = length(&mut payload)?;
    let mut queries = Vec::new();
    // Each query takes at least the four bytes of its length, so a count that lies ends at the end of the payload.
    for _ in 0..count {
        queries.push(text(&mut payload)?);
    }
    if !payload.is_empty() {
        return Err(BadOption::Malformed);
    }
    Ok(ContextQuery { name, queries })
}

/// Reads a name as `EXPORT_NAME` sends it: all of the payload.
pub(super) fn export_name(payload: &[u8]) -> Result<&str, BadOption> {
    if payload.len() > wire::MAX_NAME {
        return Err(BadOption::TooLong);
    }
    std::str::from_utf8(payload).map_err(|_| BadOption::Malformed)
}

/// Takes a string with its length before it.
fn text<'a>(payload: &mut &'a [u8]) -> Result<&'a str, BadOption> {
    let len = length(payload)?;
    if len > payload.len() {
        return Err(BadOption::Malformed);
    }
    let (text, rest) = payload.split_at(len);
    *payload = rest;
    export_name(text)
}

/// Takes a 32-bit length.
fn length(payload: &mut &[u8]) -> Result<usize, BadOption> {
    let len = payload.try_get_u32().map_err(|_| BadOption::Malformed)?;
    usize::try_from(len).map_err(|_| BadOption::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_len(text: &[u8]) -> Vec<u8> {
        [&u32::try_from(text.len()).unwrap().to_be_bytes(), text].concat()
    }

    #[test]
    fn a_selection_is_read_only_if_its_lengths_agree() {
        let good = [with_len(b"disk").as_slice(), &[0, 2, 0, 3, 0, 1]].concat();
        assert_eq!(
            selection(&good),
            Ok(Selection {
                name: "disk",
                wanted: vec![3, 1]
            })
        );
        for cut in 0..good.len() {
            assert_eq!(
                selection(&good[..cut]),
                Err(BadOption::Malformed),
                "cut to {cut} bytes"
            );
        }
        let longer = [good.as_slice(), &[0]].concat();
        assert_eq!(selection(&longer), Err(BadOption::Malformed));
        assert_eq!(
            selection(&[0xff; 64]),
            Err(BadOption::Malformed),
            "a length beyond the payload"
        );
        let binary = [with_len(b"\xff\xfe").as_slice(), &[0, 0]].concat();
        assert_eq!(selection(&binary), Err(BadOption::Malformed), "not UTF-8");
        let long = [with_len(&[b'a'; 4097]).as_slice(), &[0, 0]].concat();
        assert_eq!(selection(&long), Err(BadOption::TooLong));
    }

    #[test]
    fn queries_are_read_only_if_their_count_is_true() {
        let parts = [
            with_len(b""),
            2u32.to_be_bytes().to_vec(),
            with_len(b"base:"),
            with_len(b"qemu:x"),
        ];
        let good = parts.concat();
        assert_eq!(
            context_query(&good),
            Ok(ContextQuery {
                name: "",
                queries: vec!["base:", "qemu:x"]
            })
        );
        for cut in 0..good.len() {
            assert_eq!(
                context_query(&good[..cut]),
                Err(BadOption::Malformed),
                "cut to {cut} bytes"
            );
        }
        let lie = [with_len(b""), u32::MAX.to_be_bytes().to_vec()].concat();
        assert_eq!(
            context_query(&lie),
            Err(BadOption::Malformed),
            "a count of 4 billion must cost nothing"
        );
    }
}
