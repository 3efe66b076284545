//! macOS knows it too (`NWPath.isExpensive`), and is not asked yet.

#[allow(clippy::unused_async, reason = "asking takes time elsewhere")]
pub(super) async fn is_metered() -> Option<bool> {
    None
}
