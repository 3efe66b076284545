//! Names of files and sizes as messages show them.

use std::fmt;
use std::path::Path;

use crate::text::acts;

/// A file's name fit to be shown: as it is, or in “quotes” if something in it could be taken for the text around it, and
/// never with characters that act on a terminal.
#[must_use]
pub fn path(path: &Path) -> impl fmt::Display + use<> {
    let name = path.to_string_lossy();
    let clean: String = name
        .chars()
        .map(|c| if acts(c) { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    let plain = |c: char| !c.is_whitespace() && !matches!(c, ';' | '“' | '”' | '"' | '\'');
    if !clean.is_empty() && clean.chars().all(plain) {
        clean
    } else {
        format!("“{clean}”")
    }
}

/// The units of sizes, each a thousand of the one before.
const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];

/// Bytes for people, as in `41 MB` or `1.9 GB`: decimal, with tenths below 10, and below 100 from GB on. The app shows the
/// same.
#[must_use]
pub fn size(bytes: u64) -> String {
    let (mut unit, mut one) = (0, 1_u128);
    let bytes = u128::from(bytes);
    // 999.5 would be shown as 1000 of the smaller unit.
    while bytes * 2 >= one * 1999 && unit < UNITS.len() - 1 {
        unit += 1;
        one *= 1000;
    }
    let tenths = (bytes * 10 + one / 2) / one;
    let exact = unit > 0 && (tenths < 100 || (unit >= 3 && tenths < 1000));
    let number = match (exact, tenths % 10) {
        (true, 1..) => format!("{}.{}", tenths / 10, tenths % 10),
        (true, 0) => (tenths / 10).to_string(),
        (false, _) => ((bytes + one / 2) / one).to_string(),
    };
    format!("{number} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_as_it_is_unless_it_could_be_taken_for_text() {
        let shown = |name: &str| path(Path::new(name)).to_string();
        assert_eq!(shown("images/Odd_1.raw"), "images/Odd_1.raw");
        assert_eq!(shown("the disk.raw"), "“the disk.raw”");
        assert_eq!(shown("a;b"), "“a;b”");
        assert_eq!(shown(""), "“”");
        assert_eq!(
            shown("a\u{1b}[2Jb"),
            "a\u{fffd}[2Jb",
            "no escape reaches a terminal"
        );
    }

    /// The app's function is tried with the same table.
    #[test]
    fn sizes_are_as_the_app_shows_them() {
        let table: Vec<(u64, String)> =
            serde_json::from_str(include_str!("../../../../ui/tests/sizes.json")).expect("a table");
        assert!(table.len() > 10);
        for (bytes, text) in table {
            assert_eq!(size(bytes), text, "{bytes} bytes");
        }
        assert_eq!(size(u64::MAX), "18.4 EB");
    }
}
