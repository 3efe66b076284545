//! Disks as files, read by the programs that people use, on the real kernel.
#![cfg(target_os = "linux")] // Elsewhere there is no body of the seam yet.
#![allow(clippy::unwrap_used, reason = "a test may fail by it")]

// What the tests of the disk and of its other export have, for the comparison of the exports.
#[path = "../release/backend.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod backend;
mod both;
#[path = "../nbd/client.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod client;
mod content;
mod life;
mod locks;
#[path = "../release/published.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod published;
mod refused;
mod support;
mod user;
mod waiting;
