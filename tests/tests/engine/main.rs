//! The product without its face: the real `livepc` program, real servers, a real guest.
#![cfg(unix)]

mod bad_input;
mod json;
mod kill;
mod lifecycle;
mod machine;
#[cfg(target_os = "linux")]
mod mount;
mod publisher;
mod subscribe;
mod trust;
mod updates;
mod user_data;
#[cfg(target_os = "linux")]
mod vmware;
