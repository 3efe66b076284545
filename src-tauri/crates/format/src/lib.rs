//! LivePC format.
