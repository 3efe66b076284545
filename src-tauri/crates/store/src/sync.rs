//! What locks are made of; a test puts loom's in their place.

pub(crate) use std::sync::{Arc, Mutex, PoisonError};
