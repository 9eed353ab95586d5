//! ZIP archives, and PyTorch's containers among them, as they come: head, member, head, member, and the directory last.
//!
//! Every byte must belong to something that the directory names, in the place where it names it; what does not is ambiguous, since readers that begin at
//! the end see another archive. Flags and check sums are not looked at: others ignore them, too.

use flate2::{Decompress, FlushDecompress, Status};
use memchr::memmem;

use super::Member;
use super::directory::{Directory, Said};
use crate::inspect::notes::{Notes, quoted};
use crate::inspect::report::{Format, Kind};
use crate::inspect::tap::{Machine, Step};

const MEMBER: [u8; 4] = *b"PK\x03\x04";
const DIRECTORY: [u8; 4] = *b"PK\x01\x02";
const DESCRIPTOR: [u8; 4] = *b"PK\x07\x08";
const END: [u8; 4] = *b"PK\x05\x06";
const END_64: [u8; 4] = *b"PK\x06\x06";
const LOCATOR_64: [u8; 4] = *b"PK\x06\x07";

const STORED: u16 = 0;
const DEFLATED: u16 = 8;

/// A head says so when a length stands behind the member instead.
const LENGTH_FOLLOWS: u16 = 1 << 3;

/// A descriptor of the longer form, and the beginning of what must follow it.
const DESCRIPTOR_BYTES: usize = 24 + 4;

/// What is inflated at once.
const WINDOW: usize = 64 << 10;

/// An archive being read.
#[derive(Debug, Default)]
pub(in crate::inspect) struct Walk {
    at: u64,
    open: Option<Open>,
    directory: Directory,
    /// The directory has begun; no more members may come.
    is_listing: bool,
    is_over: bool,
}

/// A member being read.
#[derive(Debug)]
struct Open {
    at: u64,
    name: Box<[u8]>,
    method: u16,
    content: Member,
    /// How much of it was read, and how much it has where that is known before.
    read: u64,
    length: Option<u64>,
    has_descriptor: bool,
    inflater: Option<Box<Decompress>>,
    /// All of it was read; what tells its length comes next.
    is_over: bool,
}

/// Why an archive is not read on.
struct Fault(Kind, &'static str);

impl Walk {
    /// No more comes.
    pub(in crate::inspect) fn finish(self, notes: &mut Notes) {
        let at = self.open.as_ref().map_or(self.at, |open| open.at);
        if let Some(open) = self.open {
            open.content.end(notes);
        }
        if !self.is_over {
            notes.find(Kind::Unparsable, at, "the archive ends without a directory".to_owned());
        }
    }

    fn item(&mut self, input: &[u8], notes: &mut Notes) -> Result<Step, Fault> {
        let Some(mark) = input.first_chunk::<4>() else { return Ok(Step::Need(4)) };
        match *mark {
            _ if self.is_over => Err(Fault(Kind::Ambiguous, "there is something behind the end")),
            MEMBER if !self.is_listing => self.head(input, notes),
            DIRECTORY => self.listed(input),
            END => self.end(input),
            END_64 => {
                self.is_listing = true;
                let Some(head) = input.get(..12) else { return Ok(Step::Need(12)) };
                Ok(Step::Skip(12, number(&head[4..12])))
            }
            LOCATOR_64 => Ok(if input.len() < 20 { Step::Need(20) } else { Step::Used(20) }),
            _ => Err(Fault(Kind::Ambiguous, "there are bytes that belong to no member")),
        }
    }

    fn head(&mut self, input: &[u8], notes: &mut Notes) -> Result<Step, Fault> {
        let Some(head) = input.get(..30) else { return Ok(Step::Need(30)) };
        let (name_length, extra_length) = (short(&head[26..]), short(&head[28..]));
        let whole = 30 + name_length + extra_length;
        let Some(head) = input.get(..whole) else { return Ok(Step::Need(whole)) };
        let name = &head[30..30 + name_length];
        let extra = &head[30 + name_length..];
        let (flags, method) = (word(&head[6..]), word(&head[8..]));
        let stored = extended(number(&head[18..22]), number(&head[22..26]), 0, extra).0;
        let has_descriptor = flags & LENGTH_FOLLOWS != 0;
        let length = (!has_descriptor || stored != 0).then_some(stored);
        let text = String::from_utf8_lossy(name);
        if text == "data.pkl" || text.ends_with("/data.pkl") {
            notes.refine(Format::Torch);
        }
        if !matches!(method, STORED | DEFLATED) {
            let what = format!("{} is compressed in a way that is not read here", quoted(&text));
            notes.find(Kind::Unparsable, self.at, what);
            if length.is_none() {
                return Err(Fault(Kind::Unparsable, "a member has no length"));
            }
        }
        let content = Member::begin(&text, length.filter(|_| method == STORED), self.at, notes);
        self.open = Some(Open {
            at: self.at,
            name: name.into(),
            method,
            content,
            read: 0,
            length,
            has_descriptor,
            inflater: (method == DEFLATED).then(|| Box::new(Decompress::new(false))),
            is_over: length == Some(0),
        });
        Ok(Step::Used(whole))
    }

    /// The next bytes of the member.
    fn member(&mut self, input: &[u8], notes: &mut Notes) -> Result<Step, Fault> {
        let Some(open) = &mut self.open else { return Ok(Step::Need(1)) };
        if open.is_over {
            return self.close(input, notes);
        }
        let room = open.length.map_or(u64::MAX, |length| length - open.read);
        let near = &input[..usize::try_from(room).unwrap_or(usize::MAX).min(input.len())];
        let is_wanted = !open.content.is_settled();
        let step = match (open.method, open.length) {
            (DEFLATED, length) if is_wanted || length.is_none() => open.inflate(near, notes)?,
            (STORED, None) => open.search(input, notes),
            (STORED, _) => {
                open.content.feed(near, notes);
                let skip = (room - near.len() as u64).min(open.content.skips());
                open.content.pass(skip);
                Step::Skip(near.len(), skip)
            }
            // Nothing more is to be found in it.
            _ => Step::Skip(near.len(), room - near.len() as u64),
        };
        match step {
            Step::Used(used) => open.read += used as u64,
            Step::Skip(used, skip) => open.read += used as u64 + skip,
            Step::Need(_) | Step::Done(_) => {}
        }
        open.is_over |= open.length == Some(open.read);
        Ok(step)
    }

    /// The member is over; a descriptor may follow it.
    fn close(&mut self, input: &[u8], notes: &mut Notes) -> Result<Step, Fault> {
        let Some(open) = &self.open else { return Ok(Step::Need(1)) };
        let mut used = 0;
        if open.has_descriptor {
            let Some(near) = input.get(..DESCRIPTOR_BYTES) else {
                return Ok(Step::Need(DESCRIPTOR_BYTES));
            };
            used = descriptor(near, open.read)
                .ok_or(Fault(Kind::Ambiguous, "the length behind a member is not its length"))?;
        }
        let Some(open) = self.open.take() else { return Ok(Step::Need(1)) };
        let said = Said { name: open.name, method: open.method, stored: open.read };
        let is_few = self.directory.met(open.at, said);
        open.content.end(notes);
        if !is_few {
            return Err(Fault(Kind::Flood, "there are too many members"));
        }
        match used {
            0 => self.item(input, notes),
            used => Ok(Step::Used(used)),
        }
    }

    fn listed(&mut self, input: &[u8]) -> Result<Step, Fault> {
        self.is_listing = true;
        let Some(head) = input.get(..46) else { return Ok(Step::Need(46)) };
        let (name, extra, comment) = (short(&head[28..]), short(&head[30..]), short(&head[32..]));
        let whole = 46 + name + extra + comment;
        let Some(head) = input.get(..whole) else { return Ok(Step::Need(whole)) };
        let extra = &head[46 + name..46 + name + extra];
        let offset = number(&head[42..46]);
        let (stored, place) = extended(number(&head[20..24]), number(&head[24..28]), offset, extra);
        let said = Said { name: head[46..46 + name].into(), method: word(&head[10..]), stored };
        self.directory.confirm(place, &said).map_err(|how| Fault(Kind::Ambiguous, how))?;
        Ok(Step::Used(whole))
    }

    fn end(&mut self, input: &[u8]) -> Result<Step, Fault> {
        let Some(head) = input.get(..22) else { return Ok(Step::Need(22)) };
        let (listed, comment) = (number(&head[10..12]), short(&head[20..]));
        let whole = 22 + comment;
        if input.len() < whole {
            return Ok(Step::Need(whole));
        }
        self.is_over = true;
        if self.directory.has_hidden() {
            return Err(Fault(
                Kind::Ambiguous,
                "there are members that the directory does not name",
            ));
        }
        // More than fit into the field are counted elsewhere.
        if listed != 0xffff && listed != self.directory.confirmed() {
            return Err(Fault(Kind::Ambiguous, "the directory has another length than it says"));
        }
        Ok(Step::Used(whole))
    }
}

impl Open {
    /// Inflates what has come.
    fn inflate(&mut self, input: &[u8], notes: &mut Notes) -> Result<Step, Fault> {
        const BROKEN: Fault = Fault(Kind::Unparsable, "a compressed member is broken");
        let Some(inflater) = &mut self.inflater else { return Err(BROKEN) };
        let mut window = vec![0; WINDOW];
        let mut used = 0;
        loop {
            let (read, made) = (inflater.total_in(), inflater.total_out());
            let status = inflater.decompress(&input[used..], &mut window, FlushDecompress::None);
            let read = usize::try_from(inflater.total_in() - read).unwrap_or(0);
            let made = usize::try_from(inflater.total_out() - made).unwrap_or(0);
            used += read;
            if !notes.inflate(made as u64) {
                return Err(Fault(Kind::Flood, "its members are too large when they are inflated"));
            }
            // Also what came before a fault, however it arrived.
            self.content.feed(&window[..made], notes);
            if self.length.is_some() && self.content.is_settled() {
                // The rest is passed over, whatever it is.
                return Ok(Step::Used(used));
            }
            if status.map_err(|_| BROKEN)? == Status::StreamEnd {
                self.is_over = true;
                if self.length.is_some_and(|length| length != self.read + used as u64) {
                    return Err(Fault(Kind::Ambiguous, "a member ends before its end"));
                }
                return Ok(Step::Used(used));
            }
            if used == input.len() && made < window.len() {
                return Ok(Step::Used(used));
            }
            if read == 0 && made == 0 {
                return Err(BROKEN);
            }
        }
    }

    /// Looks for the end of a stored member whose length stands behind it.
    fn search(&mut self, input: &[u8], notes: &mut Notes) -> Step {
        let Some(found) = memmem::find(input, &DESCRIPTOR) else {
            let whole = input.len().saturating_sub(DESCRIPTOR.len() - 1);
            if whole == 0 {
                return Step::Need(DESCRIPTOR.len());
            }
            self.content.feed(&input[..whole], notes);
            return Step::Used(whole);
        };
        if found > 0 {
            self.content.feed(&input[..found], notes);
            return Step::Used(found);
        }
        let Some(near) = input.get(..DESCRIPTOR_BYTES) else {
            return Step::Need(DESCRIPTOR_BYTES);
        };
        if descriptor(near, self.read).is_some() {
            self.is_over = true;
            return Step::Used(0);
        }
        self.content.feed(&input[..1], notes);
        Step::Used(1)
    }
}

impl Machine for Walk {
    type Notes = Notes;

    fn advance(&mut self, input: &[u8], notes: &mut Notes) -> Step {
        let mut used = 0;
        while used < input.len() {
            let rest = &input[used..];
            let step = match self.open {
                Some(_) => self.member(rest, notes),
                None => self.item(rest, notes),
            };
            match step {
                Ok(Step::Used(count)) => {
                    used += count;
                    self.at += count as u64;
                }
                Ok(Step::Skip(count, skip)) => {
                    used += count;
                    self.at += count as u64 + skip;
                    if skip > 0 {
                        return Step::Skip(used, skip);
                    }
                }
                Ok(Step::Need(count)) if used == 0 => return Step::Need(count),
                Ok(Step::Need(_)) => break,
                Ok(Step::Done(count)) => return Step::Done(used + count),
                Err(Fault(kind, what)) => {
                    // A fault in a member lies where the member begins: how far it was read depends on how it arrived.
                    let open = self.open.take();
                    let at = open.as_ref().map_or(self.at, |open| open.at);
                    notes.find(kind, at, what.to_owned());
                    if let Some(open) = open {
                        open.content.end(notes);
                    }
                    self.is_over = true;
                    return Step::Done(input.len());
                }
            }
        }
        Step::Used(used)
    }
}

/// The length of the descriptor at the beginning of `near`, if it tells this length and is followed by a member or the directory.
fn descriptor(near: &[u8], length: u64) -> Option<usize> {
    // Its mark may be missing.
    let mark = if near[..4] == DESCRIPTOR { 4 } else { 0 };
    let goes_on = |at: usize| near[at..at + 4] == MEMBER || near[at..at + 4] == DIRECTORY;
    let fields = &near[mark..];
    let is_short = number(&fields[4..8]) == length & 0xffff_ffff && goes_on(mark + 12);
    let is_long = number(&fields[4..12]) == length && goes_on(mark + 20);
    match (is_short, is_long) {
        (_, true) => Some(mark + 20),
        (true, false) => Some(mark + 12),
        (false, false) => None,
    }
}

/// Lengths and places that do not fit into a head stand in a field behind it, the inflated length first: the length in the archive, and the place.
fn extended(stored: u64, inflated: u64, place: u64, extra: &[u8]) -> (u64, u64) {
    const FULL: u64 = 0xffff_ffff;
    let mut rest = extra;
    while let Some(([a, b, c, d], tail)) = rest.split_first_chunk::<4>() {
        let length = usize::from(u16::from_le_bytes([*c, *d])).min(tail.len());
        if [*a, *b] == [1, 0] {
            let mut fields = tail[..length].chunks_exact(8).map(number);
            let mut take =
                |given: u64| if given == FULL { fields.next().unwrap_or(given) } else { given };
            take(inflated);
            let stored = take(stored);
            return (stored, take(place));
        }
        rest = &tail[length..];
    }
    (stored, place)
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn word(bytes: &[u8]) -> u16 {
    u16::from_le_bytes([bytes[0], bytes[1]])
}

fn short(bytes: &[u8]) -> usize {
    usize::from(word(bytes))
}
