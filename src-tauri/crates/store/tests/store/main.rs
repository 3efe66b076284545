//! The chunk store, from outside.

#![allow(clippy::unwrap_used)] // a test that cannot go on ends here

mod adopt;
mod contents;
#[cfg(unix)]
mod full_disk;
mod kill;
mod model;
mod moving;
mod opening;
mod prune;
mod support;
mod verify;
