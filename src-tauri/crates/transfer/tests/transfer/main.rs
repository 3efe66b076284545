//! Fetching over real connections, from a server that does what it should and one that does not.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod documents;
mod errors;
mod faults;
mod fetching;
mod mirrors;
mod priorities;
mod support;
