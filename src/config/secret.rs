//! Reads the secrets that settings point to. Called at the start, by whoever needs one; never while settings are read.

use std::path::Path;

use crate::types::Secret;

/// The text of a file without the line ends behind it.
pub fn from_file(path: &Path) -> Result<Secret, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(format!("{} is empty, expected a secret", path.display())),
        secret => Ok(Secret::new(secret)),
    }
}

/// The value of an environment variable.
pub fn from_variable(name: &str) -> Result<Secret, String> {
    match std::env::var(name) {
        Ok(value) if !value.is_empty() => Ok(Secret::new(value)),
        _ => Err(format!("the environment variable {name} is not set, expected a secret")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_a_files_text_without_its_line_end() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("secret");
        let check = |text: &str, expected: Option<&str>| {
            std::fs::write(&path, text).expect("a file in a new folder");
            let secret = from_file(&path).ok();
            assert_eq!(secret.as_ref().map(Secret::expose), expected, "{text:?}");
        };
        check("hunter2\r\n", Some("hunter2"));
        check(" spaces stay ", Some(" spaces stay "));
        check("\n", None);
        check("", None);
    }

    #[test]
    fn a_secret_that_is_not_there_is_named() {
        assert!(from_file(Path::new("/nowhere")).is_err_and(|error| error.starts_with("/nowhere")));
        assert!(from_variable("LARDER_TEST_NOT_SET").is_err());
    }
}
