//! Cards that can fail: ext4 images on loop devices, inside an XFS image that copies them in no
//! time. Needs root and loop devices.
//!
//! A reflinked copy of an image is what a power cut at that instant leaves: everything that the
//! file system had handed to its device, and nothing that was only in memory. Deliberately
//! absent: a device that lies. A loop device does by itself: of a write that its file takes only in
//! part, for want of space behind it, it says that it succeeded. So a card is written in
//! single blocks, each of which is taken or refused.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::out::say;

/// What must be installed, by command.
const TOOLS: [&str; 7] = [
    "mkfs.xfs",
    "mkfs.ext4",
    "mount",
    "umount",
    "xfs_io",
    "sqlite3",
    "unshare",
];

/// The ballast's name on a card or on the host.
const BALLAST: &str = "rig-ballast";

/// Says that this process has mounts of its own.
const OWN_MOUNTS: &str = "CARDIO_RIG_OWN_MOUNTS";

/// Why cards cannot be had on this machine; `None` when they can.
pub(crate) fn obstacle() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("loop devices and mounts need root".to_owned());
    }
    if !Path::new("/dev/loop-control").exists() {
        return Some("this machine has no loop devices".to_owned());
    }
    let missing: Vec<&str> = TOOLS.into_iter().filter(|tool| !is_there(tool)).collect();
    (!missing.is_empty()).then(|| {
        format!(
            "not installed: {} (Debian: xfsprogs e2fsprogs util-linux sqlite3)",
            missing.join(" ")
        )
    })
}

fn is_there(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|folder| folder.join(tool).is_file())
}

/// Runs this program again with mounts that nobody else sees and that end with it, however it
/// ends. Returns only inside of that, or when it cannot be had.
pub(crate) fn own_mounts() -> anyhow::Result<()> {
    use std::os::unix::process::CommandExt as _;
    if std::env::var_os(OWN_MOUNTS).is_some() {
        return Ok(());
    }
    let own = std::env::current_exe().context("cannot tell where this program lies")?;
    let failed = Command::new("unshare")
        .arg("--mount")
        .arg(own)
        .args(std::env::args_os().skip(1))
        .env(OWN_MOUNTS, "1")
        .exec();
    Err(failed).context("cannot run unshare")
}

/// A mounted file system; dropping it unmounts it.
struct Mount(PathBuf);

impl Mount {
    fn new(image: &Path, at: &Path, options: &str) -> anyhow::Result<Self> {
        std::fs::create_dir_all(at).with_context(|| format!("cannot create {}", at.display()))?;
        run(Command::new("mount")
            .args(["-o", options])
            .arg(image)
            .arg(at))?;
        Ok(Self(at.to_path_buf()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if run(Command::new("umount").arg(&self.0)).is_err() {
            say(format!("{} is busy; it goes later", self.0.display()));
            // It goes when its last user goes.
            let _ = run(Command::new("umount").arg("--lazy").arg(&self.0));
        }
    }
}

/// The XFS file system that holds the images of the cards.
pub(crate) struct Host {
    mount: Mount,
}

impl Host {
    /// Makes a sparse one of `mib` MiB in `folder`.
    pub(crate) fn make(folder: &Path, mib: u64) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let image = folder.join("host.xfs");
        sparse(&image, mib)?;
        run(Command::new("mkfs.xfs")
            .args(["-q", "-f", "-m", "reflink=1"])
            .arg(&image))?;
        let mount = Mount::new(&image, &folder.join("host"), "loop")?;
        Ok(Self { mount })
    }

    /// Makes a card of `mib` MiB and mounts it at `at`.
    pub(crate) fn card(&self, name: &str, mib: u64, at: &Path) -> anyhow::Result<Card> {
        let image = self.mount.0.join(format!("{name}.img"));
        sparse(&image, mib)?;
        run(Command::new("mkfs.ext4")
            .args(["-q", "-F", "-E", "lazy_itable_init=1"])
            .arg(&image))?;
        Card::insert(image, at)
    }

    /// Takes all space of the device under the cards: writes of blocks that they have never
    /// written fail. What the device has accepted before, it keeps.
    pub(crate) fn fill(&self) -> anyhow::Result<()> {
        flush(&self.mount.0)?;
        fill(&self.mount.0)
    }

    /// Gives the space back.
    pub(crate) fn free(&self) -> anyhow::Result<()> {
        free(&self.mount.0)
    }
}

/// One ext4 file system on a loop device, as a card in a box.
pub(crate) struct Card {
    image: PathBuf,
    at: PathBuf,
    mount: Option<Mount>,
}

impl Card {
    /// Mounts an image.
    pub(crate) fn insert(image: PathBuf, at: &Path) -> anyhow::Result<Self> {
        let mut card = Self {
            image,
            at: at.to_path_buf(),
            mount: None,
        };
        card.mount()?;
        Ok(card)
    }

    /// What a power cut at this instant leaves, as a new image.
    pub(crate) fn cut(&self, name: &str) -> anyhow::Result<PathBuf> {
        reflink(&self.image, name)
    }

    /// Takes the card out and puts `image` in its place.
    pub(crate) fn replace_with(&mut self, image: &Path) -> anyhow::Result<()> {
        self.unmount()?;
        std::fs::rename(image, &self.image)
            .with_context(|| format!("cannot replace {}", self.image.display()))?;
        self.mount()
    }

    /// Writes everything that waits in memory to the device.
    pub(crate) fn flush(&self) -> anyhow::Result<()> {
        flush(&self.at)
    }

    /// From now on every access fails with EIO, until it is mounted again. What was not on the
    /// device is lost.
    pub(crate) fn break_down(&self) -> anyhow::Result<()> {
        run(Command::new("xfs_io")
            .args(["-x", "-c", "shutdown"])
            .arg(&self.at))
    }

    /// Takes all space that is left on it.
    pub(crate) fn fill(&self) -> anyhow::Result<()> {
        fill(&self.at)
    }

    /// Gives the space back.
    pub(crate) fn free(&self) -> anyhow::Result<()> {
        free(&self.at)
    }

    /// Takes it out and throws it away.
    pub(crate) fn discard(mut self) -> anyhow::Result<()> {
        self.unmount()?;
        std::fs::remove_file(&self.image)
            .with_context(|| format!("cannot remove {}", self.image.display()))
    }

    /// Puts it in. What a power cut left is recovered from its journal, as at any boot. A cut may
    /// bring back what filled the card before; that goes.
    pub(crate) fn mount(&mut self) -> anyhow::Result<()> {
        self.mount = Some(Mount::new(&self.image, &self.at, "loop,commit=30")?);
        write_in_blocks(&self.at)?;
        let ballast = self.at.join(BALLAST);
        match ballast.exists() {
            true => free(&self.at),
            false => Ok(()),
        }
    }

    /// Takes it out.
    pub(crate) fn unmount(&mut self) -> anyhow::Result<()> {
        if self.mount.take().is_some() && mounted(&self.at)?.is_some() {
            bail!("{} is still in use", self.at.display());
        }
        Ok(())
    }
}

/// The same image once more, under another name.
pub(crate) fn reflink(image: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let copy = image.with_file_name(format!("{name}.img"));
    run(Command::new("cp")
        .arg("--reflink=always")
        .arg(image)
        .arg(&copy))?;
    Ok(copy)
}

/// Splits what is written to the device that is mounted at `at` into requests of 4 KiB: the block
/// of its file system and of the one that holds its image.
fn write_in_blocks(at: &Path) -> anyhow::Result<()> {
    let device = mounted(at)?.with_context(|| format!("nothing is mounted at {}", at.display()))?;
    let name = device.strip_prefix("/dev/").unwrap_or(&device);
    let setting = format!("/sys/block/{name}/queue/max_sectors_kb");
    std::fs::write(&setting, "4").with_context(|| format!("cannot set {setting}"))
}

/// The device that is mounted at a folder.
fn mounted(at: &Path) -> anyhow::Result<Option<String>> {
    let table = std::fs::read_to_string("/proc/self/mounts").context("cannot read the mounts")?;
    let at = at.display().to_string();
    let mut mounts = table.lines().map(|line| line.split(' '));
    let device = mounts.find_map(|mut words| {
        let device = words.next()?;
        (words.next()? == at).then(|| device.to_owned())
    });
    Ok(device)
}

fn sparse(path: &Path, mib: u64) -> anyhow::Result<()> {
    std::fs::File::create(path)
        .and_then(|file| file.set_len(mib << 20))
        .with_context(|| format!("cannot make {}", path.display()))
}

fn flush(folder: &Path) -> anyhow::Result<()> {
    run(Command::new("sync").arg("--file-system").arg(folder))
}

/// Reserves what is free, in halving steps, down to one block.
fn fill(folder: &Path) -> anyhow::Result<()> {
    let path = folder.join(BALLAST);
    let failed = || format!("cannot fill {}", folder.display());
    let file = std::fs::File::create(&path).with_context(failed)?;
    let mut step: u64 = 1 << 30;
    let mut len = 0;
    while step >= 4096 {
        let flags = rustix::fs::FallocateFlags::empty();
        match rustix::fs::fallocate(&file, flags, len, step) {
            Ok(()) => len += step,
            Err(rustix::io::Errno::NOSPC | rustix::io::Errno::FBIG) => step /= 2,
            Err(err) => return Err(err).with_context(failed),
        }
    }
    Ok(())
}

fn free(folder: &Path) -> anyhow::Result<()> {
    let path = folder.join(BALLAST);
    std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
}

/// Runs a tool to its end; its words are part of the error.
fn run(command: &mut Command) -> anyhow::Result<()> {
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        bail!(
            "{name}: {}",
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{fill, free};

    #[test]
    fn what_is_not_there_cannot_be_filled_or_freed() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        assert!(fill(&missing).unwrap_err().to_string().contains("missing"));
        assert!(free(&missing).is_err());
    }
}
