//! The envelope of signed documents, and the keys that sign them.
//!
//! An envelope is a JSON object `{"type", "payload", "signature"}`: `payload` is the document as a string, and
//! `signature` a minisign signature (prehashed, <https://jedisct1.github.io/minisign/>) over the bytes of `type`,
//! one line feed, and the bytes of `payload`. So the `minisign` tool can check it, and a signature over one type of
//! document never passes for another's.

use std::fmt;
use std::io::Cursor;

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use crate::error::{FormatError, Instead, Result};
use crate::{Digest, LivePcId};

/// A minisign public key, written as its 56 base64 digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(String);

impl PublicKey {
    /// Reads a key from its base64 form.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = || FormatError::malformed("a public key", "it is not a minisign key");
        let raw = BASE64.decode(text.as_bytes()).map_err(|_| wrong())?;
        if raw.len() != 42 || &raw[..2] != b"Ed" {
            return Err(wrong());
        }
        minisign_verify::PublicKey::from_base64(text).map_err(|_| wrong())?;
        Ok(Self(text.to_owned()))
    }

    /// The base64 form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn raw(&self) -> Vec<u8> {
        // Checked when the key was made; an empty key would match no signature.
        BASE64.decode(self.0.as_bytes()).unwrap_or_default()
    }

    /// What a person compares: the first 128 bits of the key's SHA-256, in eight groups of four digits.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let hex = Digest::of(&self.raw()).to_string();
        Fingerprint(hex[..32].to_owned())
    }

    /// The id of the LivePC that this root key publishes under `name`.
    #[must_use]
    pub fn livepc_id(&self, name: &str) -> LivePcId {
        LivePcId(Digest::of_parts(&[
            b"livepc-id\0",
            &self.raw(),
            b"\0",
            name.as_bytes(),
        ]))
    }

    fn verify(&self, what: &'static str, message: &[u8], signature: &str) -> Result<()> {
        let bad = |why: String| FormatError::BadSignature { what, why };
        let key = minisign_verify::PublicKey::from_base64(&self.0).map_err(|e| bad(e.to_string()))?;
        let signature = minisign_verify::Signature::decode(signature).map_err(|e| bad(e.to_string()))?;
        key.verify(message, &signature, false)
            .map_err(|e| bad(e.to_string()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for PublicKey {
    type Error = FormatError;

    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.0
    }
}

/// The fingerprint of a key: 32 hexadecimal digits; shown in groups, read with or without them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Reads what a person typed or pasted: spaces, colons, hyphens and case do not matter.
    pub fn parse(text: &str) -> Result<Self> {
        let digits: String = text
            .chars()
            .filter(|c| !c.is_whitespace() && !matches!(c, ':' | '-'))
            .map(|c| c.to_ascii_lowercase())
            .collect();
        if digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(Self(digits))
        } else {
            Err(FormatError::malformed(
                "the fingerprint",
                "it must have 32 hexadecimal digits",
            ))
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, group) in self.0.as_bytes().chunks(4).enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            f.write_str(&String::from_utf8_lossy(group))?;
        }
        Ok(())
    }
}

/// A minisign secret key, in memory and without its password.
pub struct SecretKey(minisign::SecretKey);

impl SecretKey {
    /// Makes a new key pair.
    pub fn generate() -> Result<Self> {
        let pair = minisign::KeyPair::generate_unencrypted_keypair().map_err(|e| key_error(&e))?;
        Ok(Self(pair.sk))
    }

    /// Makes a new key pair, and the text of its minisign secret key file: encrypted if there is a password (scrypt;
    /// it takes a second or two).
    pub fn generate_file(password: Option<String>, comment: &str) -> Result<(PublicKey, String)> {
        let pair = match password {
            Some(password) => minisign::KeyPair::generate_encrypted_keypair(Some(password)),
            None => minisign::KeyPair::generate_unencrypted_keypair(),
        }
        .map_err(|e| key_error(&e))?;
        let text = pair
            .sk
            .to_box(Some(comment))
            .map_err(|e| key_error(&e))?
            .into_string();
        Ok((PublicKey::parse(&pair.pk.to_base64())?, text))
    }

    /// True if the text of a minisign secret key file opens with a password only; nothing if it is no such file, or not all of
    /// one.
    #[must_use]
    pub fn has_password(text: &str) -> Option<bool> {
        // Base64 of 158 bytes, which begin with “Ed”, “Sc” for scrypt or two zeros, and “B2”.
        const LENGTH: usize = 212;
        let line = text.lines().nth(1)?.trim_end();
        let begins = |with: &str| line.len() == LENGTH && line.starts_with(with);
        begins("RWRTY0Iy")
            .then_some(true)
            .or(begins("RWQAAEIy").then_some(false))
    }

    /// Reads the text of a minisign secret key file; `password` is needed if the file has one.
    pub fn from_file_text(text: &str, password: Option<String>) -> Result<Self> {
        let file = minisign::SecretKeyBox::from_string(text).map_err(|e| key_error(&e))?;
        let key = match password {
            Some(password) => file.into_secret_key(Some(password)),
            None => file.into_unencrypted_secret_key(),
        };
        Ok(Self(key.map_err(|e| key_error(&e))?))
    }

    /// The public half.
    pub fn public_key(&self) -> Result<PublicKey> {
        let key = minisign::PublicKey::from_secret_key(&self.0).map_err(|e| key_error(&e))?;
        PublicKey::parse(&key.to_base64())
    }
}

fn key_error(error: &minisign::PError) -> FormatError {
    FormatError::malformed("the key file", error.to_string())
}

/// A signed document: see the module's head for its form.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Envelope {
    /// The media type of the payload.
    #[serde(rename = "type")]
    pub kind: String,
    /// The document, as text.
    pub payload: String,
    /// A minisign signature file's text.
    pub signature: String,
}

impl Envelope {
    /// Signs `payload` as a document of type `kind`.
    pub fn sign(kind: &str, payload: String, key: &SecretKey) -> Result<Self> {
        let message = message(kind, &payload);
        let comment = format!("livepc {kind}");
        let signature = minisign::sign(None, &key.0, Cursor::new(message), Some(&comment), Some(&comment))
            .map_err(|e| key_error(&e))?;
        Ok(Self {
            kind: kind.to_owned(),
            payload,
            signature: signature.to_string(),
        })
    }

    /// Signs `document`, and gives the bytes of its file. More than `limit` bytes, which readers would refuse, are not
    /// given out.
    pub(crate) fn seal<T: Serialize>(
        what: &'static str,
        kind: &str,
        document: &T,
        key: &SecretKey,
        limit: u64,
    ) -> Result<Vec<u8>> {
        let payload = String::from_utf8_lossy(&crate::document::pretty(document)).into_owned();
        let bytes = Self::sign(kind, payload, key)?.to_bytes();
        FormatError::check_size(what, bytes.len() as u64, limit)?;
        Ok(bytes)
    }

    /// Reads an envelope of at most `limit` bytes; its signature is not checked yet.
    pub fn parse(what: &'static str, kind: &str, bytes: &[u8], limit: u64) -> Result<Self> {
        FormatError::check_size(what, bytes.len() as u64, limit)?;
        // Some editors and servers put a byte order mark in front, which a reader may ignore (RFC 8259, 8.1).
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        // Before anybody has signed it, it is nobody's: what is no envelope is not the publisher's fault.
        let envelope: Self = serde_json::from_slice(bytes).map_err(|error| {
            let found = match error.classify() {
                _ if bytes.trim_ascii().is_empty() => Instead::Nothing,
                _ if crate::is_page(bytes) => Instead::WebPage,
                serde_json::error::Category::Eof => Instead::Part,
                _ => Instead::Other,
            };
            FormatError::instead(what, found)
        })?;
        if envelope.kind != kind {
            return Err(FormatError::malformed(
                what,
                format!("its type is {:?}", crate::text::line(&envelope.kind, 80)),
            ));
        }
        Ok(envelope)
    }

    /// Checks the signature with `key`.
    pub fn verify(&self, what: &'static str, key: &PublicKey) -> Result<()> {
        key.verify(what, &message(&self.kind, &self.payload), &self.signature)
    }

    /// The bytes of the file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        crate::document::pretty(self)
    }
}

fn message(kind: &str, payload: &str) -> Vec<u8> {
    [kind.as_bytes(), b"\n", payload.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_signed_bytes_and_type_pass() {
        let key = SecretKey::generate().unwrap();
        let other = SecretKey::generate().unwrap();
        let signed = Envelope::sign("a/b", "{}".into(), &key).unwrap();
        let public = key.public_key().unwrap();
        signed.verify("it", &public).expect("what was signed passes");
        assert!(
            signed.verify("it", &other.public_key().unwrap()).is_err(),
            "another key must not pass"
        );
        let changed = Envelope {
            payload: "{ }".into(),
            ..signed.clone()
        };
        assert!(
            changed.verify("it", &public).is_err(),
            "other bytes must not pass"
        );
        let retyped = Envelope {
            kind: "a/c".into(),
            ..signed
        };
        assert!(
            retyped.verify("it", &public).is_err(),
            "another type must not pass"
        );
    }

    #[test]
    fn a_byte_order_mark_in_front_is_ignored() {
        let signed = Envelope::sign("a/b", "{}".into(), &SecretKey::generate().unwrap()).unwrap();
        let marked = [b"\xef\xbb\xbf", signed.to_bytes().as_slice()].concat();
        assert!(Envelope::parse("it", "a/b", &marked, 10_000).is_ok());
        let twice = [b"\xef\xbb\xbf", marked.as_slice()].concat();
        assert!(Envelope::parse("it", "a/b", &twice, 10_000).is_err(), "one mark");
    }

    #[test]
    fn key_files_open_with_their_password_only() {
        let (public, plain) = SecretKey::generate_file(None, "signing key").unwrap();
        assert_eq!(SecretKey::has_password(&plain), Some(false));
        for damaged in ["", "\0\0\0", &plain[..120], "a\nb\n"] {
            assert_eq!(SecretKey::has_password(damaged), None, "{damaged:?}");
        }
        assert_eq!(
            SecretKey::from_file_text(&plain, None)
                .unwrap()
                .public_key()
                .unwrap(),
            public
        );
        let (public, locked) = SecretKey::generate_file(Some("secret".into()), "signing key").unwrap();
        assert_eq!(SecretKey::has_password(&locked), Some(true));
        assert!(
            SecretKey::from_file_text(&locked, None).is_err(),
            "a locked file needs its password"
        );
        assert!(
            SecretKey::from_file_text(&locked, Some("wrong".into())).is_err(),
            "and the right one"
        );
        let key = SecretKey::from_file_text(&locked, Some("secret".into())).unwrap();
        assert_eq!(key.public_key().unwrap(), public);
    }

    #[test]
    fn fingerprints_are_read_as_people_write_them() {
        let print = SecretKey::generate().unwrap().public_key().unwrap().fingerprint();
        let shown = print.to_string();
        assert_eq!(Fingerprint::parse(&shown).unwrap(), print);
        assert_eq!(
            Fingerprint::parse(&shown.replace(' ', ":").to_uppercase()).unwrap(),
            print
        );
        assert!(Fingerprint::parse(&shown[1..]).is_err(), "a digit is missing");
    }
}
