//! Disks as files, read by the programs that people use, on the real kernel.
#![cfg(target_os = "linux")] // Elsewhere there is no body of the seam yet.
#![allow(clippy::unwrap_used, reason = "a test may fail by it")]

mod content;
mod life;
mod locks;
mod refused;
mod support;
mod user;
mod waiting;
