//! Opening files below the directory that the policy names, and nowhere else.
//!
//! The kernel resolves the path (`openat2`, Linux 5.6): it does not leave the directory and follows
//! no symbolic link, whatever somebody puts there meanwhile.

use std::path::{Path, PathBuf};

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::super::policy::{Gate, Policy};

/// How often a path is tried that somebody renames at the same time.
const TRIES: usize = 16;

/// Why a file is not open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OpenError {
    /// It must not be.
    Refused(String),
    /// It cannot be: the error, and what was done.
    Failed(Errno, String),
}

impl OpenError {
    fn failed(what: &str) -> impl Fn(Errno) -> Self {
        move |errno| Self::Failed(errno, format!("{what}: {}", text(errno)))
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Self::Refused(text) | Self::Failed(_, text) => text,
        }
    }
}

/// An error's text, without its number.
pub(super) fn text(errno: Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// A regular file, open for appending and reading.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: OwnedFd,
    /// Whether it was not there before.
    pub(super) is_new: bool,
}

/// Opens a file by its absolute, normal path; makes it with that mode if it is not there.
pub(super) fn open(gate: &Gate, path: &Path, mode: u32) -> Result<Opened, OpenError> {
    let (root, inner) = place(&gate.current(), path)?;
    let directory = open_root(&root)?;
    // Opening a device can do something, and opening a FIFO can wait: look first.
    match open_beneath(&directory, &inner, OFlags::PATH, Mode::empty()) {
        Ok(found) => check_type(&found, path)?,
        Err(Errno::NOENT) => {}
        Err(errno) => return Err(failed_to_open(path, errno)),
    }
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::NOCTTY | OFlags::NONBLOCK;
    let found = open_beneath(&directory, &inner, flags, Mode::empty());
    let (file, is_new) = match found {
        Ok(file) => (file, false),
        Err(Errno::NOENT) => {
            let mode = Mode::from_raw_mode(mode);
            let made = open_beneath(&directory, &inner, flags | OFlags::CREATE, mode);
            (made.map_err(|errno| failed_to_open(path, errno))?, true)
        }
        Err(errno) => return Err(failed_to_open(path, errno)),
    };
    check_type(&file, path)?;
    Ok(Opened { file, is_new })
}

/// Has the disk keep the names in a file's directory.
pub(super) fn sync_directory(gate: &Gate, path: &Path) -> Result<(), OpenError> {
    let (root, inner) = place(&gate.current(), path)?;
    let directory = open_root(&root)?;
    let parent = match inner.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let parent = open_beneath(&directory, parent, flags, Mode::empty());
    let parent = parent.map_err(|errno| failed_to_open(path, errno))?;
    rustix::fs::fsync(parent).map_err(OpenError::failed("cannot sync the directory"))
}

/// The allowed directory, and the path below it.
fn place(policy: &Policy, path: &Path) -> Result<(PathBuf, PathBuf), OpenError> {
    let Some(root) = &policy.files else {
        return Err(OpenError::Refused(
            "no file may be written; see [policy] files".to_owned(),
        ));
    };
    let below = |root: &Path| path.strip_prefix(root).map(Path::to_owned).ok();
    // The directory may have been named by way of a symbolic link, or the file.
    let inner = below(root).or_else(|| below(&root.canonicalize().ok()?));
    match inner {
        Some(inner) if inner != Path::new("") => Ok((root.clone(), inner)),
        _ => Err(OpenError::Refused(format!(
            "{path:?} is not below {root:?}, where files may be written; see [policy] files"
        ))),
    }
}

fn open_root(root: &Path) -> Result<OwnedFd, OpenError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = rustix::fs::open(root, flags, Mode::empty());
    open.map_err(OpenError::failed(&format!("cannot open {root:?}")))
}

fn open_beneath(
    directory: &OwnedFd,
    path: &Path,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mut tries = 0;
    loop {
        match rustix::fs::openat2(directory, path, flags | OFlags::CLOEXEC, mode, resolve) {
            Err(Errno::INTR | Errno::AGAIN) if tries < TRIES => tries += 1,
            opened => return opened,
        }
    }
}

fn failed_to_open(path: &Path, errno: Errno) -> OpenError {
    match errno {
        Errno::LOOP => OpenError::Refused(format!(
            "{path:?} leads through a symbolic link; name the file itself"
        )),
        Errno::XDEV => OpenError::Refused(format!("{path:?} leads out of the allowed directory")),
        Errno::ISDIR => OpenError::Refused(format!("{path:?} is a directory; name a file")),
        Errno::NXIO => OpenError::Refused(format!("{path:?} is not a regular file")),
        errno => OpenError::failed(&format!("cannot open {path:?}"))(errno),
    }
}

fn check_type(file: impl AsFd, path: &Path) -> Result<(), OpenError> {
    let stat = rustix::fs::fstat(file).map_err(|errno| failed_to_open(path, errno))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(()),
        FileType::Directory => Err(failed_to_open(path, Errno::ISDIR)),
        FileType::Symlink => Err(failed_to_open(path, Errno::LOOP)),
        _ => Err(failed_to_open(path, Errno::NXIO)),
    }
}

/// The absolute path without empty and `.` components; one that is not absolute is below the
/// allowed directory.
pub(super) fn normal(gate: &Gate, path: &str) -> Result<String, String> {
    if path.chars().any(char::is_control) {
        return Err("a path cannot hold control characters".to_owned());
    }
    if path.is_empty() || path.ends_with('/') || path.ends_with("/.") || path == "." {
        return Err(format!("{path:?} names a directory, not a file"));
    }
    let mut normal = match (path.starts_with('/'), &gate.current().files) {
        (true, _) => String::new(),
        (false, Some(root)) => root.to_string_lossy().trim_end_matches('/').to_owned(),
        (false, None) => return Err("no file may be written; see [policy] files".to_owned()),
    };
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => return Err(format!("{path:?} holds \"..\"; name the file itself")),
            component => {
                normal.push('/');
                normal.push_str(component);
            }
        }
    }
    Ok(normal)
}
