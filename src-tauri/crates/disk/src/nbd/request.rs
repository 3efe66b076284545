//! One request: checked against the protocol, then asked of the device.

use super::{
    answer::Body,
    handshake::Session,
    wire::{self, ErrorNumber, Request, command, command_flag},
};
use crate::block::{Piece, ReadError, Run, check_range};

/// The most runs in the answer to one block status request; the client asks again for more.
const MAX_RUNS: usize = 4096;

/// Serves a request; whatever is wrong with it is said in the answer.
pub(super) async fn serve(session: &Session, request: Request) -> Body {
    let served = livepc_panics::fenced("Reading a disk", serve_checked(session, request)).await;
    // A machine pauses at an error, and can go on; it could not if nobody answered.
    let served = served.unwrap_or_else(|panicked| Err(Refusal::new(ErrorNumber::Io, panicked.to_string())));
    match served {
        Ok(body) => body,
        Err(Refusal { number, message }) => {
            tracing::debug!(?request, message, "NBD request refused");
            Body::Error(number, message)
        }
    }
}

/// Why a request is not served.
struct Refusal {
    number: ErrorNumber,
    message: String,
}

impl Refusal {
    fn new(number: ErrorNumber, message: impl Into<String>) -> Self {
        Self {
            number,
            message: message.into(),
        }
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        let number = match error {
            ReadError::OutOfRange { .. } => ErrorNumber::Invalid,
            ReadError::Waited { .. } | ReadError::Io(_) => ErrorNumber::Io,
        };
        Self::new(number, error.to_string())
    }
}

async fn serve_checked(session: &Session, request: Request) -> Result<Body, Refusal> {
    let device = &session.device;
    let Request { offset, len, .. } = request;
    match request.command {
        command::READ => {
            let allowed = if session.structured { command_flag::DF } else { 0 };
            check_flags(request, allowed)?;
            check_len(request)?;
            check_range(offset, len.into(), device.size())?;
            let pieces = device.read(offset, len).await?;
            // A wrong number of bytes would make all that follows on the connection unreadable.
            if pieces.iter().map(Piece::len).sum::<u64>() != u64::from(len) {
                return Err(Refusal::new(
                    ErrorNumber::Io,
                    "the device gave another number of bytes than asked for",
                ));
            }
            Ok(Body::Data {
                offset,
                pieces,
                whole: request.flags & command_flag::DF != 0,
            })
        }
        command::BLOCK_STATUS => {
            check_flags(request, command_flag::REQ_ONE)?;
            if !session.allocation {
                return Err(Refusal::new(
                    ErrorNumber::Invalid,
                    "no metadata context was negotiated",
                ));
            }
            check_range(offset, len.into(), device.size())?;
            let limit = if request.flags & command_flag::REQ_ONE == 0 {
                MAX_RUNS
            } else {
                1
            };
            let runs = tidy(device.runs(offset, len.into()).await?, len.into(), limit);
            if runs.is_empty() {
                return Err(Refusal::new(
                    ErrorNumber::Invalid,
                    "a status of no bytes was asked for",
                ));
            }
            Ok(Body::Status(runs))
        }
        // To have the bytes at hand is to have read them once.
        command::CACHE => {
            check_flags(request, 0)?;
            check_len(request)?;
            check_range(offset, len.into(), device.size())?;
            device.read(offset, len).await?;
            Ok(Body::Done)
        }
        command::FLUSH => {
            check_flags(request, 0)?;
            Ok(Body::Done)
        }
        command::WRITE | command::TRIM | command::WRITE_ZEROES => Err(Refusal::new(
            ErrorNumber::NotPermitted,
            "this export is read-only",
        )),
        _ => Err(Refusal::new(ErrorNumber::Invalid, "unknown command")),
    }
}

fn check_flags(request: Request, allowed: u16) -> Result<(), Refusal> {
    if request.flags & !allowed == 0 {
        return Ok(());
    }
    Err(Refusal::new(
        ErrorNumber::Invalid,
        "a command flag that was not negotiated",
    ))
}

fn check_len(request: Request) -> Result<(), Refusal> {
    if request.len <= wire::MAX_PAYLOAD {
        return Ok(());
    }
    // With DF the protocol has a number of its own for this: the client may then try again without.
    let number = if request.flags & command_flag::DF == 0 {
        ErrorNumber::Invalid
    } else {
        ErrorNumber::Overflow
    };
    Err(Refusal::new(number, "more than 32 MiB were asked for at once"))
}

/// Joins neighbours of one kind and cuts to `len` bytes and `limit` runs.
fn tidy(runs: Vec<Run>, len: u64, limit: usize) -> Vec<Run> {
    let mut tidy: Vec<Run> = Vec::new();
    let mut left = len;
    for mut run in runs {
        run.len = run.len.min(left);
        left -= run.len;
        let full = tidy.len() == limit;
        match tidy.last_mut() {
            _ if run.len == 0 => {}
            Some(last) if last.kind == run.kind => last.len += run.len,
            _ if full => break,
            _ => tidy.push(run),
        }
    }
    tidy
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::RunKind::{Data, Zero};

    #[test]
    fn runs_are_joined_and_cut() {
        let run = |len, kind| Run { len, kind };
        let given = vec![
            run(5, Zero),
            run(0, Data),
            run(5, Zero),
            run(4, Data),
            run(u64::MAX, Zero),
        ];
        assert_eq!(
            tidy(given.clone(), 20, 9),
            [run(10, Zero), run(4, Data), run(6, Zero)]
        );
        assert_eq!(
            tidy(given.clone(), 20, 1),
            [run(10, Zero)],
            "one is all that was asked for"
        );
        assert_eq!(tidy(given, 3, 9), [run(3, Zero)]);
        assert!(tidy(Vec::new(), 3, 9).is_empty());
    }
}
