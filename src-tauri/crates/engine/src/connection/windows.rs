//! What Windows knows of the connection that leads to the internet: its cost, which a person or a carrier has set.

use windows::Networking::Connectivity::{NetworkCostType, NetworkInformation};

/// `None` if there is no such connection.
pub(super) async fn is_metered() -> Option<bool> {
    // It is a call to another process.
    tokio::task::spawn_blocking(|| ask().ok()).await.ok().flatten()
}

fn ask() -> windows::core::Result<bool> {
    let cost = NetworkInformation::GetInternetConnectionProfile()?.GetConnectionCost()?;
    let kind = cost.NetworkCostType()?;
    Ok([NetworkCostType::Fixed, NetworkCostType::Variable].contains(&kind) || cost.Roaming()?)
}
