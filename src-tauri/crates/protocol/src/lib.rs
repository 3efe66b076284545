//! LivePC protocol.
