//! A pseudo-terminal that behaves like a serial adapter.
//!
//! - The line is raw before the first byte is written; the default would echo.
//! - Reading gives EIO while nobody has the far end open; that is how "closed" shows.
//! - Closing it is pulling the plug: the device file disappears. The link with the stable
//!   name is made anew with each plug, as `/dev/serial/by-id` is.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl, open};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, QueueSelector, tcflush, tcgetattr, tcsetattr};

/// Why a pseudo-terminal cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PtyError {
    /// None can be made.
    #[error("cannot make a pseudo-terminal: {step}")]
    Make {
        /// What was tried.
        step: &'static str,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The link cannot be made.
    #[error("cannot make the link {} to the pseudo-terminal", link.display())]
    Link {
        /// The link.
        link: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// There is a file where the link should be.
    #[error("{} is there already and is no link", link.display())]
    NotALink {
        /// The path.
        link: PathBuf,
    },
    /// Reading or writing failed.
    #[error("cannot {act} the pseudo-terminal")]
    Use {
        /// `read` or `write to`.
        act: &'static str,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

impl PtyError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Make { .. } => "pty.make",
            Self::Link { .. } => "pty.link",
            Self::NotALink { .. } => "pty.not-a-link",
            Self::Use { .. } => "pty.use",
        }
    }
}

/// What reading gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// This many bytes.
    Bytes(usize),
    /// Somebody has the port open and says nothing.
    Nothing,
    /// Nobody has the port open.
    Closed,
}

/// The device's end.
#[derive(Debug)]
pub struct Pty {
    master: OwnedFd,
    path: PathBuf,
    link: Option<PathBuf>,
}

impl Pty {
    /// Plugs in.
    ///
    /// # Errors
    /// [`PtyError`] names the step that failed.
    pub fn plug_in(link: Option<&Path>) -> Result<Self, PtyError> {
        let made = |step| {
            move |errno: Errno| PtyError::Make {
                step,
                source: errno.into(),
            }
        };
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).map_err(made("opening /dev/ptmx"))?;
        grantpt(&master).map_err(made("granting access"))?;
        unlockpt(&master).map_err(made("unlocking"))?;
        let name = ptsname(&master, Vec::new()).map_err(made("asking for its name"))?;
        let path = PathBuf::from(std::ffi::OsStr::from_bytes(name.to_bytes()));
        // Opening and closing the far end once makes "nobody there" visible to reads.
        let far = open(
            &path,
            OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(made("opening the far end"))?;
        let mut modes = tcgetattr(&far).map_err(made("asking for its modes"))?;
        modes.make_raw();
        tcsetattr(&far, OptionalActions::Now, &modes).map_err(made("making it raw"))?;
        drop(far);
        let flags = fcntl_getfl(&master).map_err(made("asking for its flags"))?;
        fcntl_setfl(&master, flags | OFlags::NONBLOCK).map_err(made("making it not wait"))?;
        if let Some(link) = link {
            point(link, &path)?;
        }
        Ok(Self {
            master,
            path,
            link: link.map(Path::to_owned),
        })
    }

    /// The path that a box opens.
    pub fn path(&self) -> &Path {
        self.link.as_deref().unwrap_or(&self.path)
    }

    /// Whether a host that is gone still keeps others out. An adapter forgets at the last close
    /// that it was held (TIOCEXCL); a pseudo-terminal does not, except to root.
    pub fn is_held_by_the_dead(&self) -> bool {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        matches!(open(&self.path, flags, Mode::empty()), Err(Errno::BUSY))
    }

    /// Reads what the host sent, without waiting.
    ///
    /// # Errors
    /// [`PtyError::Use`].
    pub fn read(&self, buffer: &mut [u8]) -> Result<Heard, PtyError> {
        match rustix::io::read(&self.master, buffer) {
            Ok(0) | Err(Errno::IO) => Ok(Heard::Closed),
            Ok(len) => Ok(Heard::Bytes(len)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(Heard::Nothing),
            Err(errno) => Err(PtyError::Use {
                act: "read",
                source: errno.into(),
            }),
        }
    }

    /// Writes as much as fits, without waiting.
    ///
    /// # Errors
    /// [`PtyError::Use`].
    pub fn write(&self, bytes: &[u8]) -> Result<usize, PtyError> {
        match rustix::io::write(&self.master, bytes) {
            Ok(len) => Ok(len),
            Err(Errno::AGAIN | Errno::INTR | Errno::IO) => Ok(0),
            Err(errno) => Err(PtyError::Use {
                act: "write to",
                source: errno.into(),
            }),
        }
    }

    /// Forgets what was written and not yet read, as an adapter does when its port closes.
    pub fn forget_unread(&self) {
        // There is nothing to forget on a line that is gone.
        let _ = tcflush(&self.master, QueueSelector::OFlush);
    }

    /// The speed that the host has set, in baud.
    pub fn speed(&self) -> Option<u32> {
        tcgetattr(&self.master)
            .ok()
            .map(|modes| modes.output_speed())
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        if let Some(link) = &self.link {
            // A link that points elsewhere by now belongs to somebody else.
            if fs::read_link(link).is_ok_and(|target| target == self.path) {
                let _ = fs::remove_file(link);
            }
        }
    }
}

/// Makes `link` point to `target`, replacing a link that is there in one step.
fn point(link: &Path, target: &Path) -> Result<(), PtyError> {
    if fs::symlink_metadata(link).is_ok_and(|found| !found.file_type().is_symlink()) {
        return Err(PtyError::NotALink {
            link: link.to_owned(),
        });
    }
    let failed = |source| PtyError::Link {
        link: link.to_owned(),
        source,
    };
    let mut name = link.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let fresh = link.with_file_name(name);
    match fs::remove_file(&fresh) {
        Err(err) if err.kind() != std::io::ErrorKind::NotFound => return Err(failed(err)),
        _ => {}
    }
    std::os::unix::fs::symlink(target, &fresh).map_err(failed)?;
    fs::rename(&fresh, link).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::{Heard, Pty};
    use std::io::{Read as _, Write as _};

    #[test]
    fn bytes_pass_both_ways_unchanged_and_a_closed_port_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("ecg12");
        let pty = Pty::plug_in(Some(&link)).unwrap();
        let mut buffer = [0; 16];
        assert_eq!(pty.read(&mut buffer).unwrap(), Heard::Closed);
        let mut port = std::fs::File::options()
            .read(true)
            .write(true)
            .open(&link)
            .unwrap();
        assert_eq!(pty.read(&mut buffer).unwrap(), Heard::Nothing);
        port.write_all(b"v\n").unwrap();
        assert_eq!(pty.read(&mut buffer).unwrap(), Heard::Bytes(2));
        assert_eq!(&buffer[..2], b"v\n");
        assert_eq!(pty.write(&[0xA0, 0x03, 0x0D, 0x0A]).unwrap(), 4);
        let mut got = [0; 4];
        port.read_exact(&mut got).unwrap();
        assert_eq!(got, [0xA0, 0x03, 0x0D, 0x0A]);
        drop(port);
        assert_eq!(pty.read(&mut buffer).unwrap(), Heard::Closed);
        drop(pty);
        assert!(!link.exists() && std::fs::symlink_metadata(&link).is_err());
    }

    #[test]
    fn a_file_in_the_place_of_the_link_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("file");
        std::fs::write(&link, "mine").unwrap();
        let err = Pty::plug_in(Some(&link)).unwrap_err();
        assert_eq!(err.code(), "pty.not-a-link");
        assert_eq!(std::fs::read_to_string(&link).unwrap(), "mine");
    }
}
