//! Files: what they are by their names, and the one digest of them all.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::File;

/// What a file of weights is, by its name. What it really is, only its bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    Safetensors,
    Gguf,
    /// Python's own, which runs code when it is read; in PyTorch's files, too.
    Pickle,
    Onnx,
    Keras,
    Hdf5,
    Tensorflow,
    Tflite,
    Flax,
    Numpy,
    Openvino,
    Coreml,
    Tensorrt,
    Ggml,
    Paddle,
    /// A program with the weights in it.
    Executable,
}

impl Format {
    /// Whether reading it can run code that is in it.
    pub const fn can_run_code(self) -> bool {
        matches!(self, Self::Pickle | Self::Executable | Self::Keras | Self::Hdf5)
    }

    /// As it is written in passports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::Gguf => "gguf",
            Self::Pickle => "pickle",
            Self::Onnx => "onnx",
            Self::Keras => "keras",
            Self::Hdf5 => "hdf5",
            Self::Tensorflow => "tensorflow",
            Self::Tflite => "tflite",
            Self::Flax => "flax",
            Self::Numpy => "numpy",
            Self::Openvino => "openvino",
            Self::Coreml => "coreml",
            Self::Tensorrt => "tensorrt",
            Self::Ggml => "ggml",
            Self::Paddle => "paddle",
            Self::Executable => "executable",
        }
    }
}

/// The format of weights that a path stands for.
pub fn format_of(path: &str) -> Option<Format> {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let (stem, extension) = name.rsplit_once('.')?;
    Some(match extension {
        "safetensors" => Format::Safetensors,
        "gguf" => Format::Gguf,
        "ggml" => Format::Ggml,
        "pt" | "pth" | "ckpt" | "pkl" | "pickle" | "joblib" | "dill" | "mar" | "nemo" | "ptl"
        | "pt2" => Format::Pickle,
        // What training leaves behind is called so, too; it is written by the same means.
        "bin" if is_pytorch(stem) => Format::Pickle,
        "bin" if stem.starts_with("openvino") => Format::Openvino,
        "bin" if stem.starts_with("ggml") || stem.starts_with("ggjt") => Format::Ggml,
        "onnx" | "onnx_data" | "ort" => Format::Onnx,
        "keras" => Format::Keras,
        "h5" | "hdf5" => Format::Hdf5,
        "pb" => Format::Tensorflow,
        "tflite" | "litertlm" | "task" => Format::Tflite,
        "msgpack" => Format::Flax,
        "npy" | "npz" => Format::Numpy,
        "mlmodel" | "mlpackage" => Format::Coreml,
        "engine" | "plan" | "trt" => Format::Tensorrt,
        "pdparams" | "pdiparams" | "pdmodel" => Format::Paddle,
        "llamafile" | "exe" | "dll" | "so" | "dylib" => Format::Executable,
        _ => return None,
    })
}

fn is_pytorch(stem: &str) -> bool {
    [
        "pytorch_model",
        "adapter_model",
        "model",
        "diffusion_pytorch_model",
        "training_args",
        "optimizer",
        "scheduler",
    ]
    .iter()
    .any(|known| stem.starts_with(known))
}

/// Whether a path is one that the specification leaves out of a model's manifest: git's own files, and the signature.
fn is_left_out(path: &str) -> bool {
    let first = path.split('/').next().unwrap_or(path);
    matches!(first, ".git" | ".github" | ".gitattributes" | ".gitignore") || path == "model.sig"
}

/// Whether a file is a signature, by its name.
pub(super) fn is_signature(path: &str) -> bool {
    [".sig", ".asc", ".sigstore", ".sigstore.json"].iter().any(|end| path.ends_with(end))
}

/// One digest of all files: the SHA-256 of their SHA-256 digests, in the order of their paths. `Err`: why there is none.
pub(super) fn manifest_root(files: &[File]) -> Result<String, String> {
    let mut included: Vec<&File> = files.iter().filter(|file| !is_left_out(&file.path)).collect();
    included.sort_by(|one, other| one.path.cmp(&other.path));
    if included.is_empty() {
        return Err("there are no files".to_owned());
    }
    let mut hasher = Sha256::new();
    let mut missing: Vec<&str> = Vec::new();
    for file in included {
        let digest = file.sha256.as_deref().and_then(|text| hex::decode(text).ok());
        match digest.filter(|digest| digest.len() == 32) {
            Some(digest) => hasher.update(digest),
            None => missing.push(&file.path),
        }
    }
    match missing.as_slice() {
        [] => Ok(hex::encode(hasher.finalize())),
        [one] => Err(format!("the SHA-256 of {one} is not known: its bytes are not kept")),
        [one, more @ ..] => Err(format!(
            "the SHA-256 of {one} and {} other files is not known: their bytes are not kept",
            more.len()
        )),
    }
}
