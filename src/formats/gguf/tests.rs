//! Files made by hand: right ones in both orders of bytes, cut ones, and one for each fault.

use super::*;

/// Writes files.
struct Maker {
    bytes: Vec<u8>,
    order: Order,
}

impl Maker {
    fn new(version: u32, tensors: u64, facts: u64, order: Order) -> Self {
        let mut maker = Self { bytes: MAGIC.to_vec(), order };
        maker.number_32(version).number_64(tensors).number_64(facts);
        maker
    }

    fn put(&mut self, mut bytes: Vec<u8>) -> &mut Self {
        if self.order == Order::Big {
            bytes.reverse();
        }
        self.bytes.extend(bytes);
        self
    }

    fn number_32(&mut self, number: u32) -> &mut Self {
        self.put(number.to_le_bytes().to_vec())
    }

    fn number_64(&mut self, number: u64) -> &mut Self {
        self.put(number.to_le_bytes().to_vec())
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.number_64(text.len() as u64);
        self.bytes.extend_from_slice(text.as_bytes());
        self
    }

    fn fact(&mut self, name: &str, text: &str) -> &mut Self {
        self.text(name).number_32(TEXT).text(text)
    }

    fn number(&mut self, name: &str, number: u32) -> &mut Self {
        self.text(name).number_32(4).number_32(number)
    }

    fn tensor(&mut self, name: &str, shape: &[u64], encoding: u32, offset: u64) -> &mut Self {
        self.text(name).number_32(u32::try_from(shape.len()).expect("a few"));
        for side in shape {
            self.number_64(*side);
        }
        self.number_32(encoding).number_64(offset)
    }

    fn data(&mut self, bytes: usize) -> Vec<u8> {
        let mut file = std::mem::take(&mut self.bytes);
        file.resize(file.len().next_multiple_of(32), 0);
        file.resize(file.len() + bytes, 9);
        file
    }
}

fn whole(order: Order) -> Vec<u8> {
    let mut maker = Maker::new(3, 2, 6, order);
    maker
        .fact("general.architecture", "llama")
        .number("general.file_type", 15)
        .number("llama.context_length", 4096)
        .fact("tokenizer.chat_template", "{{ messages }}")
        .fact("tokenizer.chat_template.tool_use", "{{ tools }}")
        .text("tokenizer.ggml.tokens")
        .number_32(ARRAY)
        .number_32(TEXT)
        .number_64(2)
        .text("a")
        .text("bc");
    maker.tensor("norm", &[8], 0, 160).tensor("w", &[256, 1], 12, 0);
    maker.data(192)
}

#[test]
fn facts_and_tensors_are_read_in_both_orders() {
    for order in [Order::Little, Order::Big] {
        let file = whole(order);
        let header = read(&file, Some(file.len() as u64)).read().expect("a header");
        assert_eq!((header.version, header.order), (3, order));
        assert_eq!(header.architecture(), Some("llama"));
        assert_eq!(header.file_type(), Some("Q4_K_M"));
        assert_eq!(header.context_length(), Some(4096));
        assert_eq!(header.chat_templates().count(), 2);
        let Some(Value::Array(tokens)) = header.fact("tokenizer.ggml.tokens") else {
            panic!("an array");
        };
        let texts: Vec<&str> = tokens.texts().expect("texts").collect();
        assert_eq!(texts, ["a", "bc"]);
        let numbers: Vec<_> = header.numbers().into_iter().collect();
        assert_eq!(numbers, [(0, 8), (12, 256)]);
        assert_eq!(header.data_at % 32, 0);
    }
}

#[test]
fn every_beginning_asks_for_more_until_it_is_enough() {
    let file = whole(Order::Little);
    let size = file.len() as u64;
    let data_at = read(&file, Some(size)).read().expect("a header").data_at;
    for given in 0..file.len() {
        let known = match read(&file[..given], Some(size)) {
            Reading::Needs(more) => more > given as u64 && more <= size,
            Reading::Read(header) => header.data_at == data_at,
            Reading::Broken(_) => false,
        };
        assert!(known, "{given} bytes");
        let unknown = match read(&file[..given], None) {
            Reading::Needs(more) => more > given as u64,
            Reading::Read(_) => true,
            Reading::Broken(_) => false,
        };
        assert!(unknown, "{given} bytes of any");
    }
}

#[test]
fn what_does_not_add_up_is_told() {
    let check = |file: Vec<u8>, expected: &str| match read(&file, Some(file.len() as u64)) {
        Reading::Broken(fault) => assert!(fault.to_string().contains(expected), "{fault}"),
        other => panic!("{expected}: {other:?}"),
    };
    let maker = |tensors, facts| Maker::new(3, tensors, facts, Order::Little);
    check(b"GGXF".to_vec(), "begin as");
    check(b"\x80".to_vec(), "begin as");
    check(Maker::new(1, 0, 0, Order::Little).data(0), "version 1");
    check(Maker::new(4, 0, 0, Order::Big).data(0), "version 4");
    check(maker(0, 1).data(0), "ends within");
    check(maker(u64::MAX, 0).data(0), "ends within");
    check(maker(0, 2).fact("a", "").fact("a", "").data(0), "\"a\" is there twice");
    check(maker(0, 1).text("a").number_32(13).data(0), "unknown kind 13");
    check(maker(0, 1).text("a").number_32(TEXT).number_64(u64::MAX).data(0), "longer than");
    check(maker(0, 1).text("a").number_32(TEXT).number_64(999).data(0), "ends within");
    let array =
        |kind| maker(0, 1).text("a").number_32(ARRAY).number_32(kind).number_64(u64::MAX).data(64);
    check(array(4), "longer than");
    check(array(99), "unknown kind 99");
    let mut deep = maker(0, 1);
    deep.text("a").number_32(ARRAY);
    for _ in 0..9 {
        deep.number_32(ARRAY).number_64(1);
    }
    check(deep.data(64), "too deep");
    check(maker(0, 1).number("general.alignment", 3).data(0), "alignment 3");
    check(maker(0, 1).number("general.alignment", 0).data(0), "alignment 0");
    check(maker(0, 1).fact("general.alignment", "8").data(0), "alignment 0");
    check(maker(1, 0).text("t").number_32(5).data(99), "5 sides");
    check(maker(1, 0).tensor("t", &[u64::MAX, 2], 0, 0).data(99), "shape");
    check(maker(1, 0).tensor("t", &[255], 12, 0).data(999), "shape");
    check(maker(1, 0).tensor("t", &[1], 0, 31).data(99), "where no tensor may");
    check(maker(1, 0).tensor("t", &[8], 0, 0).data(31), "of a file of");
    check(maker(1, 0).tensor("t", &[8], 0, u64::MAX - 31).data(99), "shape");
    let two = maker(2, 0).tensor("t", &[9], 0, 0).tensor("u", &[1], 0, 32).data(99);
    check(two, "\"u\" overlaps \"t\"");
    let same = maker(2, 0).tensor("t", &[9], 77, 0).tensor("u", &[1], 0, 0).data(99);
    check(same, "overlaps");
    let twice = maker(2, 0).tensor("t", &[1], 0, 0).tensor("t", &[1], 0, 32).data(99);
    check(twice, "\"t\" is there twice");
    let mut odd = maker(0, 1);
    odd.number_64(1);
    odd.bytes.push(0xff);
    check(odd.data(9), "UTF-8");
}

#[test]
fn numbers_have_names() {
    assert_eq!(encoding_name(14), Some("Q6_K"));
    assert_eq!(encoding_name(4), None);
    assert_eq!(file_type_name(1024 + 7), Some("Q8_0"));
    assert_eq!(file_type_name(4), None);
}
