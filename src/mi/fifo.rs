//! A FIFO that takes requests, and the directory of the FIFOs that take the replies.

use std::fs::File;
use std::io;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::frames;
use super::frames::Frames;
use crate::transport::listen;
use crate::transport::listen::OwnFile;

/// A FIFO that takes requests.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FifoConfig {
    /// Its path. The directory must be one in which nobody else can replace it.
    pub path: PathBuf,
    /// Its permissions. Whoever can write it can aim events at any allowed address.
    pub mode: u32,
    /// The directory in which clients make the FIFOs for their replies.
    pub reply_dir: PathBuf,
}

impl FifoConfig {
    /// A FIFO at that path for our own user only, with replies in `/tmp` (OpenSIPS).
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            mode: 0o600,
            reply_dir: PathBuf::from("/tmp"),
        }
    }
}

/// A FIFO that is open for requests. Removed on drop.
#[derive(Debug)]
pub(super) struct Fifo {
    config: FifoConfig,
    open: Open,
    pub(super) frames: Frames,
    pub(super) replies: ReplyDir,
}

/// The file behind the path, which a cleaner of `/tmp` may remove.
#[derive(Debug)]
struct Open {
    /// Goes before the pipe is closed: until then nobody can take it for stale.
    file: OwnFile,
    pipe: File,
    owner: u32,
}

impl Fifo {
    /// Makes the FIFO, in place of one that nobody serves.
    pub(super) fn create(config: FifoConfig) -> Result<Self, String> {
        let open = Open::create(&config)?;
        let replies = ReplyDir::open(&config, open.owner)?;
        Ok(Self {
            config,
            open,
            frames: Frames::default(),
            replies,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.config.path
    }

    /// Whether the path still leads here.
    pub(super) fn is_there(&self) -> bool {
        self.open.file.is_there()
    }

    /// Makes the FIFO again at its path.
    pub(super) fn create_again(&mut self) -> Result<(), String> {
        self.open = Open::create(&self.config)?;
        self.frames = Frames::default();
        Ok(())
    }

    /// Reads what is there; `WouldBlock` when nothing is.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.open.pipe).read(buffer)
    }
}

impl AsRawFd for Fifo {
    fn as_raw_fd(&self) -> RawFd {
        self.open.pipe.as_raw_fd()
    }
}

impl Open {
    fn create(config: &FifoConfig) -> Result<Self, String> {
        let path = &config.path;
        listen::check_directory(path)?;
        remove_stale(path)?;
        let mode = Mode::from_raw_mode(config.mode & 0o777);
        rustix::fs::mknodat(rustix::fs::CWD, path, FileType::Fifo, mode, 0)
            .map_err(|error| format!("cannot make it: {error}"))?;
        // Open for writing as well, so that the last writer's leaving is no end of file.
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let pipe = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|error| format!("cannot open it: {error}"))?;
        let file = OwnFile::of(path).map_err(|error| format!("vanished: {error}"))?;
        let stat = rustix::fs::fstat(&pipe).map_err(|error| error.to_string())?;
        let is_fifo = FileType::from_raw_mode(stat.st_mode) == FileType::Fifo;
        if !is_fifo || !file.is(stat.st_dev, stat.st_ino) {
            return Err("somebody replaced it while it was made".into());
        }
        // The umask may have taken what was asked for; the open file cannot be swapped.
        rustix::fs::fchmod(&pipe, mode).map_err(|error| format!("cannot set its mode: {error}"))?;
        Ok(Self {
            pipe: File::from(pipe),
            file,
            owner: stat.st_uid,
        })
    }
}

/// Removes a FIFO that nobody reads; anything else in its place is an error.
fn remove_stale(path: &Path) -> Result<(), String> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.to_string()),
        Ok(metadata) if !metadata.file_type().is_fifo() => {
            return Err("something that is no FIFO is there: remove it or use another path".into());
        }
        Ok(_) => {}
    }
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Err(Errno::NXIO) => {}
        Err(error) => return Err(format!("cannot see whether it is in use: {error}")),
        Ok(_) => return Err("another process serves it: stop it or use another path".into()),
    }
    std::fs::remove_file(path).map_err(|error| format!("cannot remove the stale one: {error}"))
}

/// The directory of the reply FIFOs, held open so that its path is followed only once.
#[derive(Debug)]
pub(super) struct ReplyDir {
    directory: OwnedFd,
    path: PathBuf,
    /// Whose reply FIFOs are written to; `None` if any user may send requests.
    owner: Option<u32>,
}

impl ReplyDir {
    fn open(config: &FifoConfig, owner: u32) -> Result<Self, String> {
        let path = &config.reply_dir;
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|error| format!("reply directory {}: {error}", path.display()))?;
        let is_shared = config.mode & 0o066 != 0;
        Ok(Self {
            directory,
            path: path.clone(),
            owner: (!is_shared).then_some(owner),
        })
    }

    /// The file name of a reply FIFO; `None` if no reply is wanted.
    ///
    /// Since 2.x a client gives a name. Before, it gave a path, which is taken here only if it
    /// leads into this directory, and only from the text form.
    pub(super) fn file_name(&self, reply: &str, is_text: bool) -> Result<Option<String>, String> {
        if reply.is_empty() {
            return Ok(None);
        }
        let name = match reply.rsplit_once('/') {
            Some((directory, name)) if is_text && Path::new(directory) == self.path => name,
            _ => reply,
        };
        if name.is_empty() || !name.bytes().all(frames::is_reply_byte) {
            return Err(format!(
                "reply FIFO {reply:?}: expected a name of letters, digits, '_' and '-'"
            ));
        }
        Ok(Some(name.to_owned()))
    }

    /// Opens a reply FIFO for writing.
    pub(super) fn open_reply(&self, name: &str) -> Result<OwnedFd, OpenError> {
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let pipe = match rustix::fs::openat(&self.directory, name, flags, Mode::empty()) {
            Ok(pipe) => pipe,
            Err(Errno::NXIO) => return Err(OpenError::NoReader),
            Err(Errno::LOOP) => return Err(OpenError::Refused("it is a symbolic link".into())),
            Err(error) => return Err(OpenError::Refused(error.to_string())),
        };
        // What was opened is looked at, not what the name says now.
        let stat = rustix::fs::fstat(&pipe).map_err(|e| OpenError::Refused(e.to_string()))?;
        let refuse = |why: &str| Err(OpenError::Refused(why.into()));
        if FileType::from_raw_mode(stat.st_mode) != FileType::Fifo {
            return refuse("it is no FIFO");
        }
        if stat.st_nlink != 1 {
            return refuse("it has more than one name");
        }
        match self.owner {
            Some(owner) if stat.st_uid != owner && stat.st_uid != 0 => {
                refuse("it belongs to another user")
            }
            _ => Ok(pipe),
        }
    }
}

/// Why a reply FIFO was not opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OpenError {
    /// Nobody has it open for reading yet.
    NoReader,
    /// It must not or cannot be written to.
    Refused(String),
}

#[cfg(test)]
mod tests;
