//! Writing a body: whole runs of blocks go to the store as they come.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use bytes::BytesMut;
use pingora::Error;
use pingora::ErrorType;
use pingora::Result;
use pingora_cache::storage::HandleMiss;
use pingora_cache::storage::MissFinishType;

use super::BlockStorage;
use super::body::WriteId;
use super::filling::Filling;
use super::filling::Stage;
use super::hit::PIECE_BYTES;
use super::key::EntryId;
use crate::cache::BlockIndex;

/// A write. Dropped before its end it leaves nothing that anybody finds.
pub(super) struct Write {
    storage: &'static BlockStorage,
    entry: EntryId,
    filling: Arc<Filling>,
    /// What was not admitted yet: less than a run.
    run: BytesMut,
    admitted: u64,
    /// The store has no place for more of it. It goes on for those who follow.
    is_too_long: bool,
    is_over: bool,
}

impl Write {
    pub(super) fn new(
        storage: &'static BlockStorage,
        entry: EntryId,
        filling: Arc<Filling>,
    ) -> Self {
        Self {
            storage,
            entry,
            filling,
            run: BytesMut::new(),
            admitted: 0,
            is_too_long: false,
            is_over: false,
        }
    }

    fn id(&self) -> WriteId {
        self.filling.body.write
    }

    fn written(&self) -> u64 {
        self.admitted + self.run.len() as u64
    }

    /// Takes bytes into the run, and admits it whenever it ends at a boundary.
    fn append(&mut self, mut bytes: &[u8]) {
        let limit = self.filling.body.version.size;
        if self.is_too_long || self.written() + bytes.len() as u64 > limit {
            self.is_too_long = true;
            self.run = BytesMut::new();
            return;
        }
        while !bytes.is_empty() {
            let room = usize::try_from(PIECE_BYTES).unwrap_or(usize::MAX) - self.run.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            if self.run.is_empty() {
                // Room for all that may come, so that the buffer is the store's as it is.
                let left = self.filling.declared.unwrap_or(u64::MAX) - self.admitted;
                let length = usize::try_from(left.min(PIECE_BYTES)).unwrap_or(usize::MAX);
                self.run.reserve(length);
            }
            self.run.extend_from_slice(now);
            if self.run.len() as u64 == PIECE_BYTES {
                self.admit();
            }
            bytes = later;
        }
    }

    fn admit(&mut self) {
        let run = std::mem::take(&mut self.run);
        let first = self.storage.block_size().block_at(self.admitted);
        self.admitted += run.len() as u64;
        let is_snug = run.capacity() <= run.len() + run.len() / 8;
        let run = if is_snug {
            run.freeze()
        } else {
            // A slice would keep the rest of its buffer alive.
            Bytes::copy_from_slice(&run)
        };
        self.filling.body.admit(first, run);
    }

    /// Admits what is left. The store takes whole blocks, and a short one where the object ends.
    fn admit_rest(&mut self) {
        let length = self.written();
        if self.run.is_empty() || self.is_too_long {
            return;
        }
        if length < self.filling.body.version.size {
            let block = self.storage.block_size();
            let BlockIndex(blocks) = block.touched_by(&(0..length)).end;
            let whole = block.start_of(BlockIndex(blocks)) - self.admitted;
            self.run
                .resize(usize::try_from(whole).unwrap_or(usize::MAX), 0);
        }
        self.admit();
    }
}

#[async_trait]
impl HandleMiss for Write {
    async fn write_body(&mut self, data: Bytes, _eof: bool) -> Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        self.append(&data);
        if self.storage.streams() {
            let kept = if self.is_too_long {
                u64::MAX
            } else {
                self.admitted
            };
            self.filling.extend(data, kept);
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<MissFinishType> {
        let length = self.written();
        // Whether a response may have no body although it tells of a length (to HEAD it may) is for
        // the program to know.
        let is_whole = self.filling.declared.is_none_or(|all| all == length) || length == 0;
        if !is_whole && !self.is_too_long {
            return Error::e_explain(ErrorType::InternalError, "the body is shorter than it said");
        }
        self.admit_rest();
        let kept = if self.is_too_long {
            None
        } else {
            let filling = Arc::clone(&self.filling);
            self.storage.publish(self.entry, &filling, length).await
        };
        if kept.is_none() {
            // An error here would cut the answer of whoever follows, and they have done nothing.
            self.filling.body.condemn();
        }
        self.is_over = true;
        self.storage.forget_filling(self.entry, self.id());
        self.filling.end(Stage::Done);
        Ok(MissFinishType::Created(kept.unwrap_or_default()))
    }

    fn streaming_write_tag(&self) -> Option<&[u8]> {
        Some(&self.filling.body.write.0)
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        if !self.is_over {
            self.filling.body.condemn();
            self.storage.forget_filling(self.entry, self.id());
            self.filling.end(Stage::Failed);
        }
    }
}
