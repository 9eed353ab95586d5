//! Platforms, as container images name them (`linux/amd64`), and which builds of a Python package run there.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An operating system, an architecture and perhaps a variant of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Platform {
    pub os: String,
    pub architecture: String,
    pub variant: Option<String>,
}

impl Platform {
    /// Whether an image for `os`, `architecture` and `variant` is meant. A variant that either side leaves out is any.
    pub fn covers(&self, os: &str, architecture: &str, variant: Option<&str>) -> bool {
        let same_variant = match (self.variant.as_deref(), variant) {
            (Some(wanted), Some(given)) => wanted == given,
            _ => true,
        };
        self.os == os && self.architecture == architecture && same_variant
    }

    /// Whether a file of a Python package may be installed here, by its name (PEP 425). Source archives may be everywhere.
    pub fn takes(&self, filename: &str) -> bool {
        let Some(stem) = filename.strip_suffix(".whl") else { return true };
        let tags = stem.rsplit('-').next().unwrap_or_default();
        tags.split('.').any(|tag| self.takes_tag(tag))
    }

    fn takes_tag(&self, tag: &str) -> bool {
        if tag == "any" {
            return true;
        }
        let machines: &[&str] = match (self.os.as_str(), self.architecture.as_str()) {
            ("windows", "amd64") => return tag == "win_amd64",
            ("windows", "386") => return tag == "win32",
            ("windows", "arm64") => return tag == "win_arm64",
            ("darwin", "amd64") => &["x86_64", "universal2", "intel"],
            ("darwin", "arm64") => &["arm64", "universal2"],
            (_, "amd64") => &["x86_64"],
            (_, "arm64") => &["aarch64"],
            (_, "386") => &["i686"],
            (_, "arm") => &["armv7l", "armv6l"],
            (_, other) => &[other],
        };
        let system: &[&str] = match self.os.as_str() {
            "darwin" => &["macosx_"],
            "linux" => &["manylinux", "musllinux", "linux_"],
            _ => return false,
        };
        let is_system = system.iter().any(|system| tag.starts_with(system));
        let is_machine =
            |machine: &&str| tag.strip_suffix(*machine).is_some_and(|rest| rest.ends_with('_'));
        is_system && machines.iter().any(is_machine)
    }
}

impl FromStr for Platform {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || format!("{text:?} is no platform: write OS/ARCHITECTURE, as in linux/amd64");
        let mut parts = text.split('/');
        let plain = |part: &&str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        let mut next = || parts.next().filter(plain);
        let (os, architecture) = next().zip(next()).ok_or_else(fault)?;
        let variant = parts.next();
        if variant.is_some_and(|variant| !plain(&variant)) || parts.next().is_some() {
            return Err(fault());
        }
        // What people and other tools call the same.
        let os = if os == "macos" { "darwin" } else { os };
        let architecture = match architecture {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let variant = variant.map(str::to_owned);
        Ok(Self { os: os.to_owned(), architecture: architecture.to_owned(), variant })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl Serialize for Platform {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Platform {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_read() {
        for text in ["", "linux", "linux/", "/amd64", "linux/amd64/v2/x", "Linux/amd64"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
        for (text, expected) in [
            ("linux/amd64", "linux/amd64"),
            ("macos/aarch64", "darwin/arm64"),
            ("linux/arm/v7", "linux/arm/v7"),
        ] {
            assert_eq!(
                text.parse::<Platform>().map(|one| one.to_string()),
                Ok(expected.to_owned())
            );
        }
    }

    #[test]
    fn builds_run_where_their_tags_say() {
        let check = |platform: &str, tag: &str, expected: bool| {
            let platform: Platform = platform.parse().expect("a platform");
            assert_eq!(
                platform.takes(&format!("p-1-cp312-cp312-{tag}.whl")),
                expected,
                "{platform} {tag}"
            );
        };
        check("linux/amd64", "any", true);
        check("linux/amd64", "manylinux_2_17_x86_64.manylinux2014_x86_64", true);
        check("linux/amd64", "musllinux_1_2_x86_64", true);
        check("linux/amd64", "manylinux2014_aarch64", false);
        check("linux/amd64", "macosx_10_9_x86_64", false);
        check("linux/arm64", "manylinux2014_aarch64", true);
        check("darwin/arm64", "macosx_11_0_universal2", true);
        check("windows/amd64", "win_amd64", true);
        check("windows/amd64", "win32", false);
        let linux: Platform = "linux/amd64".parse().expect("a platform");
        assert!(linux.takes("p-1.tar.gz"));
        assert!(linux.covers("linux", "amd64", Some("v1")));
        assert!(!linux.covers("linux", "arm64", None));
    }
}
