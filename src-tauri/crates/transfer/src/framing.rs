//! The frames in which uploads to S3 are sent (“aws-chunked”): a length in hexadecimal digits, perhaps with a signature, a line's
//! end, so many bytes, a line's end; after an empty one come lines that are no part of the file.

use std::io;

use bytes::{Buf as _, Bytes};

/// The longest line between two frames.
const LINE: usize = 4096;
/// Hexadecimal digits that a length may have.
const DIGITS: usize = 8;
const SIGNATURE: &[u8] = b";chunk-signature=";

/// True if a body begins with a frame.
pub(crate) fn begins(head: &[u8]) -> bool {
    let digits = head.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let rest = &head[digits..];
    let is_like = |what: &[u8]| rest.len() >= 2 && what.starts_with(&rest[..rest.len().min(what.len())]);
    (1..=DIGITS).contains(&digits) && (is_like(b"\r\n") || is_like(SIGNATURE))
}

/// Takes frames away from around what they hold.
#[derive(Debug, Default)]
pub(crate) struct Unframing {
    at: At,
    line: Vec<u8>,
}

/// What comes next.
#[derive(Debug, Default)]
enum At {
    #[default]
    Length,
    Inside(usize),
    Behind,
    End,
}

impl Unframing {
    /// What the next bytes hold.
    pub(crate) fn feed(&mut self, mut bytes: Bytes) -> io::Result<Vec<Bytes>> {
        let mut held = Vec::new();
        while !bytes.is_empty() {
            match self.at {
                At::Inside(left) => {
                    let part = bytes.split_to(left.min(bytes.len()));
                    self.at = match left - part.len() {
                        0 => At::Behind,
                        left => At::Inside(left),
                    };
                    held.push(part);
                }
                At::End => bytes.clear(),
                At::Length | At::Behind => {
                    let byte = bytes.get_u8();
                    if byte != b'\n' {
                        self.line.push(byte);
                    } else {
                        self.line_ended()?;
                    }
                    if self.line.len() > LINE {
                        return Err(broken());
                    }
                }
            }
        }
        Ok(held)
    }

    fn line_ended(&mut self) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        let line = line.trim_ascii_end();
        self.at = match self.at {
            At::Behind if line.is_empty() => At::Length,
            At::Behind => return Err(broken()),
            _ => {
                let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
                let digits = std::str::from_utf8(digits)
                    .ok()
                    .filter(|text| text.len() <= DIGITS);
                let length = digits.and_then(|text| usize::from_str_radix(text, 16).ok());
                match length.ok_or_else(broken)? {
                    0 => At::End,
                    length => At::Inside(length),
                }
            }
        };
        Ok(())
    }
}

fn broken() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the frames of an upload in it are broken",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAMED: &[u8] =
        b"5;chunk-signature=ab\r\nhello\r\n1\r\n \r\n5;chunk-signature=cd\r\nworld\r\n0\r\nx-amz-checksum:1\r\n\r\n";

    #[test]
    fn frames_are_taken_away_however_they_are_cut() {
        for size in 1..FRAMED.len() {
            let mut frames = Unframing::default();
            let mut held = Vec::new();
            for part in FRAMED.chunks(size) {
                held.extend(frames.feed(Bytes::copy_from_slice(part)).unwrap());
            }
            assert_eq!(held.concat(), b"hello world", "in parts of {size}");
        }
    }

    #[test]
    fn broken_frames_are_an_error_and_take_no_memory() {
        let mut frames = Unframing::default();
        assert!(frames.feed(Bytes::from_static(b"5\r\nhelloX\r\n")).is_err());
        let mut frames = Unframing::default();
        assert!(frames.feed(Bytes::from(vec![b'a'; 2 * LINE])).is_err());
        let mut frames = Unframing::default();
        assert!(frames.feed(Bytes::from_static(b"fffffffffffffffff\r\n")).is_err());
    }

    #[test]
    fn only_frames_look_like_frames() {
        for framed in [
            "10000;chunk-signature=0055627c9e194cb4542b",
            "400\r\n",
            "5;chunk-s",
        ] {
            assert!(begins(framed.as_bytes()), "{framed}");
        }
        for other in [
            "{\"format\"",
            "\n\r\n",
            "<feed",
            "(\u{b5}/",
            "",
            "5",
            "123456789\r\n",
            "5; charset",
        ] {
            assert!(!begins(other.as_bytes()), "{other}");
        }
    }
}
