//! LivePC publish.
