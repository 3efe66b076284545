//! Fetching over real connections, from a server that does what it should and one that does not.

mod documents;
mod errors;
mod faults;
mod fetching;
mod mirrors;
mod priorities;
mod support;
