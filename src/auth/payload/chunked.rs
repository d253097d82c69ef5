//! The aws-chunked framing: `size[;chunk-signature=hex]CRLF data CRLF ... 0 CRLF fields CRLF`.
//!
//! A state machine over pieces of any size; where the pieces are cut changes nothing. Memory is
//! bounded whatever the client sends: one line, one trailer, and at most one small chunk.

use bytes::{Buf, Bytes, BytesMut};
use sha2::{Digest, Sha256};

use crate::auth::payload::checksum::RunningChecksum;
use crate::auth::payload::{ChecksumAlgorithm, Framing, PayloadError, TrailerField};
use crate::sigv4::{ChunkSignatures, Signature};

/// Far above any real line, which has a size of 16 digits and a signature of 64.
const MAX_LINE: usize = 1024;
/// Five checksums and a signature are below 500 bytes.
const MAX_TRAILER: usize = 8 * 1024;
/// Signed chunks up to this size are released only after their signature was verified. Clients
/// choose 64 KiB to 1 MiB.
const MAX_BUFFERED_CHUNK: u64 = 1024 * 1024;

const TRAILER_SIGNATURE: &str = "x-amz-trailer-signature";

/// Takes the framing off and verifies what stands in it.
pub(super) struct ChunkedDecoder {
    state: State,
    line: Vec<u8>,
    /// Decoded bytes that the request still promises.
    promised: u64,
    signed: Option<SignedChunks>,
    checksums: Vec<(ChecksumAlgorithm, RunningChecksum)>,
    trailer: Trailer,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the line with the size of a chunk.
    Size,
    /// In the data of a chunk.
    Data { remaining: u64 },
    /// In the line end after the data of a chunk.
    DataEnd,
    /// In the lines after the last chunk.
    Trailer,
    /// After the end.
    Done,
}

/// The chunk that is being verified.
struct SignedChunks {
    signatures: ChunkSignatures,
    hasher: Sha256,
    expected: Signature,
    /// Data that waits for its signature; `None` when the chunk is too large to wait.
    waiting: Option<BytesMut>,
}

struct Trailer {
    announced: usize,
    is_signed: bool,
    size: usize,
    fields: Vec<TrailerField>,
    hasher: Sha256,
    signature: Option<Signature>,
}

impl ChunkedDecoder {
    pub(super) fn new(framing: &Framing, decoded_length: u64) -> Self {
        let signed = framing.signatures.clone().map(SignedChunks::new);
        let checksums = framing
            .trailer
            .iter()
            .map(|algorithm| (*algorithm, RunningChecksum::new(*algorithm)))
            .collect();
        Self {
            state: State::Size,
            line: Vec::new(),
            promised: decoded_length,
            signed,
            checksums,
            trailer: Trailer {
                announced: framing.trailer.len(),
                is_signed: framing.is_trailer_signed,
                size: 0,
                fields: Vec::new(),
                hasher: Sha256::new(),
                signature: None,
            },
        }
    }

    /// Decodes a piece. Several chunks in one piece become one answer.
    pub(super) fn decode(&mut self, mut piece: Bytes) -> Result<Bytes, PayloadError> {
        let mut output = Output::default();
        while !piece.is_empty() {
            match self.state {
                State::Size => {
                    if let Some(line) = self.take_line(&mut piece, MAX_LINE)? {
                        self.begin_chunk(&line)?;
                    }
                }
                State::Data { remaining } => {
                    let length = usize::try_from(remaining).unwrap_or(usize::MAX);
                    let data = piece.split_to(length.min(piece.len()));
                    self.take_data(data, remaining, &mut output)?;
                }
                State::DataEnd => {
                    if let Some(line) = self.take_line(&mut piece, 2)? {
                        if line != b"\r\n" {
                            return Err(PayloadError::Framing);
                        }
                        self.state = State::Size;
                    }
                }
                State::Trailer => {
                    let limit = MAX_TRAILER - self.trailer.size;
                    let line = self.take_line(&mut piece, limit);
                    if let Some(line) = line.map_err(|_| PayloadError::Trailer)? {
                        self.take_trailer_line(&line)?;
                    }
                }
                State::Done => return Err(PayloadError::Framing),
            }
        }
        Ok(output.into_bytes())
    }

    /// Ends the body: the framing must be complete, the trailer signed and the checksums right.
    pub(super) fn finish(&mut self) -> Result<Vec<TrailerField>, PayloadError> {
        if self.state != State::Done {
            return Err(PayloadError::TooShort);
        }
        Ok(std::mem::take(&mut self.trailer.fields))
    }

    /// Collects a line up to and with its LF. `None` when the piece ends before the line does.
    fn take_line(
        &mut self,
        piece: &mut Bytes,
        limit: usize,
    ) -> Result<Option<Vec<u8>>, PayloadError> {
        let end = piece.iter().position(|byte| *byte == b'\n');
        let length = end.map_or(piece.len(), |end| end + 1);
        if self.line.len() + length > limit {
            return Err(PayloadError::Framing);
        }
        self.line.extend_from_slice(&piece[..length]);
        piece.advance(length);
        Ok(end.map(|_| std::mem::take(&mut self.line)))
    }

    fn begin_chunk(&mut self, line: &[u8]) -> Result<(), PayloadError> {
        let (size, signature) = parse_chunk_line(line).ok_or(PayloadError::Framing)?;
        self.promised = self
            .promised
            .checked_sub(size)
            .ok_or(PayloadError::TooLong)?;
        if let Some(signed) = &mut self.signed {
            signed.begin(size, signature.ok_or(PayloadError::SignatureMismatch)?);
            if size == 0 {
                signed.verify()?;
            }
        }
        self.state = match size {
            0 => State::Trailer,
            remaining => State::Data { remaining },
        };
        Ok(())
    }

    fn take_data(
        &mut self,
        data: Bytes,
        remaining: u64,
        output: &mut Output,
    ) -> Result<(), PayloadError> {
        let remaining = remaining - data.len() as u64;
        for (_, checksum) in &mut self.checksums {
            checksum.update(&data);
        }
        match &mut self.signed {
            Some(signed) => signed.take_data(data, remaining == 0, output)?,
            None => output.push(data),
        }
        self.state = match remaining {
            0 => State::DataEnd,
            remaining => State::Data { remaining },
        };
        Ok(())
    }

    fn take_trailer_line(&mut self, line: &[u8]) -> Result<(), PayloadError> {
        self.trailer.size += line.len();
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            // Some clients end the checksums by an empty line of their own before the signature.
            if self.trailer.is_signed
                && self.trailer.signature.is_none()
                && !self.trailer.fields.is_empty()
            {
                return Ok(());
            }
            return self.end();
        }
        self.trailer.take_field(line, self.signed.is_some())
    }

    fn end(&mut self) -> Result<(), PayloadError> {
        if self.promised > 0 {
            return Err(PayloadError::TooShort);
        }
        if self.trailer.fields.len() != self.trailer.announced {
            return Err(PayloadError::Trailer);
        }
        if let Some(signed) = self.signed.as_mut().filter(|_| self.trailer.is_signed) {
            let lines: [u8; 32] = self.trailer.hasher.clone().finalize().into();
            if self.trailer.signature != Some(signed.signatures.trailer(&lines)) {
                return Err(PayloadError::SignatureMismatch);
            }
        }
        for field in &self.trailer.fields {
            let checksum = self
                .checksums
                .iter()
                .find(|(algorithm, _)| *algorithm == field.algorithm);
            let (_, checksum) = checksum.ok_or(PayloadError::Trailer)?;
            checksum.verify(&field.value)?;
        }
        self.state = State::Done;
        Ok(())
    }
}

impl SignedChunks {
    fn new(signatures: ChunkSignatures) -> Self {
        Self {
            signatures,
            hasher: Sha256::new(),
            expected: Signature::default(),
            waiting: None,
        }
    }

    fn begin(&mut self, size: u64, signature: Signature) {
        self.hasher = Sha256::new();
        self.expected = signature;
        self.waiting = (size <= MAX_BUFFERED_CHUNK).then(BytesMut::new);
    }

    fn take_data(
        &mut self,
        data: Bytes,
        is_last: bool,
        output: &mut Output,
    ) -> Result<(), PayloadError> {
        self.hasher.update(&data);
        if is_last {
            self.verify()?;
        }
        match &mut self.waiting {
            None => output.push(data),
            // A chunk that came in one piece needs no copy.
            Some(waiting) if is_last && waiting.is_empty() => output.push(data),
            Some(waiting) => {
                waiting.extend_from_slice(&data);
                if is_last {
                    output.push(waiting.split().freeze());
                }
            }
        }
        Ok(())
    }

    fn verify(&mut self) -> Result<(), PayloadError> {
        let hash = self.hasher.finalize_reset().into();
        if self.signatures.chunk(&hash) == self.expected {
            Ok(())
        } else {
            Err(PayloadError::SignatureMismatch)
        }
    }
}

impl Trailer {
    /// Takes `name:value`. Only announced checksums are taken, each once, and in signed bodies the
    /// signature, after which nothing may follow.
    fn take_field(&mut self, line: &[u8], is_verified: bool) -> Result<(), PayloadError> {
        let line = std::str::from_utf8(line).map_err(|_| PayloadError::Trailer)?;
        let (name, value) = line.split_once(':').ok_or(PayloadError::Trailer)?;
        let (name, value) = (name.to_ascii_lowercase(), value.trim_ascii());
        if self.signature.is_some() {
            return Err(PayloadError::Trailer);
        }
        if name == TRAILER_SIGNATURE {
            let signature = Signature::parse(value).ok_or(PayloadError::Trailer)?;
            // Without a key there is nothing to compare it with: anonymous requests.
            if self.is_signed || !is_verified {
                self.signature = Some(signature);
                return Ok(());
            }
            return Err(PayloadError::Trailer);
        }
        let algorithm = ChecksumAlgorithm::from_field_name(&name).ok_or(PayloadError::Trailer)?;
        if self.fields.iter().any(|field| field.algorithm == algorithm) {
            return Err(PayloadError::Trailer);
        }
        for part in [name.as_str(), ":", value, "\n"] {
            self.hasher.update(part);
        }
        self.fields.push(TrailerField {
            algorithm,
            value: value.to_owned(),
        });
        Ok(())
    }
}

/// `size CRLF` or `size;chunk-signature=hex CRLF`; nothing else, no white space.
fn parse_chunk_line(line: &[u8]) -> Option<(u64, Option<Signature>)> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    let (size, signature) = match line.split_once(";chunk-signature=") {
        Some((size, signature)) => (size, Some(Signature::parse(signature)?)),
        None => (line, None),
    };
    let is_hex =
        (1..=16).contains(&size.len()) && size.bytes().all(|byte| byte.is_ascii_hexdigit());
    let size = u64::from_str_radix(size, 16).ok().filter(|_| is_hex)?;
    Some((size, signature))
}

/// Joins the data of one piece; a single run of bytes is not copied.
#[derive(Default)]
struct Output {
    first: Bytes,
    joined: BytesMut,
}

impl Output {
    fn push(&mut self, data: Bytes) {
        if self.first.is_empty() {
            self.first = data;
        } else {
            if self.joined.is_empty() {
                self.joined.extend_from_slice(&self.first);
            }
            self.joined.extend_from_slice(&data);
        }
    }

    fn into_bytes(self) -> Bytes {
        if self.joined.is_empty() {
            self.first
        } else {
            self.joined.freeze()
        }
    }
}
