//! One file, or one member of an archive: what it is, by its first bytes, and the reader that goes with it.
//!
//! Names are not believed, so everything that is nothing else is tried as a pickle. What a name does say is how sure it is: random numbers begin like a pickle
//! now and then, so that what is called `data/7` in an archive may break, and what is called `data.pkl` may not.

use super::archive::{tar, zip};
use super::header::Header;
use super::json::Json;
use super::notes::Notes;
use super::npy::Npy;
use super::pickle::{Ending, Pickle, Stance};
use super::report::Format;
use super::stream::{Stream, is_stream};
use super::tap::{Flow, Tap};
use super::template::Collected;

/// So much is looked at to tell what a file is: the first block of a tape archive.
const GLANCE: usize = 512;

/// What PyTorch wrote before its containers: this, as a pickle of its own, and four more pickles; then numbers.
const TORCH_MAGIC: [u8; 15] = *b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e";
const TORCH_PICKLES: u8 = 5;

/// A longer file of JSON is data, not a description of a tokenizer.
const MOST_JSON: u64 = 64 << 20;

/// How sure it is that what begins as a pickle is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// A whole file, or a member with the name of a pickle.
    Full,
    /// Bytes with any name, or none.
    Little,
}

/// A file or member being read.
#[derive(Debug)]
pub(super) struct Content {
    trust: Trust,
    /// Whether tape archives are looked into, and compressed streams.
    enters_tapes: bool,
    enters_streams: bool,
    total: Option<u64>,
    glance: Vec<u8>,
    tap: Tap,
    reader: Reader,
    /// Whether a reader met something that it could not read.
    is_broken: bool,
}

/// Who reads on.
#[derive(Debug)]
enum Reader {
    /// Too little has come to tell.
    Unknown,
    Pickle {
        pickle: Box<Pickle>,
        torch_left: Option<u8>,
    },
    Zip(Box<zip::Walk>),
    Tar(Box<tar::Walk>),
    Npy(Npy),
    Header(Header),
    Json(Box<Json>),
    Template(Collected),
    Stream(Stream),
    /// There is nothing more to be found.
    Nobody,
}

impl Content {
    /// A whole file, of `total` bytes where that is known.
    pub(super) fn file(total: Option<u64>, enters_tapes: bool) -> Self {
        Self::new(Trust::Full, total, enters_tapes)
    }

    /// A chat template as a file of its own.
    pub(super) fn template() -> Self {
        let reader = Reader::Template(Collected::default());
        Self { reader, ..Self::new(Trust::Full, None, false) }
    }

    /// A member of an archive.
    pub(super) fn member(name: &str, total: Option<u64>) -> Self {
        let ending = name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
        let is_pickle = matches!(
            ending.as_str(),
            "pkl" | "pickle" | "pt" | "pth" | "ckpt" | "bin" | "joblib" | "dill"
        );
        Self::new(if is_pickle { Trust::Full } else { Trust::Little }, total, true)
    }

    /// Bytes within a pickle.
    pub(super) fn nested() -> Self {
        Self::new(Trust::Little, None, true)
    }

    /// What is in a compressed stream: who compresses pickles compresses neither archives nor streams so.
    fn inflated() -> Self {
        Self { enters_streams: false, ..Self::new(Trust::Full, None, false) }
    }

    fn new(trust: Trust, total: Option<u64>, enters_tapes: bool) -> Self {
        Self {
            trust,
            enters_tapes,
            enters_streams: true,
            total,
            glance: Vec::new(),
            tap: Tap::default(),
            reader: Reader::Unknown,
            is_broken: false,
        }
    }

    /// Whether nothing more is to be found, whatever comes.
    pub(super) const fn is_settled(&self) -> bool {
        matches!(self.reader, Reader::Nobody)
    }

    /// How many of the next bytes nobody needs to see.
    pub(super) const fn skips(&self) -> u64 {
        match self.reader {
            Reader::Nobody => u64::MAX,
            _ => self.tap.skips(),
        }
    }

    /// Passes over bytes that nobody needs to see.
    pub(super) fn pass(&mut self, count: u64) {
        self.tap.pass(count);
    }

    /// Reads the next bytes.
    pub(super) fn feed(&mut self, bytes: &[u8], notes: &mut Notes) {
        if !matches!(self.reader, Reader::Unknown) {
            return self.read(bytes, notes);
        }
        let missing = (GLANCE - self.glance.len()).min(bytes.len());
        self.glance.extend_from_slice(&bytes[..missing]);
        if self.glance.len() == GLANCE {
            self.begin(notes);
            self.read(&bytes[missing..], notes);
        }
    }

    /// No more comes. False when it could not be read as what it is.
    pub(super) fn finish(mut self, notes: &mut Notes) -> bool {
        if matches!(self.reader, Reader::Unknown) {
            self.begin(notes);
        }
        match self.reader {
            Reader::Pickle { mut pickle, .. } => {
                if pickle.is_begun() || self.tap.is_holding() {
                    pickle.end(notes);
                    self.is_broken |= pickle.matters();
                }
            }
            Reader::Zip(walk) => walk.finish(notes),
            Reader::Tar(walk) => walk.finish(notes),
            Reader::Header(header) => header.finish(notes),
            Reader::Json(json) => json.finish(notes),
            Reader::Template(text) => text.finish(notes),
            Reader::Stream(stream) => stream.finish(notes),
            Reader::Npy(_) | Reader::Unknown | Reader::Nobody => {}
        }
        !self.is_broken
    }

    /// Finds out what it is and reads what has come.
    fn begin(&mut self, notes: &mut Notes) {
        let glance = std::mem::take(&mut self.glance);
        self.reader = self.reader_of(&glance, notes);
        self.read(&glance, notes);
    }

    fn reader_of(&self, glance: &[u8], notes: &mut Notes) -> Reader {
        let is_torch = glance.starts_with(&TORCH_MAGIC);
        let pickle = |stance| Reader::Pickle {
            pickle: Box::new(Pickle::new(stance, 0)),
            torch_left: is_torch.then_some(TORCH_PICKLES),
        };
        match glance {
            _ if is_torch => {
                notes.format(Format::Pickle);
                pickle(Stance::Sure)
            }
            [b'P', b'K', 3, 4, ..] => {
                notes.format(Format::Zip);
                Reader::Zip(Box::default())
            }
            [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => {
                notes.format(Format::Npy);
                Reader::Npy(Npy::default())
            }
            [b'G', b'G', b'U', b'F', ..] => {
                notes.format(Format::Gguf);
                Reader::Header(Header::gguf(self.total))
            }
            [0x89, b'H', b'D', b'F', ..] => {
                notes.format(Format::Hdf5);
                Reader::Nobody
            }
            // Three bytes and more of a length below a hundred million are zero.
            [_, _, _, _, 0, 0, 0, 0, b'{', ..] => {
                notes.format(Format::Safetensors);
                Reader::Header(Header::safetensors(self.total))
            }
            [0x80, 0..=5, ..] if self.trust == Trust::Full => {
                notes.format(Format::Pickle);
                pickle(Stance::Sure)
            }
            _ if self.enters_streams && is_stream(glance) => {
                Reader::Stream(Stream::new(Self::inflated()))
            }
            _ if self.enters_tapes && tar::is_block(glance) => {
                notes.format(Format::Tar);
                Reader::Tar(Box::default())
            }
            _ if is_object(glance) && self.total.is_none_or(|total| total <= MOST_JSON) => {
                notes.format(Format::Json);
                Reader::Json(Box::default())
            }
            _ => pickle(Stance::Guess),
        }
    }

    /// Reads with the reader that was found, and with the one that follows it.
    fn read(&mut self, mut bytes: &[u8], notes: &mut Notes) {
        while !bytes.is_empty() {
            let flow = match &mut self.reader {
                Reader::Pickle { pickle, .. } => self.tap.feed(bytes, pickle.as_mut(), notes),
                Reader::Zip(walk) => self.tap.feed(bytes, walk.as_mut(), notes),
                Reader::Tar(walk) => self.tap.feed(bytes, walk.as_mut(), notes),
                Reader::Npy(npy) => self.tap.feed(bytes, npy, notes),
                Reader::Header(header) => self.tap.feed(bytes, header, notes),
                Reader::Json(json) => self.tap.feed(bytes, json.as_mut(), notes),
                Reader::Template(text) => self.tap.feed(bytes, text, notes),
                Reader::Stream(stream) => self.tap.feed(bytes, stream, notes),
                Reader::Unknown | Reader::Nobody => return,
            };
            let Flow::Done(left) = flow else { return };
            bytes = &bytes[bytes.len() - left..];
            self.follow();
        }
    }

    /// One reader is done; who reads what comes behind.
    fn follow(&mut self) {
        self.tap = Tap::default();
        self.reader = match std::mem::replace(&mut self.reader, Reader::Nobody) {
            Reader::Pickle { pickle, torch_left } => match (pickle.ending(), torch_left) {
                (Some(Ending::Stopped), Some(2..)) => Reader::Pickle {
                    pickle: Box::new(Pickle::new(Stance::Sure, pickle.at())),
                    torch_left: torch_left.map(|left| left - 1),
                },
                // Programs may read one pickle behind the other.
                (Some(Ending::Stopped), None) => Reader::Pickle {
                    pickle: Box::new(Pickle::new(Stance::Guess, pickle.at())),
                    torch_left: None,
                },
                (ending, _) => {
                    self.is_broken |= ending != Some(Ending::Stopped) && pickle.matters();
                    Reader::Nobody
                }
            },
            Reader::Npy(npy) if npy.holds_objects => {
                Reader::Pickle { pickle: Box::new(Pickle::new(Stance::Sure, 0)), torch_left: None }
            }
            _ => Reader::Nobody,
        };
    }
}

/// Whether text begins as an object of JSON does.
fn is_object(glance: &[u8]) -> bool {
    let text = glance.strip_prefix(b"\xef\xbb\xbf").unwrap_or(glance);
    text.trim_ascii_start().first() == Some(&b'{')
}
