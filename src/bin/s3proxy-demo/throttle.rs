//! The cost of a distant store: bytes leave a connection no faster than its token bucket allows.
//! Reads, and so uploads, are not held back. The delay before the first byte is the listener's business.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// The most bytes one write may take: a larger write would send a burst and then pause for long.
const MAX_WRITE: usize = 64 * 1024;

/// Tokens kept while idle: 5 ms of the rate, which also makes up for timers that are a few milliseconds late.
const IDLE_MILLIS: u64 = 5;

/// A token bucket that may run into debt: a write is allowed while tokens are left and is charged afterwards,
/// so the rate holds on average whatever the size of the writes.
#[derive(Debug)]
pub(crate) struct TokenBucket {
    bytes_per_second: u64,
    tokens: i64,
    refilled: Instant,
}

impl TokenBucket {
    pub(crate) fn new(bytes_per_second: u64, now: Instant) -> Self {
        let mut bucket = Self {
            bytes_per_second: bytes_per_second.max(1),
            tokens: 0,
            refilled: now,
        };
        bucket.tokens = bucket.capacity();
        bucket
    }

    /// Returns how long to wait until a write is allowed; zero when it is allowed now.
    pub(crate) fn wait(&mut self, now: Instant) -> Duration {
        self.refill(now);
        if self.tokens > 0 {
            return Duration::ZERO;
        }
        self.time_for(self.tokens.unsigned_abs() + 1)
    }

    /// Charges a finished write.
    pub(crate) fn charge(&mut self, bytes: usize) {
        self.tokens = self.tokens.saturating_sub_unsigned(bytes as u64);
    }

    fn capacity(&self) -> i64 {
        let idle = (self.bytes_per_second / 1000).saturating_mul(IDLE_MILLIS);
        i64::try_from(idle.max(16 * 1024)).unwrap_or(i64::MAX)
    }

    fn time_for(&self, bytes: u64) -> Duration {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second) + 1;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.refilled);
        let earned = elapsed.as_nanos() * u128::from(self.bytes_per_second) / 1_000_000_000;
        if earned == 0 {
            return; // the clock moves on only with whole tokens, or frequent calls would never earn one
        }
        let earned = u64::try_from(earned).unwrap_or(u64::MAX);
        self.tokens = self
            .tokens
            .saturating_add_unsigned(earned)
            .min(self.capacity());
        self.refilled = now;
    }
}

/// A connection whose writes pass a token bucket and are counted.
#[derive(Debug)]
pub(crate) struct Throttled<S> {
    stream: S,
    bucket: Option<TokenBucket>,
    pause: Option<Pin<Box<Sleep>>>,
    sent_bytes: Arc<AtomicU64>,
}

impl<S> Throttled<S> {
    /// Limits `stream` to `bytes_per_second` (`None`: no limit) and adds what it sends to `sent_bytes`.
    pub(crate) fn new(
        stream: S,
        bytes_per_second: Option<u64>,
        sent_bytes: Arc<AtomicU64>,
    ) -> Self {
        let bucket = bytes_per_second.map(|rate| TokenBucket::new(rate, Instant::now()));
        Self {
            stream,
            bucket,
            pause: None,
            sent_bytes,
        }
    }

    fn poll_allowed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(bucket) = &mut self.bucket else {
            return Poll::Ready(());
        };
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            let wait = bucket.wait(Instant::now());
            if wait.is_zero() {
                return Poll::Ready(());
            }
            self.pause = Some(Box::pin(tokio::time::sleep(wait)));
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Throttled<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_allowed(cx));
        let this = &mut *self;
        let written =
            ready!(Pin::new(&mut this.stream).poll_write(cx, &buf[..buf.len().min(MAX_WRITE)]))?;
        if let Some(bucket) = &mut this.bucket {
            bucket.charge(written);
        }
        this.sent_bytes.fetch_add(written as u64, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    // Claimed to be vectored only so that the server does not copy a body into one buffer first.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = bufs
            .iter()
            .find(|buf| !buf.is_empty())
            .map_or(&[][..], |buf| &**buf);
        self.poll_write(cx, first)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Throttled<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const MEGABYTE: u64 = 1_000_000;

    #[tokio::test(start_paused = true)]
    async fn an_idle_bucket_keeps_five_milliseconds_of_tokens() {
        let mut bucket = TokenBucket::new(80 * MEGABYTE, Instant::now());
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(bucket.wait(Instant::now()), Duration::ZERO);
        bucket.charge(400_000);
        assert_ne!(bucket.wait(Instant::now()), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn debt_is_paid_before_the_next_write() {
        let mut bucket = TokenBucket::new(MEGABYTE, Instant::now());
        bucket.charge(16 * 1024 + 1_000_000);
        let wait = bucket.wait(Instant::now());
        assert!(
            wait > Duration::from_secs(1) && wait < Duration::from_millis(1001),
            "{wait:?}"
        );
        tokio::time::advance(wait).await;
        assert_eq!(bucket.wait(Instant::now()), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn ten_megabytes_take_their_time() {
        let sent = Arc::new(AtomicU64::new(0));
        let (near, mut far) = tokio::io::duplex(1024 * 1024);
        let mut stream = Throttled::new(near, Some(80 * MEGABYTE), Arc::clone(&sent));
        let reader = tokio::spawn(async move { far.read_to_end(&mut Vec::new()).await.unwrap() });
        let start = Instant::now();
        stream.write_all(&vec![7; 10_000_000]).await.unwrap();
        drop(stream);
        assert_eq!(reader.await.unwrap(), 10_000_000);
        assert_eq!(sent.load(Ordering::Relaxed), 10_000_000);
        let millis = start.elapsed().as_millis();
        assert!(
            (115..=135).contains(&millis),
            "125 ms expected, {millis} ms taken"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_nothing_waits() {
        let (near, mut far) = tokio::io::duplex(1024 * 1024);
        let mut stream = Throttled::new(near, None, Arc::default());
        let reader = tokio::spawn(async move { far.read_to_end(&mut Vec::new()).await.unwrap() });
        let start = Instant::now();
        stream.write_all(&vec![7; 10_000_000]).await.unwrap();
        drop(stream);
        reader.await.unwrap();
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
