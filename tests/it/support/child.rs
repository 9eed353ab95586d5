//! Larder as a process of its own, for what only a process can suffer: `kill -9`, and being measured.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The binary.
pub fn binary() -> Command {
    scrubbed(Command::new(env!("CARGO_BIN_EXE_larder")))
}

/// `command` without the tests' own variables, which would be settings to the binary.
fn scrubbed(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"LARDER_") {
            command.env_remove(name);
        }
    }
    command
}

/// A running process. Dropping it kills it.
pub struct Process {
    pub base: String,
    child: Child,
}

impl Process {
    /// Starts the binary on `data`, with `settings` in TOML. Its log goes to `data/log`.
    pub fn start(data: &Path, settings: &str) -> Self {
        Self::run(binary(), data, settings)
    }

    /// The same under limits that a shell sets: `ulimit -n 200`.
    pub fn start_limited(data: &Path, settings: &str, limits: &str) -> Self {
        let mut shell = Command::new("sh");
        shell.args([
            "-c",
            &format!("{limits} && exec \"$0\" \"$@\""),
            env!("CARGO_BIN_EXE_larder"),
        ]);
        Self::run(scrubbed(shell), data, settings)
    }

    fn run(mut command: Command, data: &Path, settings: &str) -> Self {
        let file = data.join("larder.toml");
        std::fs::write(&file, settings).expect("the folder can be written");
        let mut child = command
            .args(["serve", "--listen", "127.0.0.1:0", "--config"])
            .arg(&file)
            .arg("--data-dir")
            .arg(data.join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(data.join("log")).expect("the folder can be written"))
            .spawn()
            .expect("the binary can be run");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let base = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                line.trim().strip_prefix("listens on").map(|rest| rest.trim().to_owned())
            })
            .expect("it says where it listens");
        // The rest of what it says at start-up fits into the pipe.
        Self { base: base.trim_end_matches('/').to_owned(), child }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(mut self) {
        self.end();
    }

    /// The most memory that has been resident so far, in bytes (`VmHWM`).
    pub fn peak_resident_bytes(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// Memory that is resident now, in bytes (`VmRSS`).
    pub fn resident_bytes(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// Descriptors that are open now.
    pub fn descriptors(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.child.id());
        std::fs::read_dir(folder).expect("the process is there").count()
    }

    fn status(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .expect("the process is there");
        let line =
            status.lines().find_map(|line| line.strip_prefix(field)).expect("the kernel says so");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib << 10
    }

    fn end(&mut self) {
        // Both fail only when it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}
