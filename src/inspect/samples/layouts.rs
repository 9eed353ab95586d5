//! Files as the best-known libraries write them: honest ones, each of which must pass.
//!
//! Those that are small and the same each time were written by the libraries themselves (`tests/clients.d/layouts.py`) and lie in `tests/fixtures/layouts`.
//! The others, of libraries too large to be installed for a test, are put together here as their formats say.

use super::{GOOD_TEMPLATE, Member, gguf, json, noise, npy, safetensors, zip};

mod templates;
mod tensors;

pub use templates::TEMPLATES;

/// Files that libraries wrote, by their names.
macro_rules! written {
    ($($name:literal,)*) => {
        [$(($name, include_bytes!(concat!("../../../tests/fixtures/layouts/", $name)).as_slice())),*]
    };
}

/// What the libraries themselves wrote.
const WRITTEN: [(&str, &[u8]); 83] = written![
    "array.joblib",
    "arrays 2.joblib",
    "arrays 3.joblib",
    "arrays 4.joblib",
    "arrays 5.joblib",
    "arrays gzip.joblib",
    "arrays zlib.joblib",
    "arrays.joblib",
    "keras.h5",
    "kinds.gguf",
    "kinds.pkl",
    "kinds.safetensors",
    "lightgbm.txt",
    "model.onnx",
    "nothing.safetensors",
    "numpy S3.npy",
    "numpy U3.npy",
    "numpy bool.npy",
    "numpy complex64.npy",
    "numpy compressed.npz",
    "numpy datetime64.npy",
    "numpy fields.npy",
    "numpy float16.npy",
    "numpy float32.npy",
    "numpy float64.npy",
    "numpy fortran.npy",
    "numpy int64.npy",
    "numpy int8.npy",
    "numpy letters.npy",
    "numpy uint8.npy",
    "numpy.npz",
    "pandas series.pkl",
    "pandas.pkl",
    "pandas.pkl.gz",
    "pickle 0.pkl",
    "pickle 1.pkl",
    "pickle 2.pkl",
    "pickle 3.pkl",
    "pickle 4.pkl",
    "pickle 5.pkl",
    "sklearn bayes.joblib",
    "sklearn bayes.pkl",
    "sklearn boosting.joblib",
    "sklearn boosting.pkl",
    "sklearn columns.joblib",
    "sklearn columns.pkl",
    "sklearn forest.joblib",
    "sklearn forest.pkl",
    "sklearn histograms.joblib",
    "sklearn histograms.pkl",
    "sklearn isolation.joblib",
    "sklearn isolation.pkl",
    "sklearn labels.joblib",
    "sklearn labels.pkl",
    "sklearn linear.joblib",
    "sklearn linear.pkl",
    "sklearn logistic.joblib",
    "sklearn logistic.pkl",
    "sklearn means.joblib",
    "sklearn means.pkl",
    "sklearn neighbours.joblib",
    "sklearn neighbours.pkl",
    "sklearn network.joblib",
    "sklearn network.pkl",
    "sklearn parts.joblib",
    "sklearn parts.pkl",
    "sklearn pipeline.joblib",
    "sklearn pipeline.pkl",
    "sklearn process.joblib",
    "sklearn process.pkl",
    "sklearn ridge.joblib",
    "sklearn ridge.pkl",
    "sklearn search.joblib",
    "sklearn search.pkl",
    "sklearn sgd.joblib",
    "sklearn sgd.pkl",
    "sklearn vectors.joblib",
    "sklearn vectors.pkl",
    "sklearn words.joblib",
    "sklearn words.pkl",
    "sklearn zlib.joblib",
    "vocabulary.pkl",
    "vocabulary.pkl.gz",
];

/// All of them.
pub fn all() -> Vec<(String, Vec<u8>)> {
    let written = WRITTEN.iter().map(|(name, file)| ((*name).to_owned(), file.to_vec()));
    let mut all: Vec<_> = written.collect();
    all.extend(tensors::all());
    all.extend(headers());
    all.extend(described());
    all.extend(frameworks());
    all
}

/// A GGUF file with tensors of these encodings (number, numbers of a block, bytes of a block), a row of 256 numbers each.
fn quantised(version: u32, encodings: &[(u32, u64, u64)], is_big: bool) -> Vec<u8> {
    let put = |file: &mut Vec<u8>, number: u64, width: usize| match is_big {
        true => file.extend_from_slice(&number.to_be_bytes()[8 - width..]),
        false => file.extend_from_slice(&number.to_le_bytes()[..width]),
    };
    let name = |file: &mut Vec<u8>, text: &str| {
        put(file, text.len() as u64, 8);
        file.extend_from_slice(text.as_bytes());
    };
    let mut file = b"GGUF".to_vec();
    put(&mut file, version.into(), 4);
    put(&mut file, encodings.len() as u64, 8);
    put(&mut file, 1, 8);
    name(&mut file, "general.architecture");
    put(&mut file, 8, 4);
    name(&mut file, "llama");
    let mut offset = 0;
    for (number, block, bytes) in encodings {
        name(&mut file, &format!("blk.{number}.weight"));
        put(&mut file, 1, 4);
        put(&mut file, 256, 8);
        put(&mut file, (*number).into(), 4);
        put(&mut file, offset, 8);
        offset += (256 / block * bytes).next_multiple_of(32);
    }
    file.resize(file.len().next_multiple_of(32), 0);
    let numbers = usize::try_from(offset).expect("a small sample");
    file.extend_from_slice(&noise(numbers, 11));
    file
}

/// Formats that are a header and numbers.
fn headers() -> Vec<(String, Vec<u8>)> {
    const ENCODINGS: [(&str, u32, u64, u64); 27] = [
        ("F32", 0, 1, 4),
        ("F16", 1, 1, 2),
        ("Q4_0", 2, 32, 18),
        ("Q4_1", 3, 32, 20),
        ("Q5_0", 6, 32, 22),
        ("Q5_1", 7, 32, 24),
        ("Q8_0", 8, 32, 34),
        ("Q2_K", 10, 256, 84),
        ("Q3_K", 11, 256, 110),
        ("Q4_K", 12, 256, 144),
        ("Q5_K", 13, 256, 176),
        ("Q6_K", 14, 256, 210),
        ("Q8_K", 15, 256, 292),
        ("IQ2_XXS", 16, 256, 66),
        ("IQ2_XS", 17, 256, 74),
        ("IQ3_XXS", 18, 256, 98),
        ("IQ1_S", 19, 256, 50),
        ("IQ4_NL", 20, 32, 18),
        ("IQ3_S", 21, 256, 110),
        ("IQ2_S", 22, 256, 82),
        ("IQ4_XS", 23, 256, 136),
        ("IQ1_M", 29, 256, 56),
        ("BF16", 30, 1, 2),
        ("TQ1_0", 34, 256, 54),
        ("TQ2_0", 35, 256, 66),
        ("MXFP4", 39, 32, 17),
        ("of tomorrow", 99, 1, 1),
    ];
    let mut files: Vec<(String, Vec<u8>)> = ENCODINGS
        .iter()
        .map(|(name, number, block, bytes)| {
            (format!("gguf {name}"), quantised(3, &[(*number, *block, *bytes)], false))
        })
        .collect();
    let mixed: Vec<_> =
        ENCODINGS[..26].iter().map(|(_, number, block, bytes)| (*number, *block, *bytes)).collect();
    files.push(("gguf of every encoding, version 2".to_owned(), quantised(2, &mixed, false)));
    files.push(("gguf, the other order of bytes".to_owned(), quantised(3, &mixed, true)));
    let kinds = [
        ("BOOL", 8),
        ("U8", 8),
        ("I8", 8),
        ("F8_E4M3", 8),
        ("F8_E5M2", 8),
        ("F8_E8M0", 8),
        ("U16", 16),
        ("I16", 16),
        ("F16", 16),
        ("BF16", 16),
        ("U32", 32),
        ("I32", 32),
        ("F32", 32),
        ("U64", 64),
        ("I64", 64),
        ("F64", 64),
        ("C64", 64),
        ("F4", 4),
        ("F6_E2M3", 6),
        ("F6_E3M2", 6),
        ("OF_TOMORROW", 24),
    ];
    for (kind, bits) in kinds {
        let length = 8 * bits / 8;
        let head = format!(
            "{{\"__metadata__\":{{\"format\":\"pt\"}},\"w\":{{\"dtype\":\"{kind}\",\"shape\":[2,4],\"data_offsets\":[0,{length}]}}}}"
        );
        let head = format!("{head:<width$}", width = head.len().next_multiple_of(8));
        let file =
            [&(head.len() as u64).to_le_bytes()[..], head.as_bytes(), &noise(length, 3)].concat();
        files.push((format!("safetensors {kind}"), file));
    }
    let wide = "('a', '<f4'), ".repeat(6000);
    let header = format!("{{'descr': [{wide}], 'fortran_order': False, 'shape': (1,), }}\n");
    let length = u32::try_from(header.len()).expect("a short header").to_le_bytes();
    files.push((
        "numpy, a long header".to_owned(),
        [&b"\x93NUMPY\x02\0"[..], &length, header.as_bytes(), &noise(24_000, 1)].concat(),
    ));
    files.push(("numpy, numbers".to_owned(), npy("'<f8'", &noise(32, 1))));
    files.push(("safetensors".to_owned(), safetensors(5000)));
    files
}

/// Texts that say how models are used.
fn described() -> Vec<(String, Vec<u8>)> {
    let mut files = vec![
        ("config.json", "{\"architectures\": [\"LlamaForCausalLM\"], \"rope_scaling\": {\"factor\": 8.0}, \"quantization_config\": {\"quant_method\": \"gptq\", \"bits\": 4}}"),
        ("generation_config.json", "{\"bos_token_id\": 1, \"eos_token_id\": [2, 3], \"temperature\": 0.6, \"stop_strings\": [\"</s>\"]}"),
        ("model.safetensors.index.json", "{\"metadata\": {\"total_size\": 5}, \"weight_map\": {\"w\": \"model-00001-of-00002.safetensors\"}}"),
        ("tokenizer.json", "{\"version\": \"1.0\", \"added_tokens\": [{\"id\": 0, \"content\": \"<s>\"}], \"model\": {\"type\": \"BPE\", \"vocab\": {\"a__b\": 0, \"{{\": 1}, \"merges\": [\"a b\"]}}"),
        ("modules.json", "[{\"idx\": 0, \"name\": \"0\", \"path\": \"\", \"type\": \"sentence_transformers.models.Transformer\"}]"),
        ("preprocessor_config.json", "{\"image_mean\": [0.5, 0.5, 0.5], \"size\": {\"height\": 224}}"),
        ("model_index.json", "{\"_class_name\": \"StableDiffusionPipeline\", \"unet\": [\"diffusers\", \"UNet2DConditionModel\"]}"),
        ("adapter_config.json", "{\"peft_type\": \"LORA\", \"r\": 16, \"target_modules\": [\"q_proj\"]}"),
        ("xgboost.json", "{\"learner\":{\"attributes\":{},\"gradient_booster\":{\"model\":{\"trees\":[]}}},\"version\":[2,1,0]}"),
        ("merges.txt", "#version: 0.2\n\u{120} t\n\u{120} a\nh e\n"),
        ("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n.\n(\n)\nos\nsystem\ncposix\n"),
        ("special_tokens_map.json", "{\"bos_token\": {\"content\": \"<s>\", \"lstrip\": false}}"),
    ]
    .into_iter()
    .map(|(name, file)| (name.to_owned(), file.as_bytes().to_vec()))
    .collect::<Vec<_>>();
    for (family, template) in TEMPLATES {
        files.push((format!("gguf with a template {family}"), gguf(template)));
        let config = format!(
            "{{\"bos_token\": \"<s>\", \"chat_template\": {}, \"model_max_length\": 4096}}",
            json(template)
        );
        files.push((format!("tokenizer_config.json {family}"), config.into_bytes()));
    }
    let several = format!(
        "{{\"chat_template\": [{{\"name\": \"default\", \"template\": {}}}, {{\"name\": \"tool_use\", \"template\": {}}}]}}",
        json(GOOD_TEMPLATE),
        json(TEMPLATES[0].1)
    );
    files.push(("tokenizer_config.json, several templates".to_owned(), several.into_bytes()));
    files
}

/// Formats that are not looked into, by what they begin with.
fn frameworks() -> Vec<(String, Vec<u8>)> {
    let head = |start: &[u8]| [start, &noise(2000, 21)].concat();
    let stored =
        |name: &str, content: &[u8]| Member { has_descriptor: false, ..Member::new(name, content) };
    let weights = head(b"\x89HDF\r\n\x1a\n");
    let files: Vec<(&str, Vec<u8>)> = vec![
        (
            "keras",
            zip(&[
                stored("metadata.json", b"{\"keras_version\": \"3.4.1\"}"),
                stored("config.json", b"{\"module\": \"keras\", \"class_name\": \"Functional\"}"),
                stored("model.weights.h5", &weights),
            ]),
        ),
        ("keras before archives", weights),
        ("saved_model.pb", head(b"\x08\x01\x12\x82\x01\n\x1a\n\x05Const\x12\x06output\"\x05dtype")),
        ("variables.index", head(b"\0\0\x06\x08\x01\x1a\x02\x08\x01\0\x1b\x1b")),
        (
            "flax_model.msgpack",
            head(b"\x82\xa5model\x81\xa6weight\xc7\x20\x01\x93\x92\x02\x02\xa7float32\xc4\x10"),
        ),
        ("model.tflite", head(b"\x1c\0\0\0TFL3\x14\0\x20\0\x1c\0\x18\0\x14\0\x10\0")),
        ("model.mlmodel", head(b"\x08\x04\x12\xf2\x01\n\xa1\x01\n\x05input\x12\x0ctext to read")),
        (
            "model.mlpackage/Manifest.json",
            b"{\"fileFormatVersion\": \"1.0.0\", \"itemInfoEntries\": {}}".to_vec(),
        ),
        ("model.onnx_data", noise(5000, 23)),
        ("fastText", head(b"\xba\x16\x4f\x2f\x0c\0\0\0\x64\0\0\0\x05\0\0\0")),
        (
            "tokenizer.model",
            head(b"\n\x0e\n\x05<unk>\x15\0\0\0\0\x18\x02\n\x0c\n\x03<s>\x15\0\0\0\0\x18\x03"),
        ),
        ("ggml", head(b"lmgg\x01\0\0\0\0\x7d\0\0")),
        (
            "openvino.xml",
            b"<?xml version=\"1.0\"?>\n<net name=\"m\" version=\"11\"><layers/></net>\n".to_vec(),
        ),
        ("openvino.bin", noise(4096, 25)),
        ("tensorboard", head(b"\x18\0\0\0\0\0\0\0\xa3\x7fK\"\t\0\0\xc0\x9a\x9c\x8d\xd9A")),
        ("parquet", head(b"PAR1\x15\x04\x15\x10")),
        ("arrow", head(b"ARROW1\0\0\xff\xff\xff\xff")),
        ("wav", head(b"RIFF\x24\x08\0\0WAVEfmt ")),
        ("xgboost.ubj", head(b"{L\0\0\0\0\0\0\0\x07learner{L\0\0\0\0\0\0\0\nattributes{}")),
        ("paddle", head(b"\0\0\0\0\0\0\0\0\0\0\0\0\x02\0\0\0\x08\x05")),
        ("dataset in gzip", [&b"\x1f\x8b\x08\0\0\0\0\0\0\x03"[..], &noise(900, 27)].concat()),
        ("dataset in zstd", head(b"\x28\xb5\x2f\xfd\x04\0")),
        ("modeling.py", b"import torch\n\nclass Model(torch.nn.Module):\n    pass\n".to_vec()),
        (
            "training.log",
            b"[2026-01-01] step 1 loss 2.3\n[2026-01-01] step 2 loss 2.2\n".repeat(40),
        ),
    ];
    files.into_iter().map(|(name, file)| (name.to_owned(), file)).collect()
}
