//! Windows: what a console is told. A process without one hears nothing, and its machine ends as if it was switched off.

use std::io;

use tokio::signal::windows::{self, CtrlClose, CtrlLogoff, CtrlShutdown};

pub(super) struct SessionEnd {
    close: CtrlClose,
    log_off: CtrlLogoff,
    shut_down: CtrlShutdown,
}

impl SessionEnd {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            close: windows::ctrl_close()?,
            log_off: windows::ctrl_logoff()?,
            shut_down: windows::ctrl_shutdown()?,
        })
    }

    pub(super) async fn told(&mut self) {
        let Self {
            close,
            log_off,
            shut_down,
        } = self;
        tokio::select! {
            _ = close.recv() => {}
            _ = log_off.recv() => {}
            _ = shut_down.recv() => {}
        }
    }
}

pub(super) async fn asked_to_end() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}
