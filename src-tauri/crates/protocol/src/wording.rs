//! How the texts of errors become sentences: the layers below write them small and without a full stop, as errors are written.

/// The words with which texts of errors begin. Whatever else one begins with is a name — of a file, a program, a host, a
/// LivePC — and stays as it is: no rule about its letters would tell `odd` the file from a word.
const OPENERS: [&str; 44] = [
    "a",
    "an",
    "another",
    "bytes",
    "disks",
    "every",
    "it",
    "its",
    "no",
    "nothing",
    "one",
    "only",
    "reading",
    "release",
    "something",
    "stopped",
    "such",
    "the",
    "there",
    "this",
    "two",
    "what",
    "writing",
    // What was being done when a file could not be used.
    "asking",
    "changing",
    "copying",
    "creating",
    "deleting",
    "ending",
    "finding",
    "flushing",
    "linking",
    "listing",
    "locking",
    "looking",
    "making",
    "moving",
    "opening",
    "preparing",
    "recording",
    "removing",
    "renaming",
    "replacing",
    "starting",
];

/// The text without the numbers that the system has for what it says: `(os error 2)`.
pub(crate) fn without_numbers(text: &str) -> String {
    let mut parts = text.split(" (os error ");
    let mut clean = parts.next().unwrap_or_default().trim_end_matches('.').to_owned();
    for part in parts {
        match part.split_once(')') {
            Some((number, rest)) if number.parse::<i32>().is_ok() => clean.push_str(rest),
            _ => {
                clean.push_str(" (os error ");
                clean.push_str(part);
            }
        }
    }
    clean
}

/// What happened, and what to do: divided at the last semicolon that stands in no “quotes”.
pub(crate) fn divide(text: &str) -> Option<(&str, &str)> {
    let mut quoted = false;
    let mut at = None;
    for (place, c) in text.char_indices() {
        match c {
            '“' => quoted = true,
            '”' => quoted = false,
            ';' if !quoted && text[place..].starts_with("; ") => at = Some(place),
            _ => {}
        }
    }
    at.map(|at| (&text[..at], &text[at + 2..]))
}

/// The sentence that says what happened: it begins with a capital unless it begins with a name.
pub(crate) fn message(text: &str) -> String {
    let first = text.split(' ').next().unwrap_or_default();
    if OPENERS.contains(&first) {
        format!("{}.", capital(text))
    } else {
        format!("{text}.")
    }
}

/// The sentence that says what to do: its first word is a verb of ours.
pub(crate) fn hint(text: &str) -> String {
    let first = text.split(' ').next().unwrap_or_default();
    if first.chars().all(|c| c.is_ascii_lowercase() || c == ',') {
        format!("{}.", capital(text))
    } else {
        format!("{text}.")
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map(|first| first.to_uppercase().chain(chars).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_letters() {
        for text in [
            "odd.raw is empty",
            "odd is empty",
            "qemu-img was not found",
            "keys/root.key has a password",
            "http://a/b: no connection",
            "“the disk.raw” is empty",
            "éa is empty",
        ] {
            assert_eq!(message(text), format!("{text}."), "it begins with a name");
        }
        assert_eq!(message("the disk is full"), "The disk is full.");
        assert_eq!(hint("name the raw image"), "Name the raw image.");
        assert_eq!(hint("first, wait"), "First, wait.");
        assert_eq!(
            hint("/etc/fuse.conf needs a line"),
            "/etc/fuse.conf needs a line."
        );
    }

    #[test]
    fn numbers_of_the_system_are_left_out() {
        assert_eq!(without_numbers("a: Not there (os error 2); b"), "a: Not there; b");
        assert_eq!(without_numbers("a (os error b)"), "a (os error b)");
        assert_eq!(without_numbers("two (os error 1), (os error 22)"), "two,");
    }

    /// Every error of these crates that begins with a word of ours, and not with a name, begins with one that is known here.
    #[test]
    fn the_words_that_errors_begin_with_are_known() {
        let crates = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut seen = 0;
        for member in ["format", "store", "transfer", "disk", "hypervisor", "publish"] {
            let mut folders = vec![crates.join(member).join("src")];
            while let Some(folder) = folders.pop() {
                for entry in std::fs::read_dir(&folder)
                    .expect("the sources are there")
                    .flatten()
                {
                    let path = entry.path();
                    if path.is_dir() {
                        folders.push(path);
                        continue;
                    }
                    let text = std::fs::read_to_string(&path).unwrap_or_default();
                    for error in text.split("#[error(").skip(1) {
                        let said = error.trim_start().trim_start_matches('"');
                        let first = said.split([' ', '"']).next().unwrap_or_default();
                        if !first.is_empty()
                            && first.chars().all(|c| c.is_ascii_lowercase())
                            && first != "transparent)]"
                        {
                            assert!(
                                OPENERS.contains(&first),
                                "“{first}” of {said:.60} in {}",
                                path.display()
                            );
                            seen += 1;
                        }
                    }
                }
            }
        }
        assert!(seen > 40, "the errors were found: {seen}");
    }
}
