//! The chunk store, from outside.

#![allow(clippy::unwrap_used)] // a test that cannot go on ends here

mod adopt;
mod contents;
#[cfg(unix)]
mod full_disk;
// loom changes stacks by itself, which unwinding on Windows does not bear; what it tries is the same on all systems.
#[cfg(unix)]
mod interleavings;
mod kill;
mod model;
mod moving;
mod opening;
mod prune;
// Over loom's locks instead of the system's.
#[cfg(unix)]
#[path = "../../src/slots.rs"]
#[allow(dead_code)]
mod slots;
mod support;
mod verify;

/// What `slots` is made of there.
#[cfg(unix)]
mod sync {
    pub(crate) use loom::sync::{Arc, Mutex};
    pub(crate) use std::sync::PoisonError;
}
