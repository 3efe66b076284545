//! A gzip stream (RFC 1952) of zeros, written by hand: a compressor would need as long as its victim.

/// Zeros that one match stands for.
const MATCH: u64 = 258;

/// At least `size` zeros, compressed to about a 160th. Its check sum is wrong: nobody should get that far.
pub(super) fn zeros(size: u64) -> Vec<u8> {
    let mut bits = Bits::default();
    // The only block, with the fixed codes (RFC 1951, 3.2.6); Huffman codes begin with their highest bit.
    bits.put(0b011, 3);
    bits.put_code(0b0011_0000, 8);
    for _ in 0..size.div_ceil(MATCH) {
        bits.put_code(0b1100_0101, 8);
        bits.put_code(0, 5);
    }
    bits.put_code(0, 7);
    let mut stream = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    stream.append(&mut bits.finish());
    stream.extend([0; 8]);
    stream
}

#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    count: u32,
}

impl Bits {
    /// Adds the lowest `count` bits, the lowest first.
    fn put(&mut self, value: u32, count: u32) {
        for bit in 0..count {
            if self.count.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= ((value >> bit & 1) as u8) << (self.count % 8);
            }
            self.count += 1;
        }
    }

    /// Adds the lowest `count` bits, the highest first.
    fn put_code(&mut self, value: u32, count: u32) {
        for bit in (0..count).rev() {
            self.put(value >> bit, 1);
        }
    }

    fn finish(self) -> Vec<u8> {
        self.bytes
    }
}
