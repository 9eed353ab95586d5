//! Files for tests, written instruction by instruction: honest ones in the layouts that libraries write, and ones that would do harm to whoever loads them.
//! Nothing here is ever loaded.
//!
//! Names nothing of the crate, so that the tests in `tests/it` can take the file in as it is.

#[path = "samples/arrays.rs"]
mod arrays;
#[path = "samples/layouts.rs"]
mod layouts;

/// A call that would run a command, in the order of a pickle: what is called, its arguments, the call.
pub const COMMAND: &str = "true";

/// The second protocol and later ones begin so.
pub fn protocol(number: u8) -> Vec<u8> {
    vec![0x80, number]
}

/// A short text.
pub fn text(text: &str) -> Vec<u8> {
    let mut bytes = vec![0x8c, u8::try_from(text.len()).expect("a short text")];
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// A text of any length.
pub fn long_text(text: &[u8]) -> Vec<u8> {
    counted(b'X', text)
}

/// Bytes of any length.
pub fn bytes(content: &[u8]) -> Vec<u8> {
    counted(b'B', content)
}

fn counted(instruction: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("a small sample");
    [&[instruction][..], &length.to_le_bytes(), content].concat()
}

/// An import with its name in the instruction.
pub fn global(module: &str, name: &str) -> Vec<u8> {
    format!("c{module}\n{name}\n").into_bytes()
}

/// An import of the name on the stack.
pub fn stack_global(module: &str, name: &str) -> Vec<u8> {
    [text(module), text(name), vec![0x93]].concat()
}

/// A pickle of `parts`.
pub fn pickle(parts: &[&[u8]]) -> Vec<u8> {
    [&protocol(4)[..], &parts.concat(), b"."].concat()
}

/// A pickle that calls something with one text.
pub fn calls(module: &str, name: &str) -> Vec<u8> {
    pickle(&[&global(module, name), &text(COMMAND), b"\x85R"])
}

/// The pickle of a model's weights, as PyTorch writes it: `count` tensors that refer to numbers outside.
pub fn state_dict(count: usize) -> Vec<u8> {
    let mut body = vec![0x80, 2];
    body.extend_from_slice(b"ccollections\nOrderedDict\nq\0)Rq\x01(");
    for index in 0..count {
        body.extend_from_slice(&long_text(format!("layer.{index}.weight").as_bytes()));
        body.extend_from_slice(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        body.extend_from_slice(&long_text(b"storage"));
        body.extend_from_slice(b"ctorch\nFloatStorage\n");
        body.extend_from_slice(&long_text(index.to_string().as_bytes()));
        body.extend_from_slice(&long_text(b"cpu"));
        body.extend_from_slice(
            b"K\x10tQK\0K\x04K\x04\x86K\x04K\x01\x86\x89ccollections\nOrderedDict\n)RtR",
        );
    }
    body.extend_from_slice(b"u}");
    body.extend_from_slice(&long_text(b"_metadata"));
    body.extend_from_slice(b"h\x01sb.");
    body
}

/// How a ZIP archive's member is written.
#[derive(Debug, Clone)]
pub struct Member {
    pub name: String,
    pub content: Vec<u8>,
    /// The length stands behind it, as PyTorch writes it.
    pub has_descriptor: bool,
    /// What the directory says its name is, where it lies.
    pub listed_as: Option<String>,
    /// The method that heads name, when the content is compressed so already.
    pub method: u16,
    pub flags: u16,
}

impl Member {
    pub fn new(name: &str, content: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.to_owned(),
            content: content.into(),
            has_descriptor: true,
            listed_as: None,
            method: 0,
            flags: 0,
        }
    }
}

/// A ZIP archive.
pub fn zip(members: &[Member]) -> Vec<u8> {
    let mut archive = Vec::new();
    let mut directory = Vec::new();
    for member in members {
        let at = u32::try_from(archive.len()).expect("a small sample");
        let length = u32::try_from(member.content.len()).expect("a small sample").to_le_bytes();
        let flags = (member.flags | if member.has_descriptor { 0x0808 } else { 0 }).to_le_bytes();
        let said = if member.has_descriptor { [0; 4] } else { length };
        let method = member.method.to_le_bytes();
        let short = |text: &str| u16::try_from(text.len()).expect("a short name").to_le_bytes();
        archive.extend_from_slice(b"PK\x03\x04\0\0");
        archive.extend_from_slice(&[&flags[..], &method, &[0; 8], &said, &said].concat());
        archive.extend_from_slice(&[&short(&member.name)[..], &[4, 0]].concat());
        archive.extend_from_slice(member.name.as_bytes());
        archive.extend_from_slice(b"FB\0\0");
        archive.extend_from_slice(&member.content);
        if member.has_descriptor {
            archive.extend_from_slice(&[&b"PK\x07\x08"[..], &[0; 4], &length, &length].concat());
        }
        let listed = member.listed_as.as_ref().unwrap_or(&member.name);
        directory.extend_from_slice(b"PK\x01\x02\0\0\0\0");
        directory.extend_from_slice(&[&flags[..], &method, &[0; 8], &length, &length].concat());
        directory.extend_from_slice(&[&short(listed)[..], &[0; 12], &at.to_le_bytes()].concat());
        directory.extend_from_slice(listed.as_bytes());
    }
    let at = u32::try_from(archive.len()).expect("a small sample").to_le_bytes();
    let length = u32::try_from(directory.len()).expect("a small sample").to_le_bytes();
    let count = u16::try_from(members.len()).expect("a small sample").to_le_bytes();
    archive.extend_from_slice(&directory);
    archive.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    archive.extend_from_slice(&[&count[..], &count, &length, &at, &[0; 2]].concat());
    archive
}

/// What `torch.save` writes: this pickle, and tensors of `tensor_bytes` each.
pub fn torch(pickle: &[u8], tensors: usize, tensor_bytes: usize) -> Vec<u8> {
    let mut members = vec![Member::new("archive/data.pkl", pickle)];
    members.push(Member::new("archive/byteorder", *b"little"));
    for index in 0..tensors {
        let numbers = noise(tensor_bytes, index as u64 + 1);
        members.push(Member::new(&format!("archive/data/{index}"), numbers));
    }
    members.push(Member::new("archive/version", *b"3\n"));
    zip(&members)
}

/// What `torch.save` wrote before there were containers.
pub fn torch_legacy(pickle: &[u8], numbers: usize) -> Vec<u8> {
    let magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e";
    let version = b"\x80\x02M\xe9\x03.";
    let system = [&b"\x80\x02}q\0("[..], &long_text(b"little_endian"), b"\x88u."].concat();
    let keys = [&b"\x80\x02]q\0"[..], &long_text(b"0"), b"a."].concat();
    [&magic[..], version, &system, pickle, &keys, &noise(numbers, 5)].concat()
}

/// A tape archive.
pub fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, content) in members {
        let mut head = [0_u8; 512];
        head[..name.len()].copy_from_slice(name.as_bytes());
        head[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        head[148..156].copy_from_slice(b"        ");
        head[156] = b'0';
        head[257..262].copy_from_slice(b"ustar");
        let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
        head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive.extend_from_slice(&head);
        archive.extend_from_slice(content);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}

/// One array of NumPy's, of a type that is written so.
pub fn npy(dtype: &str, content: &[u8]) -> Vec<u8> {
    let mut header = format!("{{'descr': {dtype}, 'fortran_order': False, 'shape': (4,), }}");
    header.extend(std::iter::repeat_n(' ', 117_usize.saturating_sub(header.len())));
    header.push('\n');
    let length = u16::try_from(header.len()).expect("a short header").to_le_bytes();
    [&b"\x93NUMPY\x01\0"[..], &length, header.as_bytes(), content].concat()
}

/// A safetensors file with one tensor of so many bytes.
pub fn safetensors(numbers: usize) -> Vec<u8> {
    let header =
        format!(r#"{{"w":{{"dtype":"U8","shape":[{numbers}],"data_offsets":[0,{numbers}]}}}}"#);
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &noise(numbers, 9)].concat()
}

/// A GGUF file with a chat template and no tensors, and numbers behind it.
pub fn gguf(template: &str) -> Vec<u8> {
    let key = b"tokenizer.chat_template";
    let mut file = b"GGUF\x03\0\0\0".to_vec();
    file.extend_from_slice(&0_u64.to_le_bytes());
    file.extend_from_slice(&1_u64.to_le_bytes());
    file.extend_from_slice(&(key.len() as u64).to_le_bytes());
    file.extend_from_slice(key);
    file.extend_from_slice(&8_u32.to_le_bytes());
    file.extend_from_slice(&(template.len() as u64).to_le_bytes());
    file.extend_from_slice(template.as_bytes());
    file.resize(file.len().next_multiple_of(32), 0);
    file
}

/// A template that runs a command where it is not run in a sandbox.
pub const BAD_TEMPLATE: &str = "{% for m in messages %}{{ m.role }}{% endfor %}{{ cycler.__init__.__globals__.os.popen('true').read() }}";

/// A template as many models have it.
pub const GOOD_TEMPLATE: &str = "{%- if messages[0]['role'] == 'system' -%}{%- set system = messages[0]['content'] | trim -%}{%- set messages = messages[1:] -%}{%- endif -%}\
{%- for message in messages -%}{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}{{ raise_exception('roles must alternate') }}{%- endif -%}\
{{ '<|' + message['role'] + '|>' + message.content.split('</think>')[-1].lstrip('\\n') + eos_token }}{%- endfor -%}\
{%- if tools is defined and tools is not none -%}{%- for tool in tools -%}{{ tool | tojson(indent=4) }}{%- endfor -%}{%- endif -%}{%- if add_generation_prompt -%}{{ '<|assistant|>' }}{%- endif -%}";

/// Bytes that differ everywhere, the same for the same seed.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Files that do harm to whoever loads them, with what they are called here.
pub fn malicious() -> Vec<(&'static str, Vec<u8>)> {
    let evil = calls("os", "system");
    let stacked = pickle(&[&stack_global("posix", "system"), &text(COMMAND), b"\x85R"]);
    let hidden_bytes =
        [&protocol(2)[..], b"X\x02\0\0\0osX\x06\0\0\0system\x93X\x04\0\0\0true\x85R."].concat();
    vec![
        ("global", evil.clone()),
        ("stack global", stacked.clone()),
        ("protocol 0", b"cos\nsystem\n(S'true'\ntR.".to_vec()),
        ("inst", b"(S'true'\nios\nsystem\n.".to_vec()),
        ("obj", [&b"("[..], &global("os", "system"), b"S'true'\no."].concat()),
        ("newobj", pickle(&[&global("subprocess", "Popen"), &text(COMMAND), b"\x85\x81"])),
        ("eval", pickle(&[&global("builtins", "eval"), &text("1"), b"\x85R"])),
        ("getattr", pickle(&[&global("builtins", "getattr"), b")R"])),
        ("a module nobody thinks of", calls("pip", "main")),
        ("a module below", calls("torch.utils.bottleneck.__main__", "run_prof")),
        (
            "a path of names",
            pickle(&[&text("torch"), &text("_utils.os.system"), b"\x93", &text(COMMAND), b"\x85R"]),
        ),
        (
            "memo",
            pickle(&[
                &text("os"),
                b"\x94",
                &text("collections"),
                b"\x940",
                &text("system"),
                b"\x94\x930h\0h\x02\x93",
                &text(COMMAND),
                b"\x85R",
            ]),
        ),
        (
            "memo set twice",
            pickle(&[
                &text("collections"),
                b"q\x050",
                &text("os"),
                b"q\x050h\x05",
                &text("system"),
                b"\x93",
                &text(COMMAND),
                b"\x85R",
            ]),
        ),
        ("escaped name", b"Vo\\u0073\nVsystem\n\x93(S'true'\ntR.".to_vec()),
        ("name from outside", pickle(&[b"Pname\n", &text("system"), b"\x93)R"])),
        ("extension", pickle(&[b"\x82\x01)R"])),
        ("call of a call", pickle(&[&global("collections", "OrderedDict"), b")R)R"])),
        ("change of an import", pickle(&[&global("torch._utils", "_rebuild_tensor_v2"), b"}b"])),
        ("broken after the call", [&evil[..evil.len() - 1], b"\xff\xff"].concat()),
        ("broken", [&protocol(4)[..], b"\xff"].concat()),
        ("cut off", state_dict(3)[..80].to_vec()),
        ("recalls nothing", pickle(&[b"h\x09"])),
        ("behind an honest one", [state_dict(1), evil.clone()].concat()),
        ("torch", torch(&evil, 2, 100)),
        ("torch, old", torch_legacy(&evil, 100)),
        (
            "torch, old, in the first",
            [&calls("os", "system")[..], &torch_legacy(&state_dict(1), 100)].concat(),
        ),
        ("zip in zip", zip(&[Member::new("a.zip", torch(&evil, 1, 10))])),
        (
            "zip in zip in zip in zip in zip in zip",
            (0..6).fold(evil.clone(), |inner, _| zip(&[Member::new("inner.zip", inner)])),
        ),
        (
            "another name in the directory",
            zip(&[Member {
                listed_as: Some("archive/data.txt".to_owned()),
                ..Member::new("archive/data.pkl", state_dict(1))
            }]),
        ),
        (
            "flags of encryption",
            zip(&[Member { flags: 1, ..Member::new("archive/data.pkl", evil.clone()) }]),
        ),
        ("a member that is not listed", hidden_member(&evil)),
        ("bytes behind the end", [torch(&state_dict(1), 1, 10), evil.clone()].concat()),
        (
            "unknown compression",
            zip(&[Member {
                method: 14,
                has_descriptor: false,
                ..Member::new("data.pkl", evil.clone())
            }]),
        ),
        ("any name", zip(&[Member::new("archive/data/0", stacked)])),
        ("tar", tar(&[("model.ckpt", &torch(&evil, 1, 10))])),
        ("objects in an array", npy("'|O'", &evil)),
        ("objects in a field", npy("[('a', '<f8'), ('b', '|O')]", &evil)),
        ("array in an archive", zip(&[Member::new("a.npy", npy("'|O'", &evil))])),
        (
            "loaded bytes",
            pickle(&[&global("torch.storage", "_load_from_bytes"), &bytes(&evil), b"\x85R"]),
        ),
        (
            "loaded bytes without a mark",
            pickle(&[
                &global("torch.storage", "_load_from_bytes"),
                &bytes(b"cos\nsystem\n(S'true'\ntR."),
                b"\x85R",
            ]),
        ),
        (
            "loaded text",
            pickle(&[&global("torch.storage", "_load_from_bytes"), &text("x"), b"\x85R"]),
        ),
        ("texts as names", hidden_bytes),
        ("gguf", gguf(BAD_TEMPLATE)),
        (
            "tokenizer",
            format!("{{\"a\": [1, {{\"b\": \"}}\"}}], \"chat_template\": {}}}", json(BAD_TEMPLATE))
                .into_bytes(),
        ),
        (
            "tokenizer, escaped",
            format!(
                "{{\"chat\\u005ftemplate\": [{{\"name\": \"x\", \"template\": {}}}]}}",
                json(BAD_TEMPLATE)
            )
            .into_bytes(),
        ),
        ("safetensors with a tail", [safetensors(10), evil].concat()),
    ]
    .into_iter()
    .chain(arrays::malicious())
    .collect()
}

/// Files as libraries write them, and others that people put beside them.
pub fn honest() -> Vec<(String, Vec<u8>)> {
    let plain = plain().into_iter().map(|(name, file)| (name.to_owned(), file));
    plain.chain(layouts::all()).collect()
}

fn plain() -> Vec<(&'static str, Vec<u8>)> {
    let tensors = torch(&state_dict(20), 20, 4096);
    vec![
        ("torch", tensors.clone()),
        ("torch, old", torch_legacy(&state_dict(20), 20_000)),
        ("torch, a plain pickle", state_dict(20)),
        ("tensors in a plain pickle", pickle(&[&global("torch.storage", "_load_from_bytes"), &bytes(&torch_legacy(&state_dict(1), 64)), b"\x85R"])),
        ("torch in tar", tar(&[("model_config.yaml", b"a: 1\n"), ("model_weights.ckpt", &tensors)])),
        ("torchscript", zip(&[Member::new("m/data.pkl", pickle(&[&global("__torch__.m", "M"), b")\x81}b"])), Member::new("m/code/m.py", *b"def f(): pass\n"), Member::new("m/constants.pkl", pickle(&[b")"]))])),
        ("safetensors", safetensors(100_000)),
        ("gguf", gguf(GOOD_TEMPLATE)),
        ("npy", npy("'<f8'", &noise(32, 1))),
        ("npz", zip(&[Member { has_descriptor: false, ..Member::new("a.npy", npy("'<f4'", &noise(16, 1))) }])),
        ("random state", pickle(&[&global("numpy.core.multiarray", "_reconstruct"), &global("numpy", "ndarray"), b"K\0\x85", &bytes(b"b"), b"\x87R"])),
        ("hdf5", [&b"\x89HDF\r\n\x1a\n"[..], &noise(5000, 2)].concat()),
        ("keras", zip(&[Member { has_descriptor: false, ..Member::new("config.json", *b"{\"class_name\": \"Sequential\"}") }, Member { has_descriptor: false, ..Member::new("model.weights.h5", [&b"\x89HDF\r\n\x1a\n"[..], &noise(500, 3)].concat()) }])),
        ("onnx", [&b"\x08\x07\x12\x07pytorch\x1a\x052.1.0"[..], &noise(5000, 4)].concat()),
        ("parquet", [&b"PAR1"[..], &noise(5000, 5), b"PAR1"].concat()),
        ("config", b"{\"architectures\": [\"LlamaForCausalLM\"], \"auto_map\": {\"a\": \"b\"}}".to_vec()),
        ("tokenizer", format!("{{\"added\": {{\"0\": {{\"content\": \"<unk>\"}}}}, \"chat_template\": {}, \"z\": 1}}", json(GOOD_TEMPLATE)).into_bytes()),
        ("vocabulary", b"cat\ndog\nRed\n(in\nthe\nbeginning\nI am\nNone\n".repeat(100)),
        ("source", b"class Foo:\n    import os\n    def bar(self):\n        os.system('true')\n".to_vec()),
        ("readme", b"# A model\n\n(it is good)\n\n`{{ x.__class__ }}` is how templates are attacked.\n".to_vec()),
        ("proteins", b"NNRNNKRMNNNbbNN\n".repeat(50)),
        ("json lines", b"{\"a\": 1}\n{\"chat_template\": \"x\"}\n".repeat(20)),
        ("image", [&b"\xff\xd8\xff\xe0\0\x10JFIF"[..], &noise(3000, 6)].concat()),
        ("empty", Vec::new()),
        ("one byte", b"c".to_vec()),
    ]
}

/// A member of which the directory says nothing: between two that it names.
fn hidden_member(content: &[u8]) -> Vec<u8> {
    let all =
        zip(&[Member::new("a", *b"1"), Member::new("data.pkl", content), Member::new("b", *b"2")]);
    // Its row of the directory is taken out, and the count told without it.
    let start = find(&all, b"PK\x01\x02", 2);
    let end = find(&all, b"PK\x01\x02", 3);
    let mut without = [&all[..start], &all[end..]].concat();
    let tail = without.len() - 22;
    without[tail + 8] = 2;
    without[tail + 10] = 2;
    without
}

fn find(bytes: &[u8], mark: &[u8], count: usize) -> usize {
    let mut places = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(mark));
    places.nth(count - 1).expect("it is there")
}

/// A text as JSON writes it.
pub fn json(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{escaped}\"")
}
