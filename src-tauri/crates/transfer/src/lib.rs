//! LivePC transfer.
