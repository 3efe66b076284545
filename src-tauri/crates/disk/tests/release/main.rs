//! A release's disk over a chunk store: what is read is what was published, wherever it has to come from.

#![allow(clippy::unwrap_used, reason = "a test may fail by it")]

mod backend;
mod boot;
mod network;
mod property;
mod published;
mod reading;
