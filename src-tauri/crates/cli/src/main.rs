//! The `livepc` binary.
fn main() {}
