//! Whether the connection to the internet costs by the byte.

#[cfg_attr(target_os = "linux", path = "connection/linux.rs")]
#[cfg_attr(windows, path = "connection/windows.rs")]
#[cfg_attr(not(any(target_os = "linux", windows)), path = "connection/other.rs")]
mod system;

use std::time::Duration;

/// How long the system may take to say it.
const PATIENCE: Duration = Duration::from_secs(2);

/// True if the system says that the connection is metered. One that says nothing has none that is.
pub(crate) async fn is_metered() -> bool {
    tokio::time::timeout(PATIENCE, system::is_metered())
        .await
        .ok()
        .flatten()
        .unwrap_or(false)
}
