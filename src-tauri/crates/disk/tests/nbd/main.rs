//! The NBD server against the tools that people use, and against clients that mean it no good.

#![allow(clippy::unwrap_used, reason = "a test may fail by it")]

mod client;
mod device;
mod peers;
mod property;
mod protocol;
mod transport;
