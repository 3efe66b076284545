//! The picture of a LivePC.

use std::io::{self, Read as _};
use std::path::Path;

use livepc_format::Digest;
use livepc_format::shown;

use crate::error::{Context as _, PublishError, Result};

/// Bytes of a logo at the most.
const LIMIT: u64 = 1 << 20;

/// Reads the picture; gives the name that it is published under, which its bytes decide (so that a new picture is a new
/// file), and the bytes. Whether it can be drawn is for those to see who draw it; what it is not is a script.
pub(crate) fn read(path: &Path) -> Result<(String, Vec<u8>)> {
    let wrong = |why: &str| PublishError::Logo {
        path: path.to_owned(),
        why: why.to_owned(),
    };
    let file = match livepc_durable::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(wrong("there is no such file")),
        file => file.context(|| format!("opening {}", shown::path(path)))?,
    };
    let mut bytes = Vec::new();
    file.take(LIMIT + 1)
        .read_to_end(&mut bytes)
        .context(|| format!("reading {}", shown::path(path)))?;
    if bytes.len() as u64 > LIMIT {
        return Err(wrong("it is too large"));
    }
    let kind = kind(&bytes).ok_or_else(|| wrong("it is another kind of file"))?;
    let digest = Digest::of(&bytes).to_string();
    Ok((format!("logo-{}.{kind}", &digest[..16]), bytes))
}

fn kind(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        Some("png")
    } else if bytes.starts_with(b"\xff\xd8\xff") {
        Some("jpg")
    } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        Some("webp")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pictures_are_logos() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logo");
        std::fs::write(&path, b"\x89PNG\r\n\x1a\nrest").unwrap();
        let (name, _) = read(&path).expect("a PNG is a logo");
        assert!(name.starts_with("logo-") && name.ends_with(".png"), "{name}");
        for other in [b"<svg/>".as_slice(), b"", &[0; (LIMIT + 1) as usize]] {
            std::fs::write(&path, other).unwrap();
            assert!(matches!(read(&path), Err(PublishError::Logo { .. })));
        }
        assert!(matches!(
            read(&dir.path().join("none")),
            Err(PublishError::Logo { .. })
        ));
    }
}
