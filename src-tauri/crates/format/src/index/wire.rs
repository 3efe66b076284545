//! Reading and writing the bodies of index objects. Reading never panics and never allocates for what is not there.

use crate::error::{FormatError, Result};
use crate::{Digest, PackId};

/// The version byte behind an object's four letters.
pub(super) const VERSION: u8 = 1;

pub(super) struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts behind `letters` and the version byte.
    pub(super) fn new(what: &'static str, letters: &[u8; 4], body: &'a [u8]) -> Result<Self> {
        let mut reader = Self { what, rest: body };
        if reader.take(4)? != letters {
            return Err(reader.malformed("it is of another kind"));
        }
        match reader.take(1)?[0] {
            VERSION => Ok(reader),
            0 => Err(reader.malformed("versions count from 1")),
            newer => Err(FormatError::Newer {
                what,
                need: format!("object version {newer}"),
            }),
        }
    }

    pub(super) fn malformed(&self, why: &str) -> FormatError {
        FormatError::malformed(self.what, why)
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or_else(|| self.malformed("it ends early"))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn digest(&mut self) -> Result<Digest> {
        let bytes = self.take(32)?;
        Ok(Digest::from_bytes(
            bytes.try_into().map_err(|_| self.malformed("it ends early"))?,
        ))
    }

    pub(super) fn pack_id(&mut self) -> Result<PackId> {
        self.digest().map(PackId)
    }

    pub(super) fn u32_le(&mut self) -> Result<u32> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes(
            bytes.try_into().map_err(|_| self.malformed("it ends early"))?,
        ))
    }

    /// An unsigned LEB128 integer in its shortest form.
    pub(super) fn uint(&mut self) -> Result<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(self.malformed("an integer is too large"));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    return Err(self.malformed("an integer is not in its shortest form"));
                }
                return Ok(value);
            }
        }
        Err(self.malformed("an integer is too long"))
    }

    /// An integer of at most `max`.
    pub(super) fn uint_to(&mut self, max: u64) -> Result<u64> {
        let value = self.uint()?;
        if value > max {
            Err(self.malformed(&format!("{value} is more than {max}")))
        } else {
            Ok(value)
        }
    }

    /// An integer of at most `max`, itself at most `u32::MAX`.
    pub(super) fn u32_to(&mut self, max: u32) -> Result<u32> {
        let value = self.uint_to(u64::from(max))?;
        u32::try_from(value).map_err(|_| self.malformed("an integer is too large"))
    }

    /// A count of entries that take at least `entry` bytes each, so that no count promises more than is there.
    pub(super) fn count(&mut self, max: usize, entry: usize) -> Result<usize> {
        let count = self.uint_to(max as u64)? as usize;
        if count.saturating_mul(entry) > self.rest.len() {
            return Err(self.malformed("it ends early"));
        }
        Ok(count)
    }

    /// A list of packs, its count before it.
    pub(super) fn pack_ids(&mut self, max: usize) -> Result<Vec<PackId>> {
        let count = self.count(max, 32)?;
        (0..count).map(|_| self.pack_id()).collect()
    }

    /// An integer with a sign, zigzag coded.
    pub(super) fn sint(&mut self) -> Result<i64> {
        let value = self.uint()?;
        Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()))
    }

    pub(super) fn end(self) -> Result<()> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.malformed("something stands behind its end"))
        }
    }
}

pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn new(letters: &[u8; 4]) -> Self {
        let mut bytes = letters.to_vec();
        bytes.push(VERSION);
        Self(bytes)
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn digest(&mut self, digest: &Digest) {
        self.bytes(digest.as_bytes());
    }

    pub(super) fn uint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub(super) fn sint(&mut self, value: i64) {
        self.uint(((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_round_trip_and_have_one_form() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut writer = Writer::new(b"TEST");
            writer.uint(value);
            let body = writer.finish();
            let mut reader = Reader::new("it", b"TEST", &body).unwrap();
            assert_eq!(reader.uint().unwrap(), value);
            reader.end().unwrap();
        }
        for value in [0, -1, 1, i64::MIN, i64::MAX] {
            let mut writer = Writer::new(b"TEST");
            writer.sint(value);
            let body = writer.finish();
            assert_eq!(Reader::new("it", b"TEST", &body).unwrap().sint().unwrap(), value);
        }
        let long = b"TEST\x01\x80\x00";
        assert!(
            Reader::new("it", b"TEST", long).unwrap().uint().is_err(),
            "0 in two bytes is not its shortest form"
        );
        let wide = b"TEST\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02";
        assert!(
            Reader::new("it", b"TEST", wide).unwrap().uint().is_err(),
            "65 bits do not fit"
        );
    }
}
