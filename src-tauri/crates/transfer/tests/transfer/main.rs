//! Fetching over real connections, from a server that does what it should and one that does not.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod documents;
mod errors;
mod faults;
mod fetching;
mod logins;
mod mirrors;
mod odd;
// Support of the end-to-end suites, without all else that they need.
#[path = "../../../../../tests/src/odd.rs"]
#[allow(dead_code, unreachable_pub, reason = "it is another crate's public module")]
mod odd_server;
#[path = "../../../../../tests/src/origin/mod.rs"]
#[allow(dead_code, unreachable_pub, reason = "it is another crate's public module")]
mod origin;
mod priorities;
mod soak;
#[path = "../../../../../tests/src/socks.rs"]
#[allow(dead_code, unreachable_pub, reason = "it is another crate's public module")]
mod socks;
mod support;
