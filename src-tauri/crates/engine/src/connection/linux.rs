//! What NetworkManager knows, which most desktops have: its property `Metered` on the system's bus.

use zbus::{Connection, Proxy};

/// `NM_METERED_YES` and `NM_METERED_GUESS_YES` of `NMMetered`, in NetworkManager's D-Bus reference.
const YES: u32 = 1;
const GUESS_YES: u32 = 3;

/// `None` if there is no NetworkManager.
pub(super) async fn is_metered() -> Option<bool> {
    let bus = Connection::system().await.ok()?;
    let manager = Proxy::new(
        &bus,
        "org.freedesktop.NetworkManager",
        "/org/freedesktop/NetworkManager",
        "org.freedesktop.NetworkManager",
    );
    let metered: u32 = manager.await.ok()?.get_property("Metered").await.ok()?;
    Some([YES, GUESS_YES].contains(&metered))
}
