//! NetworkManager, as far as LivePC asks it: what it says of the connection is what a test wants.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::runtime::Runtime;
use zbus::Connection;

use crate::bus::Bus;

const NAME: &str = "org.freedesktop.NetworkManager";
const AT: &str = "/org/freedesktop/NetworkManager";

/// It answers on a bus of its own, which is to stand for the system's.
#[derive(Debug)]
pub struct NetworkManager {
    metered: Arc<AtomicU32>,
    _connection: Connection,
    _runtime: Runtime,
    bus: Bus,
}

struct Manager(Arc<AtomicU32>);

#[zbus::interface(name = "org.freedesktop.NetworkManager")]
impl Manager {
    #[zbus(property)]
    fn metered(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

impl NetworkManager {
    /// Starts it; the connection is not metered.
    #[must_use]
    pub fn new() -> Self {
        let (bus, metered) = (Bus::new(), Arc::new(AtomicU32::new(0)));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let connection = runtime
            .block_on(async {
                zbus::connection::Builder::address(bus.address())?
                    .serve_at(AT, Manager(metered.clone()))?
                    .name(NAME)?
                    .build()
                    .await
            })
            .expect("a service on the bus");
        Self {
            metered,
            _connection: connection,
            _runtime: runtime,
            bus,
        }
    }

    /// The address that is to be the system bus's.
    #[must_use]
    pub fn bus_address(&self) -> &str {
        self.bus.address()
    }

    /// Says from now on that the connection costs by the byte, or not: `NM_METERED_YES`, `NM_METERED_NO`.
    pub fn set_metered(&self, metered: bool) {
        self.metered.store(if metered { 1 } else { 2 }, Ordering::SeqCst);
    }
}

impl Default for NetworkManager {
    fn default() -> Self {
        Self::new()
    }
}
