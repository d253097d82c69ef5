//! The checksums that may follow an aws-chunked body.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::auth::PayloadError;

/// An algorithm of `x-amz-checksum-*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChecksumAlgorithm {
    /// CRC-32 of ISO 3309.
    Crc32,
    /// CRC-32C, Castagnoli.
    Crc32c,
    /// CRC-64 of the NVMe specification.
    Crc64nvme,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
}

impl ChecksumAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 5] = [
        Self::Crc32,
        Self::Crc32c,
        Self::Crc64nvme,
        Self::Sha1,
        Self::Sha256,
    ];

    /// The field that carries the value.
    pub fn field_name(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    /// The algorithm of a field; names are case-insensitive.
    pub(super) fn from_field_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.field_name().eq_ignore_ascii_case(name))
    }
}

/// A checksum of the bytes so far.
pub(super) enum RunningChecksum {
    Crc32(crc_fast::Digest),
    Crc64(crc_fast::Digest),
    Sha1(Sha1),
    Sha256(Sha256),
}

impl RunningChecksum {
    pub(super) fn new(algorithm: ChecksumAlgorithm) -> Self {
        let crc = crc_fast::Digest::new;
        match algorithm {
            ChecksumAlgorithm::Crc32 => Self::Crc32(crc(CrcAlgorithm::Crc32IsoHdlc)),
            ChecksumAlgorithm::Crc32c => Self::Crc32(crc(CrcAlgorithm::Crc32Iscsi)),
            ChecksumAlgorithm::Crc64nvme => Self::Crc64(crc(CrcAlgorithm::Crc64Nvme)),
            ChecksumAlgorithm::Sha1 => Self::Sha1(Sha1::new()),
            ChecksumAlgorithm::Sha256 => Self::Sha256(Sha256::new()),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc32(digest) | Self::Crc64(digest) => digest.update(bytes),
            Self::Sha1(digest) => digest.update(bytes),
            Self::Sha256(digest) => digest.update(bytes),
        }
    }

    /// Compares with the base64 text of a trailing field.
    pub(super) fn verify(&self, text: &str) -> Result<(), PayloadError> {
        let sent = STANDARD
            .decode(text)
            .map_err(|_| PayloadError::ChecksumInvalid)?;
        match self {
            // The upper half of a 32-bit result is zero.
            Self::Crc32(digest) => compare(&digest.finalize().to_be_bytes()[4..], &sent),
            Self::Crc64(digest) => compare(&digest.finalize().to_be_bytes(), &sent),
            Self::Sha1(digest) => compare(&digest.clone().finalize(), &sent),
            Self::Sha256(digest) => compare(&digest.clone().finalize(), &sent),
        }
    }
}

fn compare(computed: &[u8], sent: &[u8]) -> Result<(), PayloadError> {
    if computed.len() != sent.len() {
        Err(PayloadError::ChecksumInvalid)
    } else if bool::from(computed.ct_eq(sent)) {
        Ok(())
    } else {
        Err(PayloadError::ChecksumMismatch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check values of "123456789": the CRC catalogue's and those of the SHA standards' tools.
    const CHECKS: [(ChecksumAlgorithm, &str); 5] = [
        (ChecksumAlgorithm::Crc32, "y/Q5Jg=="),
        (ChecksumAlgorithm::Crc32c, "4waSgw=="),
        (ChecksumAlgorithm::Crc64nvme, "rosUhgp5mIg="),
        (ChecksumAlgorithm::Sha1, "98O8HYCOBHMq32eZZczDTKeuNEE="),
        (
            ChecksumAlgorithm::Sha256,
            "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=",
        ),
    ];

    #[test]
    fn check_values_are_those_of_the_catalogue() {
        for (algorithm, expected) in CHECKS {
            let mut checksum = RunningChecksum::new(algorithm);
            checksum.update(b"1234");
            checksum.update(b"56789");
            assert_eq!(checksum.verify(expected), Ok(()), "{algorithm:?}");
            checksum.update(b"0");
            let mismatch = Err(PayloadError::ChecksumMismatch);
            assert_eq!(checksum.verify(expected), mismatch, "{algorithm:?}");
        }
    }

    #[test]
    fn values_of_another_shape_are_invalid() {
        for (algorithm, expected) in CHECKS {
            let checksum = RunningChecksum::new(algorithm);
            for text in ["", "====", "eA==", "not base64", &expected[1..]] {
                let invalid = Err(PayloadError::ChecksumInvalid);
                assert_eq!(checksum.verify(text), invalid, "{algorithm:?} {text}");
            }
        }
    }
}
