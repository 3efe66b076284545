//! What can be wrong with published data.

use crate::Digest;

/// Why published data was not accepted. Nothing of the data has been used when one of these is returned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The bytes are longer than this kind of data may be.
    #[error(
        "{what} is {size} bytes long, more than the {limit} allowed; ask its publisher to check the server"
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

impl FormatError {
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
