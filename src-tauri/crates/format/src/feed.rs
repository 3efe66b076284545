//! Feeds and catalogs.
