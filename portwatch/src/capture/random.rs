//! Bytes that nobody knows beforehand.

use super::error::CaptureError;
use std::fs::File;
use std::io::Read as _;

/// So many of them.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], CaptureError> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(CaptureError::Read)?;
    Ok(bytes)
}
