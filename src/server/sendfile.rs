//! Files sent by the kernel itself, under an HTTP layer that knows only bytes.
//!
//! ```text
//! FileBody -> Frames ──(stand-in)──▶ hyper ──(the same slice)──▶ wire -> sendfile
//!                └────(which part)──▶ Outbox ────────────────────┘
//! ```
//!
//! hyper asks a body for bytes and passes them on uncopied, in their turn behind the head. So a part of a file goes the same way as a
//! stand-in: a slice of one static block whose content means nothing. [`Frames`] gives such slices and notes in the connection's [`Outbox`] which part of which
//! file each stands for; the connection (`wire`) knows them by where they lie in memory and has the kernel send the file in their place.
//!
//! A stand-in that went out as bytes would make a wrong body. Two things keep that from happening: only cleartext HTTP/1 gets an outbox, and a
//! connection on which bytes and outbox disagree, at the latest when hyper believes that all is written, is cut ([`Outbox::expect_empty`]).
//!
//! Sending waits for the disk where memory does not have the bytes, and would hold up every connection of the worker. So before a part is given, its pages are
//! probed without waiting, and read on a blocking thread where one is missing.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use rustix::fs::Advice;
use rustix::io::{Errno, ReadWriteFlags};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// What is sent for one stand-in at most: what a client may not have got yet when the access log counts it as sent.
const FRAME_BYTES: usize = 256 << 10;

/// Shorter bodies go as bytes: copying them costs less than the calls that it takes to avoid it.
const LEAST_BYTES: u64 = 32 << 10;

/// One page in this many bytes is probed. The kernel reads ahead and drops in stretches of about this size; where it has not, the worker waits for a few pages.
const PROBE_BYTES: u64 = 64 << 10;

/// Its bytes are never read.
static STAND_IN: [u8; FRAME_BYTES] = [0; FRAME_BYTES];

/// An open file, whoever holds it.
pub type OpenFile = Arc<dyn AsFd + Send + Sync>;

/// The whole body of a response as a part of an open file. A handler puts it into the extensions of a response that has the same bytes as an ordinary
/// body; where the connection allows it, the kernel sends the file, and that body is dropped unread.
#[derive(Clone)]
pub struct FileBody {
    pub file: OpenFile,
    pub range: Range<u64>,
}

impl FileBody {
    pub(super) const fn length(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Whether it is long enough to be worth its calls.
    pub(super) const fn pays(&self) -> bool {
        self.length() >= LEAST_BYTES
    }
}

impl fmt::Debug for FileBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileBody").field("range", &self.range).finish_non_exhaustive()
    }
}

/// What the stand-ins on their way through hyper stand for, in their order.
#[derive(Clone, Default)]
pub(super) struct Outbox(Arc<Mutex<VecDeque<Part>>>);

struct Part {
    file: OpenFile,
    offset: u64,
    left: usize,
}

impl Outbox {
    /// Sends as much as the socket takes of what `slice` stands for.
    pub(super) fn poll_send(
        &self,
        context: &mut Context<'_>,
        socket: &TcpStream,
        slice: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut parts = self.lock();
        let part =
            parts.front_mut().filter(|part| part.left == slice.len()).ok_or_else(mixed_up)?;
        let sent = loop {
            ready!(socket.poll_write_ready(context))?;
            let mut offset = part.offset;
            let send = || {
                let count = rustix::fs::sendfile(socket, &part.file, Some(&mut offset), part.left);
                count.map_err(io::Error::from)
            };
            match socket.try_io(Interest::WRITABLE, send) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Ok(sent) => break sent,
                Err(error) if is_passing(&error) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        };
        part.offset += sent as u64;
        part.left -= sent;
        if part.left == 0 {
            parts.pop_front();
        }
        Poll::Ready(Ok(sent))
    }

    /// To be asked when all bytes are written: a part that is left was sent as something else.
    pub(super) fn expect_empty(&self) -> io::Result<()> {
        if self.lock().is_empty() { Ok(()) } else { Err(mixed_up()) }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Part>> {
        // A panic elsewhere leaves the queue whole: each change is one call.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether bytes on their way to a connection stand for a part of a file.
pub(super) fn is_stand_in(slice: &[u8]) -> bool {
    STAND_IN.as_ptr_range().contains(&slice.as_ptr())
}

/// Sends the bytes before a part of a file, in such a way that they go with it in one packet.
pub(super) fn poll_send_before(
    context: &mut Context<'_>,
    socket: &TcpStream,
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    use rustix::net::{SendFlags, send};

    loop {
        ready!(socket.poll_write_ready(context))?;
        let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
        let sent = || send(socket, bytes, flags).map_err(io::Error::from);
        match socket.try_io(Interest::WRITABLE, sent) {
            Err(error) if is_passing(&error) => {}
            sent => return Poll::Ready(sent),
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

fn mixed_up() -> io::Error {
    io::Error::other("what is sent is not what was to be sent")
}

/// A file as the frames of a body.
pub(super) struct Frames {
    body: FileBody,
    outbox: Outbox,
    /// Runs while the disk is waited for.
    reading: Option<JoinHandle<io::Result<()>>>,
}

impl Frames {
    pub(super) const fn new(body: FileBody, outbox: Outbox) -> Self {
        Self { body, outbox, reading: None }
    }

    pub(super) const fn left(&self) -> u64 {
        self.body.length()
    }

    /// The next stand-in; `None` at the end.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let Range { start, end } = self.body.range;
        if start >= end {
            return Poll::Ready(None);
        }
        let length = usize::try_from(end - start).unwrap_or(FRAME_BYTES).min(FRAME_BYTES);
        let part = start..start + length as u64;
        if self.reading.is_none() {
            match is_in_memory(&self.body.file, &part) {
                Ok(true) => return Poll::Ready(Some(Ok(self.give(length)))),
                Ok(false) => {
                    let file = Arc::clone(&self.body.file);
                    self.reading = Some(tokio::task::spawn_blocking(move || read_in(&file, &part)));
                }
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
        if let Some(reading) = &mut self.reading {
            let read = ready!(Pin::new(reading).poll(context));
            self.reading = None;
            if let Err(error) = read.unwrap_or_else(|error| Err(io::Error::other(error))) {
                return Poll::Ready(Some(Err(error)));
            }
        }
        Poll::Ready(Some(Ok(self.give(length))))
    }

    fn give(&mut self, length: usize) -> Bytes {
        let part =
            Part { file: Arc::clone(&self.body.file), offset: self.body.range.start, left: length };
        self.body.range.start += length as u64;
        self.outbox.lock().push_back(part);
        Bytes::from_static(&STAND_IN[..length])
    }
}

/// Whether the page cache has a part of a file, as far as single pages tell.
fn is_in_memory(file: &OpenFile, part: &Range<u64>) -> io::Result<bool> {
    for at in probes(part) {
        if !probe(file, at, ReadWriteFlags::NOWAIT)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Reads a part of a file into the page cache. Blocking.
fn read_in(file: &OpenFile, part: &Range<u64>) -> io::Result<()> {
    // Starts the reading of all of it; without the advice the probes alone would do, one after the other.
    let _ = rustix::fs::fadvise(
        file,
        part.start,
        NonZeroU64::new(part.end - part.start),
        Advice::WillNeed,
    );
    probes(part).try_for_each(|at| probe(file, at, ReadWriteFlags::empty()).map(drop))
}

/// Offsets whose pages stand for a part.
fn probes(part: &Range<u64>) -> impl Iterator<Item = u64> {
    let step = usize::try_from(PROBE_BYTES).unwrap_or(usize::MAX);
    (part.start..part.end).step_by(step).chain([part.end - 1])
}

/// Reads the byte at an offset. `false`: it would have to be waited for, or the file system cannot tell.
fn probe(file: &OpenFile, at: u64, flags: ReadWriteFlags) -> io::Result<bool> {
    let mut byte = [0];
    loop {
        match rustix::io::preadv2(file, &mut [IoSliceMut::new(&mut byte)], at, flags) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => return Ok(true),
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
