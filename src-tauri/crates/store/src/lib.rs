//! LivePC store.
