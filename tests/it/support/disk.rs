//! File systems that a test can fill up, take away or cut the power of. They want the right to mount, which root has unless a container takes it away.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// Whether this process may mount file systems; where it may, a mount that fails is a failure of the test.
pub fn may_mount() -> bool {
    const SYS_ADMIN: u64 = 1 << 21;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let capabilities = line.and_then(|line| u64::from_str_radix(line.trim(), 16).ok()).unwrap_or(0);
    let may = capabilities & SYS_ADMIN != 0;
    if !may {
        eprintln!("nothing can be mounted here, so this test shows nothing");
    }
    may
}

/// A mounted file system. Dropping it unmounts it.
pub struct Mount {
    place: TempDir,
    kind: String,
    /// The file that a disk is made of, where there is one.
    image: Option<PathBuf>,
    _folder: Option<TempDir>,
}

impl Mount {
    /// A file system in memory of so many mebibytes.
    pub fn in_memory(mebibytes: u64) -> Self {
        let place = TempDir::new().expect("a temporary folder can be made");
        run("mount", &["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"], place.path());
        Self { place, kind: "tmpfs".to_owned(), image: None, _folder: None }
    }

    /// A file system of the kind `kind` on a disk of so many mebibytes, which is a file.
    pub fn on_disk(kind: &str, mebibytes: u64) -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let image = folder.path().join("disk");
        std::fs::File::create(&image)
            .and_then(|file| file.set_len(mebibytes << 20))
            .expect("there is room");
        run(&format!("mkfs.{kind}"), &["-q"], &image);
        let place = TempDir::new().expect("a temporary folder can be made");
        let kind = kind.to_owned();
        let mount = Self { place, kind, image: Some(image), _folder: Some(folder) };
        mount.mount();
        mount
    }

    pub fn path(&self) -> &Path {
        self.place.path()
    }

    /// Mounts it again with other options.
    pub fn remount(&self, options: &str) {
        run("mount", &["-o", &format!("remount,{options}")], self.path());
    }

    /// Kinds of file systems that this machine has, and can make disks of.
    pub fn kinds() -> Vec<&'static str> {
        let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
        let is_known = |kind: &str| known.lines().any(|line| line.trim() == kind);
        let has_program = |kind: &str| {
            let program = format!("mkfs.{kind}");
            let found = Command::new(program)
                .arg("-V")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            found.is_ok()
        };
        let (have, lack): (Vec<_>, Vec<_>) = ["ext4", "xfs", "btrfs"]
            .into_iter()
            .partition(|kind| is_known(kind) && has_program(kind));
        if !lack.is_empty() {
            eprintln!("there is no {} here, or nothing that makes it", lack.join(", "));
        }
        have
    }

    /// Whether the power can be cut while somebody writes. Where not, what has reached the disk once its writer was killed is what is left.
    pub fn has_switch(&self) -> bool {
        self.kind != "btrfs"
    }

    /// Cuts the power: nothing that is not on the disk yet gets there.
    pub fn cut_power(&self) {
        if !self.has_switch() {
            let image = self.image.as_deref().expect("only disks lose power");
            // The loop device has written into the file what reached it; what the file system still holds is not there.
            run("cp", &["--sparse=always", &image.display().to_string()], &left(image));
            return;
        }
        // What `EXT4_IOC_SHUTDOWN` without flushing the journal is called with; other file systems took the number over.
        const PROGRAM: &str = "import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";
        run("python3", &["-c", PROGRAM], self.path());
    }

    /// Takes it away and brings it back, as after a start of the machine.
    pub fn restart(&self) {
        run("umount", &[], self.path());
        let image = self.image.as_deref().expect("only disks are brought back");
        if left(image).exists() {
            std::fs::rename(left(image), image).expect("both are in one folder");
        }
        self.mount();
    }

    /// Takes up all room but `left` bytes.
    pub fn fill(&self, left: u64) {
        let stat = rustix::fs::statvfs(self.path()).expect("it is mounted");
        let free = stat.f_bavail * stat.f_frsize;
        let junk = vec![0; free.saturating_sub(left) as usize];
        std::fs::write(self.path().join("junk"), junk).expect("there is room");
    }

    /// Gives back what [`Mount::fill`] took.
    pub fn empty(&self) {
        std::fs::remove_file(self.path().join("junk")).expect("it is there");
    }

    fn mount(&self) {
        let image = self.image.as_deref().expect("only disks are mounted again");
        run("mount", &["-o", "loop", &image.display().to_string()], self.path());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily, because whoever uses it is being killed.
        let unmounted = Command::new("umount").arg("-l").arg(self.path()).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} stays mounted", self.path().display());
        }
    }
}

/// What is left of a disk behind a power cut that was no switch's.
fn left(image: &Path) -> PathBuf {
    image.with_extension("left")
}

fn run(program: &str, arguments: &[&str], path: &Path) {
    let mut command = Command::new(program);
    let output = command.args(arguments).arg(path).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}
