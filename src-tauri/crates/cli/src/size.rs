//! Sizes as people write them: `20G`.

/// Bytes of `20G`, `20GiB`, `512M` or `1048576`. Units are of 1024, in either case.
///
/// # Errors
/// What a size looks like.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" => Some(0),
        "k" | "kib" => Some(10),
        "m" | "mib" => Some(20),
        "g" | "gib" => Some(30),
        "t" | "tib" => Some(40),
        _ => None,
    };
    number
        .parse::<u64>()
        .ok()
        .zip(shift)
        .and_then(|(number, shift)| number.checked_mul(1 << shift))
        .ok_or_else(|| "write a number of bytes, or one with K, M, G or T, as in 20G".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("512", 512),
            ("1k", 1 << 10),
            ("512M", 512 << 20),
            ("20G", 20 << 30),
            ("20GiB", 20 << 30),
            ("2t", 2 << 40),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for wrong in [
            "",
            "G",
            "20 G",
            "1.5G",
            "-1",
            "20GB",
            "20P",
            "99999999T",
            "0x10",
            "١G",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
