//! Streams that are compressed as a whole, by zlib or gzip: so joblib and pandas write pickles, and so they read them again, whatever the file is called.
//!
//! Streams may stand one behind the other, and are one to their readers. Other ways to compress are not read here.

use flate2::{Decompress, FlushDecompress, Status};

use super::content::Content;
use super::notes::Notes;
use super::report::Kind;
use super::tap::{Machine, Step};

/// What is inflated at once.
const WINDOW: usize = 64 << 10;

/// Behind each stream of gzip's: its check sum and length.
const TRAILER: usize = 8;

/// The longest head of gzip's that is read, with the name of a file in it.
const MOST_HEAD: usize = 128 << 10;

/// A stream being read.
#[derive(Debug)]
pub(super) struct Stream {
    /// What is in it; `None` once nothing more can be read.
    content: Option<Box<Content>>,
    part: Part,
}

#[derive(Debug)]
enum Part {
    Head,
    Body { inflater: Box<Decompress>, has_trailer: bool },
    Trailer,
}

/// Whether bytes begin as a stream does.
pub(super) fn is_stream(glance: &[u8]) -> bool {
    match glance {
        [0x1f, 0x8b, 8, ..] => true,
        // A window of 32 KiB, no dictionary, and a sum that is right.
        [0x78, flags, ..] => flags & 0x20 == 0 && (0x7800 + u32::from(*flags)) % 31 == 0,
        _ => false,
    }
}

impl Stream {
    /// A stream of `content`.
    pub(super) fn new(content: Content) -> Self {
        Self { content: Some(Box::new(content)), part: Part::Head }
    }

    /// No more comes.
    pub(super) fn finish(self, notes: &mut Notes) {
        if let Some(content) = self.content {
            content.finish(notes);
        }
    }

    /// What begins a stream: `Err` is how much is needed, 0 where there is none.
    fn head(&mut self, input: &[u8]) -> Result<usize, usize> {
        let gzip = input.starts_with(&[0x1f]);
        if input.len() < 3 {
            return Err(3);
        }
        if !is_stream(input) {
            return Err(0);
        }
        let length = if gzip { gzip_head(input)? } else { 0 };
        let inflater = Box::new(Decompress::new(!gzip));
        self.part = Part::Body { inflater, has_trailer: gzip };
        Ok(length)
    }

    /// Inflates what has come; `None` where it is broken.
    fn inflate(&mut self, input: &[u8], notes: &mut Notes) -> Option<usize> {
        let Part::Body { inflater, has_trailer } = &mut self.part else { return None };
        let content = self.content.as_mut()?;
        let mut window = vec![0; WINDOW];
        let mut used = 0;
        loop {
            let (read, made) = (inflater.total_in(), inflater.total_out());
            let status = inflater.decompress(&input[used..], &mut window, FlushDecompress::None);
            let read = usize::try_from(inflater.total_in() - read).ok()?;
            let made = usize::try_from(inflater.total_out() - made).ok()?;
            used += read;
            if !notes.inflate(made as u64) {
                let what = "the file is too large when it is inflated".to_owned();
                notes.find(Kind::Flood, 0, what);
                return None;
            }
            content.feed(&window[..made], notes);
            match status {
                Err(_) => return None,
                Ok(Status::StreamEnd) => {
                    self.part = if *has_trailer { Part::Trailer } else { Part::Head };
                    return Some(used);
                }
                Ok(_) if content.is_settled() => return Some(used),
                Ok(_) if used == input.len() && made < window.len() => return Some(used),
                Ok(_) if read == 0 && made == 0 => return None,
                Ok(_) => {}
            }
        }
    }

    /// Nothing more can be read.
    fn stop(&mut self, input: &[u8], notes: &mut Notes) -> Step {
        if let Some(content) = self.content.take() {
            content.finish(notes);
        }
        Step::Done(input.len())
    }
}

impl Machine for Stream {
    type Notes = Notes;

    fn advance(&mut self, input: &[u8], notes: &mut Notes) -> Step {
        if self.content.as_ref().is_none_or(|content| content.is_settled()) {
            return Step::Done(input.len());
        }
        match self.part {
            Part::Head => match self.head(input) {
                Ok(0) => self.advance(input, notes),
                Ok(length) => Step::Used(length),
                Err(needed) if needed > input.len() && needed <= MOST_HEAD => Step::Need(needed),
                Err(_) => self.stop(input, notes),
            },
            Part::Body { .. } => match self.inflate(input, notes) {
                Some(0) => Step::Need(input.len() + 1),
                Some(used) => Step::Used(used),
                None => self.stop(input, notes),
            },
            Part::Trailer if input.len() < TRAILER => Step::Need(TRAILER),
            Part::Trailer => {
                self.part = Part::Head;
                Step::Used(TRAILER)
            }
        }
    }
}

/// The length of gzip's head; `Err` is how much is needed to know it.
fn gzip_head(input: &[u8]) -> Result<usize, usize> {
    const FIXED: usize = 10;
    let head = input.get(..FIXED).ok_or(FIXED)?;
    let flags = head[3];
    let mut at = FIXED;
    if flags & 4 != 0 {
        let length = input.get(at..at + 2).ok_or(at + 2)?;
        at += 2 + usize::from(u16::from_le_bytes([length[0], length[1]]));
    }
    // A name and a comment, each ended by a zero.
    for flag in [8, 16] {
        if flags & flag != 0 {
            let rest = input.get(at..).ok_or(at + 1)?;
            at += memchr::memchr(0, rest).ok_or(input.len() + 1)? + 1;
        }
    }
    if flags & 2 != 0 {
        at += 2;
    }
    if at <= input.len() { Ok(at) } else { Err(at) }
}
