//! LivePC disk.
