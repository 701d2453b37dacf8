//! The run directory: where the daemon's sockets and FIFO are, and only its owner may write.

use std::env;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::failure::Failure;

/// Sets where the run directory is, before any other rule.
pub(crate) const VARIABLE: &str = "BELLWIRE_RUN_DIR";

/// What the sockets are called that commands bind for a while, before the process id.
const PASSING: [&str; 2] = ["client-", "listen-"];

/// Where the run directory is, whether or not it is there: `$BELLWIRE_RUN_DIR`, else `bellwire` in
/// `$XDG_RUNTIME_DIR`, else `/tmp/bellwire-<uid>`.
pub(crate) fn path() -> PathBuf {
    if let Some(given) = env::var_os(VARIABLE).filter(|given| !given.is_empty()) {
        return std::path::absolute(&given).unwrap_or_else(|_| given.into());
    }
    // A login without a session manager can leave the variable pointing at nothing.
    env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute() && dir.is_dir())
        .map(|dir| dir.join("bellwire"))
        .unwrap_or_else(|| format!("/tmp/bellwire-{}", own_uid()).into())
}

/// Creates the run directory with mode 0700, or checks the one that is there.
///
/// # Errors
///
/// A symbolic link, another's directory, or one that others may write to: whoever owns the
/// directory could put his own socket in the place of ours.
pub(crate) fn prepare(dir: &Path) -> Result<(), Failure> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => {
            return Err(refused(dir, format!("cannot be created: {error}")));
        }
    }
    check(dir)
}

/// Checks a run directory that nobody named, if it is there, before anything in it is trusted:
/// any user can make one in `/tmp` under our number.
pub(crate) fn check_implied() -> Result<(), Failure> {
    let dir = path();
    if env::var_os(VARIABLE).is_some_and(|given| !given.is_empty()) || !dir.exists() {
        return Ok(());
    }
    check(&dir)
}

fn check(dir: &Path) -> Result<(), Failure> {
    let found = fs::symlink_metadata(dir).map_err(|error| refused(dir, error.to_string()))?;
    if found.file_type().is_symlink() {
        return Err(refused(dir, "is a symbolic link"));
    }
    if !found.is_dir() {
        return Err(refused(dir, "is not a directory"));
    }
    if found.uid() != own_uid() {
        return Err(refused(
            dir,
            format!("belongs to user {}, not to us", found.uid()),
        ));
    }
    if found.mode() & 0o022 != 0 {
        let mode = found.mode() & 0o7777;
        return Err(refused(
            dir,
            format!("can be written by others (mode {mode:04o}, 0700 is safe)"),
        ));
    }
    Ok(())
}

/// Holds the run directory for one daemon. The kernel gives it up when the process ends, however
/// it ends.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "held open, never read")] File);

/// Takes the run directory for this process.
///
/// # Errors
///
/// Another daemon has it.
pub(crate) fn lock(dir: &Path) -> Result<Lock, Failure> {
    let path = dir.join("lock");
    let failed = |error: io::Error| Failure::new(format!("{}: {error}", path.display()));
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    if let Err(error) = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if error != rustix::io::Errno::WOULDBLOCK {
            return Err(failed(error.into()));
        }
        let mut holder = String::new();
        file.read_to_string(&mut holder).unwrap_or_default();
        return Err(refused(
            dir,
            format!("another daemon runs here (process {})", holder.trim()),
        ));
    }
    let write_pid = |file: &mut File| -> io::Result<()> {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    write_pid(&mut file).map_err(failed)?;
    Ok(Lock(file))
}

/// Removes the sockets of commands that were killed: those to which nobody listens any more.
pub(crate) fn sweep(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let passing = PASSING
            .iter()
            .any(|start| name.to_string_lossy().starts_with(start));
        let is_socket = entry.file_type().is_ok_and(|kind| kind.is_socket());
        if passing && is_socket && is_deserted(&entry.path()) {
            remove(&entry.path());
        }
    }
}

/// Removes a file of ours that is not needed any more.
pub(crate) fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::debug!("{}: {error}", path.display());
        }
        _ => {}
    }
}

/// Whether this is a socket that nobody has open any more.
pub(crate) fn is_deserted(socket: &Path) -> bool {
    let Ok(probe) = UnixDatagram::unbound() else {
        return false;
    };
    probe
        .connect(socket)
        .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

fn own_uid() -> u32 {
    rustix::process::getuid().as_raw()
}

fn refused(dir: &Path, problem: impl std::fmt::Display) -> Failure {
    Failure::new(format!(
        "run directory {}: {problem}; set {VARIABLE} to a directory of your own",
        dir.display()
    ))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_new_run_directory_is_its_owners_alone() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("run");
        prepare(&dir).unwrap();
        assert_eq!(mode_of(&dir), 0o700);
        prepare(&dir).unwrap();
    }

    #[test]
    fn a_symbolic_link_a_file_and_an_open_directory_are_refused() {
        let temp = tempfile::tempdir().unwrap();
        let real = temp.path().join("real");
        prepare(&real).unwrap();
        let link = temp.path().join("link");
        symlink(&real, &link).unwrap();
        assert!(
            prepare(&link)
                .unwrap_err()
                .to_string()
                .contains("symbolic link")
        );

        let file = temp.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(
            prepare(&file)
                .unwrap_err()
                .to_string()
                .contains("not a directory")
        );

        fs::set_permissions(&real, fs::Permissions::from_mode(0o770)).unwrap();
        let refusal = prepare(&real).unwrap_err().to_string();
        assert!(refusal.contains("mode 0770"), "{refusal}");
        assert!(prepare(&temp.path().join("no/parent")).is_err());
    }

    #[test]
    fn one_daemon_has_the_directory_until_it_ends() {
        let temp = tempfile::tempdir().unwrap();
        let first = lock(temp.path()).unwrap();
        let refusal = lock(temp.path()).unwrap_err().to_string();
        assert!(
            refusal.contains(&format!("process {}", std::process::id())),
            "{refusal}"
        );
        drop(first);
        lock(temp.path()).unwrap();
    }

    #[test]
    fn only_the_sockets_of_the_dead_are_swept() {
        let temp = tempfile::tempdir().unwrap();
        let dead = temp.path().join("listen-1.sock");
        drop(UnixDatagram::bind(&dead).unwrap());
        let alive = temp.path().join("listen-2.sock");
        let _held = UnixDatagram::bind(&alive).unwrap();
        let other = temp.path().join("mi.sock");
        drop(UnixDatagram::bind(&other).unwrap());
        sweep(temp.path());
        assert!(!dead.exists() && alive.exists() && other.exists());
    }
}
