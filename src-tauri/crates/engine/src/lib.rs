//! LivePC engine.
