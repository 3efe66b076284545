//! Linux, macOS and their kin: signals.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

pub(super) struct SessionEnd {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl SessionEnd {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    pub(super) async fn told(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                // A terminal is closed, which ends what it shows only. Where it is the session that ends, the other signal
                // comes too.
                _ = self.hang_up.recv() => {}
            }
        }
    }
}

pub(super) async fn asked_to_end() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = hang_up.recv() => {}
    }
    Ok(())
}
