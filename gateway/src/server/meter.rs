//! Watches one connection: has it spoken, is it reading, is it in use?
//!
//! The byte stream is wrapped, because hyper has no timeout for a client that connects and says nothing, nor
//! for one that asks and never reads. The wrapper only notes; [`Meter::verdict`] decides on each tick.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Instant,
};

use crate::limits::Limits;

/// The length of HTTP/2's greeting: after as many bytes the protocol is known, whichever it is.
const GREETING: u64 = 24;

/// What to do with a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Keep,
    /// Let open requests finish, take no more.
    Close,
    /// Cut it.
    Drop,
}

/// What is known about a connection.
#[derive(Debug)]
pub(super) struct Meter {
    opened: Instant,
    bytes_in: AtomicU64,
    seen: AtomicBool,
    open: AtomicU32,
    /// Milliseconds after `opened` when the connection was last in use.
    used: AtomicU64,
    /// Milliseconds after `opened` since when a write has been waiting, plus one; 0: none is.
    stalled: AtomicU64,
}

impl Meter {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            opened: Instant::now(),
            bytes_in: AtomicU64::new(0),
            seen: AtomicBool::new(false),
            open: AtomicU32::new(0),
            used: AtomicU64::new(0),
            stalled: AtomicU64::new(0),
        })
    }

    /// Notes a request for as long as the answer keeps the result.
    pub(super) fn request(self: &Arc<Self>) -> InUse {
        self.seen.store(true, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        InUse(Arc::clone(self))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn verdict(&self, limits: &Limits) -> Verdict {
        let now = self.now();
        let over = |since: u64, limit: Duration| u128::from(now.saturating_sub(since)) >= limit.as_millis();
        let stalled = self.stalled.load(Ordering::Relaxed);
        if stalled > 0 && over(stalled - 1, limits.write_stall) {
            return Verdict::Drop;
        }
        let silent = !self.seen.load(Ordering::Relaxed) && self.bytes_in.load(Ordering::Relaxed) < GREETING;
        if silent && over(0, limits.handshake_timeout) {
            return Verdict::Drop;
        }
        let unused = self.open.load(Ordering::Relaxed) == 0;
        if unused && over(self.used.load(Ordering::Relaxed), limits.connection_idle) {
            return Verdict::Close;
        }
        Verdict::Keep
    }
}

/// A request in progress on a connection.
#[derive(Debug)]
pub(super) struct InUse(Arc<Meter>);

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.used.store(self.0.now(), Ordering::Relaxed);
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A socket that tells its meter.
pub(super) struct Metered {
    pub(super) socket: TcpStream,
    pub(super) meter: Arc<Meter>,
}

impl Metered {
    fn note_write<T>(&self, result: &Poll<T>) {
        if result.is_ready() {
            if self.meter.stalled.load(Ordering::Relaxed) > 0 {
                self.meter.stalled.store(0, Ordering::Relaxed);
            }
        } else {
            let since = self.meter.now() + 1;
            let _ = self.meter.stalled.compare_exchange(0, since, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.socket).poll_read(cx, buf);
        let read = buf.filled().len() - before;
        self.meter.bytes_in.fetch_add(read as u64, Ordering::Relaxed);
        result
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write(cx, data);
        self.note_write(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write_vectored(cx, data);
        self.note_write(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
