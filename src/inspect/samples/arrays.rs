//! Arrays of joblib's that hide something from one reader or another.

use super::{bytes, calls, global, pickle, stack_global, text};

/// What an array's state holds beside its class and its order.
struct Array<'a> {
    shape: &'a [u8],
    code: &'a str,
    /// The type's bytes and flags.
    size: &'a [u8],
    alignment: &'a [u8],
    more: &'a [u8],
}

const NUMBERS: Array<'static> = Array {
    shape: b"K\x20\x85",
    code: "u1",
    size: b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\0",
    alignment: b"K\x10",
    more: b"",
};

const OBJECTS: Array<'static> = Array {
    shape: b"K\x01\x85",
    code: "O8",
    size: b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK?",
    ..NUMBERS
};

impl Array<'_> {
    fn state(&self) -> Vec<u8> {
        let dtype = [
            &global("numpy", "dtype")[..],
            &text(self.code),
            b"\x89\x88\x87R(K\x03",
            &text("<"),
            b"NNN",
            self.size,
            b"tb",
        ]
        .concat();
        let alignment = match self.alignment {
            b"" => Vec::new(),
            value => [&text("numpy_array_alignment_bytes")[..], value].concat(),
        };
        let subclass = [text("subclass"), global("numpy", "ndarray")].concat();
        [
            b"}(".as_slice(),
            &subclass,
            &text("shape"),
            self.shape,
            &text("order"),
            &text("C"),
            &text("dtype"),
            &dtype,
            &text("allow_mmap"),
            b"\x88",
            &alignment,
            self.more,
            b"u",
        ]
        .concat()
    }

    /// The placeholder, up to where the array begins.
    fn begin(&self) -> Vec<u8> {
        [wrapper(), b")\x81".to_vec(), self.state(), b"b".to_vec()].concat()
    }
}

fn wrapper() -> Vec<u8> {
    stack_global("joblib.numpy_pickle", "NumpyArrayWrapper")
}

/// So many bytes, of which the last or the first are a call for whoever takes them for instructions.
fn padded(code: &[u8], is_last: bool) -> Vec<u8> {
    let rest = vec![0; 32_usize.saturating_sub(code.len())];
    if is_last { [&rest[..], code].concat() } else { [code, &rest].concat() }
}

/// Files that do harm to one reader or another.
pub fn malicious() -> Vec<(&'static str, Vec<u8>)> {
    let evil = calls("os", "system");
    let call = [&global("os", "system")[..], b"(S'true'\ntR."].concat();
    let bare = Array { alignment: b"", ..NUMBERS };
    let fields = |size| Array { code: "V32", size, shape: b"K\x01\x85", alignment: b"", more: b"" };
    // The texts that a pickle of objects recalls are others to whoever reads on in the same memo.
    let recalled = [
        text("os"),
        b"\x940".to_vec(),
        text("system"),
        b"\x940".to_vec(),
        OBJECTS.begin(),
        b"\x80\x04".to_vec(),
        text("numpy"),
        b"\x94".to_vec(),
        text("ndarray"),
        b"\x94h\0h\x01\x93".to_vec(),
        text("true"),
        b"\x85R.".to_vec(),
        b"N".to_vec(),
    ]
    .concat();
    let roundabout = [
        global("copyreg", "_reconstructor"),
        wrapper(),
        global("builtins", "object"),
        b"N\x87R".to_vec(),
        NUMBERS.state(),
        b"b\0".to_vec(),
        vec![0; 32],
    ]
    .concat();
    let twice = [
        wrapper(),
        b")\x81\x94".to_vec(),
        NUMBERS.state(),
        b"b\0".to_vec(),
        vec![0; 32],
        b"h\0".to_vec(),
        NUMBERS.state(),
        b"b\0".to_vec(),
        vec![0; 32],
    ]
    .concat();
    let own_reader = [&text("read")[..], &global("collections", "Counter")].concat();
    let tail = padded(b"cos\nsystem\nq\x05", true);
    vec![
        ("objects of joblib", pickle(&[&OBJECTS.begin(), &evil])),
        ("behind an array", pickle(&[&NUMBERS.begin(), b"\0", &[0; 32], &call])),
        ("an array that is no array to others", pickle(&[&bare.begin(), &padded(&call, false)])),
        ("an array without padding", pickle(&[&NUMBERS.begin(), &padded(&call, false), b"\0"])),
        (
            "an array that ends sooner for older readers",
            pickle(&[&NUMBERS.begin(), b"\x0c", &[0; 12], &tail, b"0h\x05(S'true'\ntR"]),
        ),
        ("objects with texts of others", pickle(&[&recalled])),
        ("a placeholder made otherwise", pickle(&[&roundabout])),
        ("a placeholder twice", pickle(&[&twice])),
        (
            "a placeholder that reads itself",
            pickle(&[&Array { more: &own_reader, ..NUMBERS }.begin(), b"\0", &[0; 32]]),
        ),
        (
            "an array of unknown length",
            pickle(&[&Array { shape: b"N\x85", ..NUMBERS }.begin(), b"\0", &[0; 32]]),
        ),
        (
            "an array below zero",
            pickle(&[
                &Array { shape: b"J\xff\xff\xff\xff\x85", ..NUMBERS }.begin(),
                b"\0",
                &[0; 32],
            ]),
        ),
        ("flags of objects", pickle(&[&fields(b"K\x20K\x01K?").begin(), &evil])),
        ("a length in the state", pickle(&[&fields(b"K\x04K\x01K\0").begin(), &[0; 4], &call])),
        ("bytes that hold an array", pickle(&[&NUMBERS.begin(), b"\0", &[0; 31], &bytes(&call)])),
        ("zlib", ZLIB.to_vec()),
        ("gzip", GZIP.to_vec()),
    ]
}

/// `cos\nsystem\n(S'true'\ntR.`, compressed.
const ZLIB: &[u8] = b"\x78\x9c\x4b\xce\x2f\xe6\x2a\xae\x2c\x2e\x49\xcd\xe5\xd2\x08\x56\x2f\x29\x2a\x4d\x55\xe7\x2a\x09\xd2\x03\x00\x60\x53\x07\x86";
const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x4b\xce\x2f\xe6\x2a\xae\x2c\x2e\x49\xcd\xe5\xd2\x08\x56\x2f\x29\x2a\x4d\x55\xe7\x2a\x09\xd2\x03\x00\xdc\xd0\xe0\xd3\x17\x00\x00\x00";
