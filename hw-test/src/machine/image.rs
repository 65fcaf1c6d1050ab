//! What the machine is made of: a kernel of Debian and a file system in memory.
//!
//! The kernel's package is downloaded and unpacked, not installed. Deliberately absent: what
//! happens in the machine (`hw-test/machine/init`).

use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// The first program of the machine.
const INIT: &str = include_str!("../../machine/init");
/// The package that depends on the newest kernel.
const KERNEL: &str = "linux-image-amd64";
/// What is copied from this machine with its libraries, and the Debian package of each.
const TOOLS: [(&str, &str); 4] = [
    ("/usr/bin/dbus-daemon", "dbus"),
    ("/usr/bin/dbus-send", "dbus"),
    ("/usr/libexec/bluetooth/bluetoothd", "bluez"),
    ("/usr/bin/btvirt", "bluez-test-tools"),
];
/// What makes and runs the machine.
const MAKERS: [(&str, &str); 3] = [
    ("/usr/bin/qemu-system-x86_64", "qemu-system-x86"),
    ("/usr/bin/busybox", "busybox-static"),
    ("/usr/bin/cpio", "cpio"),
];
/// How BlueZ is set up. Sensors have one channel for attributes: with the several that two hosts of
/// BlueZ open between them (`Channels`), a link that ends takes the kernel (6.1) along, and
/// sensors are no longer heard.
const BLUEZ: &str = "[Policy]\nAutoEnable=true\n[GATT]\nChannels=1\n";
/// Modules of the kernel, each behind those that it needs: the shared folder, the network, and
/// the radio. The virtual controllers want the kernel's AES, which the first of those bring.
const MODULES: [&str; 27] = [
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "netfs",
    "fscache",
    "9pnet",
    "9pnet_virtio",
    "9p",
    "failover",
    "net_failover",
    "virtio_net",
    "af_alg",
    "algif_hash",
    "algif_skcipher",
    "hid",
    "ecc",
    "ecdh_generic",
    "libarc4",
    "cmac",
    "ecb",
    "crc16",
    "rfkill",
    "bluetooth",
    "hci_vhci",
    "uhid",
];

/// Why the machine cannot be made here, if it cannot.
pub(super) fn obstacle() -> Option<String> {
    if !cfg!(target_arch = "x86_64") {
        return Some("the Bluetooth machine is one of amd64, and its programs too".to_owned());
    }
    let mut needed = TOOLS.iter().chain(&MAKERS);
    if let Some((program, package)) = needed.find(|(program, _)| !Path::new(program).is_file()) {
        return Some(format!(
            "{program} is not installed (Debian package {package})"
        ));
    }
    let kernel = Kernel::fetch();
    kernel
        .err()
        .map(|err| format!("no kernel for the machine: {err:#}"))
}

/// An unpacked kernel.
#[derive(Clone, Debug)]
pub(super) struct Kernel {
    /// What is booted.
    pub(super) image: PathBuf,
    modules: PathBuf,
}

impl Kernel {
    /// The newest kernel that the package list knows; downloaded once.
    pub(super) fn fetch() -> anyhow::Result<Self> {
        let package = newest()?;
        let folder = cache()?.join(&package);
        if !folder.is_dir() {
            unpack(&package, &folder)?;
        }
        let boot = folder.join("boot");
        let image = named(&boot, |name| name.starts_with("vmlinuz-"))
            .with_context(|| format!("{package} holds no kernel"))?;
        let modules = named(&folder.join("lib/modules"), |_| true)
            .with_context(|| format!("{package} holds no modules"))?;
        Ok(Self { image, modules })
    }
}

/// A folder that outlives the run: a kernel is 70 MB to download.
fn cache() -> anyhow::Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(base.join("cardio-ci/kernel"))
}

fn newest() -> anyhow::Result<String> {
    let said = output(Command::new("apt-cache").args(["depends", KERNEL]))?;
    let depends = said
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: linux-image-"));
    let found = depends.context("apt-cache knows no linux-image-amd64: run apt-get update")?;
    Ok(format!("linux-image-{}", found.trim()))
}

fn unpack(package: &str, folder: &Path) -> anyhow::Result<()> {
    let parent = folder.parent().context("a cache without a parent")?;
    std::fs::create_dir_all(parent)
        .with_context(|| format!("cannot create {}", parent.display()))?;
    // Whole or not at all, also for who is killed in the middle.
    let half = tempfile::tempdir_in(parent).context("no folder for the kernel")?;
    output(
        Command::new("apt-get")
            .args(["download", "-qq", package])
            .current_dir(half.path()),
    )?;
    let file = named(half.path(), |name| name.ends_with(".deb")).context("nothing downloaded")?;
    let whole = half.path().join("whole");
    output(Command::new("dpkg").arg("-x").arg(&file).arg(&whole))?;
    if let Err(err) = std::fs::rename(&whole, folder)
        && !folder.is_dir()
    {
        return Err(err).context("cannot keep the kernel");
    }
    Ok(())
}

fn named(folder: &Path, fits: impl Fn(&str) -> bool) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    entries.map(|entry| entry.path()).find(|path| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(&fits)
    })
}

/// What a program that must be content says.
fn output(command: &mut Command) -> anyhow::Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!(
            "{program}: {}",
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A file system in the making.
struct Tree {
    root: PathBuf,
    /// Libraries that are in it.
    libraries: BTreeSet<PathBuf>,
}

/// Makes the file system of the machine with `programs` in it, as the file `image`.
pub(super) fn make(
    folder: &Path,
    kernel: &Kernel,
    programs: &[&Path],
    image: &Path,
) -> anyhow::Result<()> {
    let mut tree = Tree {
        root: folder.to_path_buf(),
        libraries: BTreeSet::new(),
    };
    tree.add(Path::new("/usr/bin/busybox"), "bin/busybox")?;
    symlink("busybox", folder.join("bin/sh")).context("no shell")?;
    for (tool, _) in TOOLS {
        tree.add_program(Path::new(tool), tool)?;
    }
    for program in programs {
        let name = program.file_name().context("a program without a name")?;
        let place = Path::new("usr/bin").join(name);
        tree.add_program(program, &place.to_string_lossy())?;
        output(Command::new("strip").arg(folder.join(&place)))?;
    }
    for settings in ["/etc/dbus-1", "/usr/share/dbus-1"] {
        tree.add_folder(settings)?;
    }
    tree.write("etc/bluetooth/main.conf", BLUEZ)?;
    tree.write(
        "etc/passwd",
        "root:x:0:0::/:/bin/sh\nmessagebus:x:100:100::/:/bin/false\n",
    )?;
    tree.write(
        "etc/group",
        "root:x:0:\nmessagebus:x:100:\nbluetooth:x:101:\n",
    )?;
    tree.add_modules(kernel)?;
    tree.write("init", INIT)?;
    let init = folder.join("init");
    std::fs::set_permissions(&init, PermissionsExt::from_mode(0o755)).context("no init")?;
    output(
        Command::new("sh")
            .args(["-c", "find . | cpio -o -H newc --quiet | gzip -1 >\"$0\""])
            .arg(image)
            .current_dir(folder),
    )?;
    Ok(())
}

impl Tree {
    fn place(&self, path: &str) -> anyhow::Result<PathBuf> {
        let place = self.root.join(path.trim_start_matches('/'));
        let parent = place.parent().context("a place without a parent")?;
        std::fs::create_dir_all(parent)
            .with_context(|| format!("cannot create {}", parent.display()))?;
        Ok(place)
    }

    fn write(&self, path: &str, text: &str) -> anyhow::Result<()> {
        let place = self.place(path)?;
        std::fs::write(&place, text).with_context(|| format!("cannot write {}", place.display()))
    }

    fn add(&self, from: &Path, to: &str) -> anyhow::Result<()> {
        std::fs::copy(from, self.place(to)?)
            .with_context(|| format!("cannot copy {}", from.display()))?;
        Ok(())
    }

    /// A program with the libraries that it is linked with.
    fn add_program(&mut self, from: &Path, to: &str) -> anyhow::Result<()> {
        self.add(from, to)?;
        for library in libraries(&output(Command::new("ldd").arg(from))?) {
            if self.libraries.insert(library.clone()) {
                self.add(&library, &library.to_string_lossy())?;
            }
        }
        Ok(())
    }

    fn add_folder(&self, path: &str) -> anyhow::Result<()> {
        let place = self.place(path)?;
        output(Command::new("cp").arg("-r").arg(path).arg(place))?;
        Ok(())
    }

    fn add_modules(&self, kernel: &Kernel) -> anyhow::Result<()> {
        for module in MODULES {
            let file = format!("{module}.ko");
            let mut find = Command::new("find");
            find.arg(&kernel.modules).args(["-name", &file]);
            let found = output(&mut find)?;
            let found = found.lines().next();
            let found = found.with_context(|| format!("the kernel has no module {module}"))?;
            self.add(Path::new(found), &format!("modules/{file}"))?;
        }
        self.write("modules/order", &format!("{}\n", MODULES.join("\n")))
    }
}

/// The files that `ldd` names.
fn libraries(said: &str) -> Vec<PathBuf> {
    said.lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(PathBuf::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{MODULES, libraries};
    use std::path::Path;

    #[test]
    fn the_libraries_of_a_program_are_those_with_a_path() {
        let said = "\tlinux-vdso.so.1 (0x00007ffd)\n\
                    \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let found = libraries(said);
        assert_eq!(found[0], Path::new("/lib/x86_64-linux-gnu/libc.so.6"));
        assert_eq!(found[1], Path::new("/lib64/ld-linux-x86-64.so.2"));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn the_radio_comes_behind_what_it_needs() {
        let place = |name: &str| MODULES.iter().position(|one| *one == name).unwrap();
        for (module, needs) in [
            ("virtio", "virtio_ring"),
            ("9pnet_virtio", "9pnet"),
            ("bluetooth", "ecdh_generic"),
            ("hci_vhci", "bluetooth"),
        ] {
            assert!(place(needs) < place(module), "{module}");
        }
    }
}
