//! A client's connection, with two things that Pingora's has not.
//!
//! What was read of it can be put back, for Pingora to read it. And the head of an answer leaves together with the
//! first bytes of its body: Pingora writes the one and then the other, which is two system calls, two segments, and a client that
//! is woken for a head without a body. Here the head waits for what follows it, and both go out in one
//! vectored write; nothing is copied but the head. Whatever waits goes out when the stream is flushed or shut
//! down, as with any buffered stream: Pingora flushes after a head without body, after `100 Continue` and
//! at the end of each body. Where the body never comes, Pingora drops the stream: the head goes out even then, for the
//! client to see that an answer was cut, and not that there was none.

use std::io;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::task::ready;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Buf;
use bytes::Bytes;
use bytes::BytesMut;
use pingora::protocols::ALPN;
use pingora::protocols::GetProxyDigest;
use pingora::protocols::GetSocketDigest;
use pingora::protocols::GetTimingDigest;
use pingora::protocols::Peek;
use pingora::protocols::Shutdown;
use pingora::protocols::SocketDigest;
use pingora::protocols::Ssl;
use pingora::protocols::Stream;
use pingora::protocols::TimingDigest;
use pingora::protocols::UniqueID;
use pingora::protocols::UniqueIDType;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::tls::TlsRef;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::io::ReadBuf;

/// How heads begin; bodies do not wait.
const HEAD: &[u8] = b"HTTP/1.";

/// What waits at most. A head of an answer from the cache has some 600 bytes; metadata of an object may add 2 KiB
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>).
const HELD: usize = 4096;

/// See the module.
#[derive(Debug)]
pub(super) struct ClientStream {
    inner: Stream,
    /// Whether it can write several pieces at once. TLS cannot: it gathers by its records.
    is_vectored: bool,
    /// A head that waits for its body.
    held: BytesMut,
    /// Read already, and to be read again.
    unread: Bytes,
}

impl ClientStream {
    pub(super) fn over(stream: Stream) -> Self {
        Self {
            is_vectored: stream.is_write_vectored(),
            inner: stream,
            held: BytesMut::new(),
            unread: Bytes::new(),
        }
    }

    /// Puts bytes back. They are read before anything else; nothing may be waiting there already.
    pub(super) fn put_back(&mut self, bytes: Bytes) {
        self.unread = bytes;
    }

    /// The other end's address; none on a Unix socket.
    pub(super) fn remote(&self) -> Option<SocketAddr> {
        let digest = self.inner.get_socket_digest()?;
        digest.peer_addr()?.as_inet().copied()
    }

    /// Writes what is held, and as much of `bytes` as goes with it; the answer tells how much of those.
    fn poll_both(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        while !self.held.is_empty() {
            let pieces = [IoSlice::new(&self.held), IoSlice::new(bytes)];
            let written = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, &pieces))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_held = written.min(self.held.len());
            self.held.advance(of_held);
            if written > of_held {
                return Poll::Ready(Ok(written - of_held));
            }
        }
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.held))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        // As much as the socket takes without waiting; there is nobody left to wait.
        let _ = self.poll_held(&mut Context::from_waker(Waker::noop()));
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let is_head = bytes.starts_with(HEAD) && bytes.len() <= HELD;
        if is_head && self.is_vectored && self.held.is_empty() {
            self.held.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        self.poll_both(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_held(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_held(cx))?;
        Pin::new(&mut self.inner).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.is_vectored
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_held(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            let length = self.unread.len().min(buffer.remaining());
            buffer.put_slice(&self.unread.split_to(length));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

#[async_trait]
impl Shutdown for ClientStream {
    async fn shutdown(&mut self) {
        // A client that is gone takes nothing any more.
        let _ = self.flush().await;
        Shutdown::shutdown(&mut *self.inner).await;
    }
}

#[async_trait]
impl Peek for ClientStream {
    async fn try_peek(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        self.inner.try_peek(buffer).await
    }
}

impl UniqueID for ClientStream {
    fn id(&self) -> UniqueIDType {
        self.inner.id()
    }
}

impl Ssl for ClientStream {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.inner.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.selected_alpn_proto()
    }
}

impl GetTimingDigest for ClientStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inner.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.inner.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.inner.get_write_pending_time()
    }
}

impl GetProxyDigest for ClientStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner.get_proxy_digest()
    }

    fn set_proxy_digest(&mut self, digest: ProxyDigest) {
        self.inner.set_proxy_digest(digest);
    }
}

impl GetSocketDigest for ClientStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.inner.set_socket_digest(digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pingora::protocols::l4::stream::Stream as Socket;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tokio::net::TcpStream;

    const HEAD_AND_LENGTH: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n";

    async fn pair() -> (Box<ClientStream>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        let socket = Socket::from(accepted.unwrap().0);
        (
            Box::new(ClientStream::over(Box::new(socket))),
            client.unwrap(),
        )
    }

    /// What one read of the client brings: what one write has sent.
    async fn read(client: &mut TcpStream) -> Vec<u8> {
        let mut buffer = vec![0; 1 << 20];
        let length = client.read(&mut buffer).await.unwrap();
        buffer.truncate(length);
        buffer
    }

    #[tokio::test]
    async fn a_head_leaves_with_its_body() {
        let (mut stream, mut client) = pair().await;
        stream.write_all(HEAD_AND_LENGTH).await.unwrap();
        let mut buffer = [0; 1];
        let early = client.try_read(&mut buffer).unwrap_err();
        assert_eq!(early.kind(), io::ErrorKind::WouldBlock, "it waits");
        stream.write_all(b"abc").await.unwrap();
        assert_eq!(read(&mut client).await, [HEAD_AND_LENGTH, b"abc"].concat());
        stream.write_all(b"more").await.unwrap();
        assert_eq!(read(&mut client).await, b"more", "bodies do not wait");
    }

    #[tokio::test]
    async fn what_waits_goes_out_when_told_to() {
        let (mut stream, mut client) = pair().await;
        stream.write_all(HEAD_AND_LENGTH).await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(read(&mut client).await, HEAD_AND_LENGTH);
        stream.write_all(HEAD_AND_LENGTH).await.unwrap();
        AsyncWriteExt::shutdown(&mut stream).await.unwrap();
        assert_eq!(read(&mut client).await, HEAD_AND_LENGTH);
        assert_eq!(read(&mut client).await, b"", "and the end");
    }

    #[tokio::test]
    async fn what_waits_goes_out_when_the_body_never_comes() {
        let (mut stream, mut client) = pair().await;
        stream.write_all(HEAD_AND_LENGTH).await.unwrap();
        drop(stream);
        assert_eq!(read(&mut client).await, HEAD_AND_LENGTH);
        assert_eq!(read(&mut client).await, b"", "and the end");
    }

    #[tokio::test]
    async fn what_is_put_back_is_read_again() {
        let (mut stream, mut client) = pair().await;
        client.write_all(b"later").await.unwrap();
        stream.put_back(Bytes::from_static(b"sooner, "));
        let mut buffer = [0; 13];
        // In pieces, as whoever reads likes.
        let (first, second) = buffer.split_at_mut(3);
        stream.read_exact(first).await.unwrap();
        stream.read_exact(second).await.unwrap();
        assert_eq!(&buffer, b"sooner, later");
    }

    /// A socket that takes a part, at a slow reader.
    #[tokio::test]
    async fn nothing_is_lost_or_doubled_when_only_a_part_goes_out() {
        let (mut stream, mut client) = pair().await;
        let body: Vec<u8> = (0..64_u32 << 16).flat_map(u32::to_le_bytes).collect();
        let expected = [HEAD_AND_LENGTH, &body[..], HEAD_AND_LENGTH, b"abc"].concat();
        let writer = tokio::spawn(async move {
            stream.write_all(HEAD_AND_LENGTH).await.unwrap();
            stream.write_all(&body).await.unwrap();
            stream.flush().await.unwrap();
            stream.write_all(HEAD_AND_LENGTH).await.unwrap();
            stream.write_all(b"abc").await.unwrap();
            AsyncWriteExt::shutdown(&mut stream).await.unwrap();
        });
        let mut received = Vec::new();
        while received.len() < expected.len() {
            let piece = read(&mut client).await;
            assert!(!piece.is_empty());
            received.extend_from_slice(&piece);
        }
        writer.await.unwrap();
        assert!(received == expected);
    }
}
