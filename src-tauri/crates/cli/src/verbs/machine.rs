//! `start` and `stop`.

use std::path::PathBuf;

use livepc_protocol::{Answer, Problem, Request};
use serde_json::json;

use crate::args::Display;
use crate::session::{Session, unexpected};

pub(crate) async fn start(
    session: &Session<'_>,
    id: String,
    display: Display,
    serial: Option<PathBuf>,
    fill: bool,
) -> Result<(), Problem> {
    // The runner has another working folder than this process.
    let serial = serial.map(std::path::absolute).transpose();
    let serial = serial.map_err(|e| Problem::io("The serial port's file cannot be used", &e))?;
    let serial = serial.map(|file| file.to_string_lossy().into_owned());
    let request = Request::Start {
        id,
        display: display.into(),
        serial,
        fill,
    };
    let Answer::LivePc { livepc } = session.ask(request).await? else {
        return Err(unexpected());
    };
    session.output.result(&json!(livepc), || {
        format!(
            "“{}” runs release {}.",
            livepc.title,
            livepc.label_in_use.as_deref().unwrap_or("?")
        )
    });
    Ok(())
}

pub(crate) async fn stop(
    session: &Session<'_>,
    id: String,
    force: bool,
    timeout: u64,
) -> Result<(), Problem> {
    let Answer::LivePc { livepc } = session.ask(Request::Stop { id, force, timeout }).await? else {
        return Err(unexpected());
    };
    session
        .output
        .result(&json!(livepc), || format!("“{}” has stopped.", livepc.title));
    Ok(())
}
