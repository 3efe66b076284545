//! `cargo xtask bench`: the benchmark suites, by name.

/// A benchmark: its name, and what it measures.
type Suite = (&'static str, &'static str);

/// Every suite there is.
const SUITES: &[Suite] = &[];

/// Lists the suites.
pub(crate) fn run() {
    if SUITES.is_empty() {
        println!("There is no benchmark suite yet.");
    }
    for (name, measures) in SUITES {
        println!("{name:12} {measures}");
    }
}
