//! What can be wrong with published data.

use crate::Digest;

/// Why published data was not accepted. Nothing of the data has been used when one of these is returned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The bytes are longer than this kind of data may be.
    #[error(
        "{what} is {} long, more than the {} allowed; ask its publisher to check the server",
        crate::shown::size(*.size), crate::shown::size(*.limit)
    )]
    TooLarge {
        /// What was read.
        what: &'static str,
        /// Bytes offered.
        size: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// The bytes do not have the form that `FORMAT.md` gives them.
    #[error("{what} is damaged or not what it should be: {why}; ask its publisher to publish it again")]
    Malformed {
        /// What was read.
        what: &'static str,
        /// What is wrong, with values.
        why: String,
    },
    /// Something else came in its place. A network or a server gives that instead of what it has; it says nothing of the
    /// publisher.
    #[error("{}", .found.instead_of(.what))]
    Instead {
        /// What was read.
        what: &'static str,
        /// What it is.
        found: Instead,
    },
    /// The bytes are not the ones that a signed document names.
    #[error(
        "{what} has the wrong digest: expected {expected}, found {found}; the server sent other bytes than were signed"
    )]
    WrongDigest {
        /// What was read.
        what: &'static str,
        /// The digest that a signed document names.
        expected: Digest,
        /// The digest of the bytes.
        found: Digest,
    },
    /// A signature does not match its data and key.
    #[error(
        "the signature of {what} is not valid: {why}; do not use this source unless its publisher explains it"
    )]
    BadSignature {
        /// What was signed.
        what: &'static str,
        /// Why it was not accepted.
        why: String,
    },
    /// The data is signed, but for something else: another LivePC, another release, an epoch that is over.
    #[error("{what} does not belong here: {why}; do not use this source unless its publisher explains it")]
    Foreign {
        /// What was read.
        what: &'static str,
        /// What it belongs to.
        why: String,
    },
    /// The data was made for a later version of the format.
    #[error("{what} needs {need}, which this version does not know: update LivePC")]
    Newer {
        /// What was read.
        what: &'static str,
        /// The version or the name in `requires`.
        need: String,
    },
}

/// What came instead of published data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instead {
    /// A web page, as networks show it to whom is to sign in.
    WebPage,
    /// Nothing.
    Nothing,
    /// The beginning of it.
    Part,
    /// Anything else.
    Other,
}

impl Instead {
    fn instead_of(self, what: &str) -> String {
        match self {
            Self::WebPage => format!(
                "a web page came instead of {what}; sign in to the network if it asks for that, and check the address"
            ),
            Self::Nothing => format!("nothing came instead of {what}: it is empty; try again later"),
            Self::Part => format!("only a part of {what} came: it ends early; try again later"),
            Self::Other => {
                format!("something else came instead of {what}; check the address, or try again later")
            }
        }
    }
}

impl FormatError {
    /// Something else came in the place of `what`.
    pub(crate) fn instead(what: &'static str, found: Instead) -> Self {
        Self::Instead { what, found }
    }

    /// Refuses `what` if its `size` is over `limit`.
    pub(crate) fn check_size(what: &'static str, size: u64, limit: u64) -> Result<()> {
        if size > limit {
            return Err(Self::TooLarge { what, size, limit });
        }
        Ok(())
    }

    /// `why` may quote what was read: it becomes one line without characters that act.
    pub(crate) fn malformed(what: &'static str, why: impl AsRef<str>) -> Self {
        Self::Malformed {
            what,
            why: crate::text::line(why.as_ref(), 400),
        }
    }
}

/// The result of reading published data.
pub type Result<T, E = FormatError> = std::result::Result<T, E>;
