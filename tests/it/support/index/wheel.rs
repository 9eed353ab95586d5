//! Builds tiny valid wheels, the same bytes every time, so that real installers can install from a fake index.

use std::io::{Cursor, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use zip::CompressionMethod::Stored;
use zip::write::SimpleFileOptions;

/// A wheel and the `METADATA` inside it.
pub struct Wheel {
    pub bytes: Vec<u8>,
    pub metadata: String,
}

/// A wheel of one module that says its version. `more_metadata` are whole lines; `ballast` bytes of zeros make it larger.
pub fn build(name: &str, version: &str, more_metadata: &str, ballast: usize) -> Wheel {
    let module = name.replace(['-', '.'], "_");
    let info = format!("{module}-{version}.dist-info");
    let metadata =
        format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{more_metadata}");
    let mut files = vec![
        (format!("{module}/__init__.py"), format!("__version__ = \"{version}\"\n").into_bytes()),
        (format!("{info}/METADATA"), metadata.clone().into_bytes()),
        (
            format!("{info}/WHEEL"),
            b"Wheel-Version: 1.0\nGenerator: larder\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
                .to_vec(),
        ),
    ];
    if ballast > 0 {
        files.push((format!("{module}/ballast.bin"), vec![0; ballast]));
    }
    let mut record: String = files.iter().map(|(path, bytes)| record_line(path, bytes)).collect();
    record.push_str(&format!("{info}/RECORD,,\n"));
    files.push((format!("{info}/RECORD"), record.into_bytes()));
    Wheel { bytes: archive(&files), metadata }
}

fn record_line(path: &str, bytes: &[u8]) -> String {
    let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(bytes));
    format!("{path},sha256={digest},{}\n", bytes.len())
}

fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    // The default time is a constant, so that equal wheels have equal bytes.
    let options = SimpleFileOptions::default().compression_method(Stored);
    for (path, bytes) in files {
        archive.start_file(path, options).expect("a file can be added");
        archive.write_all(bytes).expect("memory can be written");
    }
    archive.finish().expect("the archive can be closed").into_inner()
}
