//! What the layers below report, told as problems: a code, what happened, what to do next.

use livepc_disk::block::ReadError;
use livepc_format::{FormatError, Instead};
use livepc_protocol::{Code, Problem};
use livepc_store::StoreError;
use livepc_transfer::{TransferError, shown};

/// The hint for data that a signature or digest refuses.
pub(crate) const DO_NOT_TRUST: &str =
    "Nothing was changed here. Ask the publisher by another way than this server before you go on.";

/// A refusal for trust.
pub(crate) fn untrusted(message: impl Into<String>) -> Problem {
    Problem::new(Code::Trust, message, DO_NOT_TRUST)
}

/// Something that is not there.
pub(crate) fn not_found(message: impl Into<String>, hint: impl Into<String>) -> Problem {
    Problem::new(Code::NotFound, message, hint)
}

/// What an error says happened; what it advises is told by the hint.
fn what_happened(error: &impl std::fmt::Display) -> String {
    Problem::of_text(Code::Failed, &error.to_string()).message
}

/// What went wrong with published data.
pub(crate) fn of_format(error: &FormatError) -> Problem {
    let message = what_happened(error);
    match error {
        FormatError::WrongDigest { .. } | FormatError::BadSignature { .. } | FormatError::Foreign { .. } => {
            untrusted(message)
        }
        FormatError::Instead { what, found } => instead(what, *found, message),
        FormatError::Newer { .. } => Problem::new(
            Code::UpdateLivepc,
            message,
            "Install the newest LivePC, then try again.",
        ),
        _ => Problem::new(
            Code::Failed,
            message,
            "Ask the publisher; what is already here still works.",
        ),
    }
}

/// Something else came than what was asked for.
fn instead(what: &str, found: Instead, message: String) -> Problem {
    let (message, hint) = match found {
        Instead::WebPage => (
            format!("The network seems to want you to sign in: a web page came instead of {what}."),
            "Open a web page in your browser, and sign in if it asks you to; LivePC asks again by itself. What is here works.",
        ),
        Instead::Nothing | Instead::Part | Instead::Other => (
            message,
            "Try again later: LivePC asks again by itself. If it stays so, tell the publisher that the server is in trouble.",
        ),
    };
    Problem::new(Code::Network, message, hint)
}

/// What went wrong with a file that a signed list names. One that is not there, or not all of it, is late, as at the edge of a
/// network of caches, or while it is being uploaded: it is asked for again.
pub(crate) fn of_listed(error: &TransferError) -> Problem {
    if !error.is_late() {
        return of_transfer(error);
    }
    let what = what_happened(error);
    Problem {
        is_late: true,
        ..Problem::new(
            Code::Network,
            format!("{}, although its publisher lists it.", what.trim_end_matches('.')),
            "It may only be late: try again in a few minutes. If it stays so, tell the publisher.",
        )
    }
}

/// What went wrong between here and a server.
pub(crate) fn of_transfer(error: &TransferError) -> Problem {
    let message = what_happened(error);
    match error {
        TransferError::Digest { .. } => untrusted(message),
        TransferError::Everywhere { tried, .. } => {
            let by = |is: fn(&TransferError) -> bool| tried.iter().find(|error| is(error));
            // What passes by itself, then what a person can do something about.
            match by(TransferError::is_network)
                .or_else(|| by(TransferError::is_login))
                .or(tried.last())
            {
                Some(error) => Problem {
                    message,
                    // It may help whatever else is wrong.
                    sign_in: tried.iter().find_map(|error| of_transfer(error).sign_in),
                    ..of_transfer(error)
                },
                None => Problem::new(Code::Network, message, "Try again later."),
            }
        }
        TransferError::Login { at, .. } => Problem {
            sign_in: Some(at.to_string()),
            ..Problem::new(
                Code::Login,
                message,
                format!("Sign in with “livepc login {}”.", shown(at)),
            )
        },
        TransferError::DiskFull { .. } => Problem::new(
            Code::DiskFull,
            message,
            "Free some space, then try again: what is already here is kept.",
        ),
        TransferError::NotFound { .. } => not_found(
            message,
            "Check the address, or ask the publisher whether it has moved.",
        ),
        TransferError::Sink { .. } | TransferError::Client { .. } => {
            Problem::new(Code::Failed, message, "“livepc doctor” shows where the logs are.")
        }
        error if error.is_of_the_way() => Problem::new(
            Code::Network,
            message,
            "Check the network, then try again; it goes on where it was. What is here works offline.",
        ),
        // The network is there: the error itself says what else to look at.
        error => Problem::of_text(Code::Network, &error.to_string()),
    }
}

/// Why a disk could not be read: what the agent said, if it was the one to refuse.
pub(crate) fn of_read(error: ReadError) -> Problem {
    match error {
        ReadError::Io(error) => match error.downcast::<Problem>() {
            Ok(problem) => problem,
            Err(error) => Problem::io("The disk cannot be read", &error),
        },
        error @ ReadError::Waited { .. } => Problem::new(
            Code::Network,
            what_happened(&error),
            "Check the network, then try again; it goes on where it was.",
        ),
        error => Problem::new(Code::Failed, what_happened(&error), "Try again."),
    }
}

/// What went wrong with the store.
pub(crate) fn of_store(error: &StoreError) -> Problem {
    let message = what_happened(error);
    match error {
        StoreError::DiskFull { .. } => Problem::new(
            Code::DiskFull,
            message,
            "Free some space, then try again: what is already here is kept.",
        ),
        StoreError::Newer { .. } => Problem::new(
            Code::UpdateLivepc,
            message,
            "Install the newest LivePC, then try again.",
        ),
        StoreError::BeingRead(_) => Problem::new(
            Code::Busy,
            message,
            "Stop the machines, and end “livepc serve” and exports first.",
        ),
        StoreError::InUse(_) => Problem::new(
            Code::Busy,
            message,
            "Close the other program that uses this home.",
        ),
        _ => Problem::new(Code::Failed, message, "“livepc doctor” shows where the logs are."),
    }
}
