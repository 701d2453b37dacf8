//! One request through a FIFO, and its answer through another (OpenSIPS 3.0 and later).

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::{ANSWER_BYTES, Trouble};
use crate::rundir;

/// What the kernel writes as one piece, and OpenSIPS reads as one (`PIPE_BUF` of Linux).
const REQUEST_BYTES: usize = 4096;

/// Asks the daemon whose FIFO is at `path`, with the answer in a FIFO made for it in `reply_dir`.
pub(super) fn ask(
    path: &Path,
    reply_dir: &Path,
    request: &[u8],
    limit: Duration,
) -> Result<Vec<u8>, Trouble> {
    let deadline = Instant::now() + limit;
    let mut fifo = open_writer(path)?;
    let reply = Reply::create(reply_dir)?;
    let mut line = format!(":{}:", reply.name.to_string_lossy()).into_bytes();
    line.extend_from_slice(request);
    line.push(b'\n');
    if line.len() > REQUEST_BYTES {
        return Err(Trouble::Other(format!(
            "the request has {} bytes, a FIFO takes {REQUEST_BYTES} as one piece; another --mi \
             takes more",
            line.len()
        )));
    }
    while let Err(error) = fifo.write_all(&line) {
        if error.kind() != io::ErrorKind::WouldBlock {
            return Err(error.into());
        }
        wait(&fifo, PollFlags::OUT, deadline)?;
    }
    reply.read(deadline)
}

/// Opens a FIFO that somebody reads, and nothing else.
fn open_writer(path: &Path) -> Result<File, Trouble> {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NXIO) => return Err(Trouble::Nobody(Errno::NXIO.into())),
        Err(errno) => return Err(errno.into()),
    };
    if !is_fifo(&file)? {
        return Err(Trouble::Other("is not a FIFO".into()));
    }
    Ok(file)
}

fn is_fifo(file: &File) -> io::Result<bool> {
    use std::os::unix::fs::FileTypeExt;
    Ok(file.metadata()?.file_type().is_fifo())
}

/// Waits until the file is ready or the time is over.
fn wait(file: &File, readiness: PollFlags, deadline: Instant) -> Result<(), Trouble> {
    let left = deadline.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).map_err(|_| Trouble::Late)?;
    match rustix::event::poll(&mut [PollFd::new(file, readiness)], Some(&left)) {
        Ok(0) => Err(Trouble::Late),
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// The FIFO of one answer, for as long as it lives.
struct Reply {
    file: File,
    path: PathBuf,
    name: OsString,
}

impl Reply {
    fn create(dir: &Path) -> Result<Self, Trouble> {
        let failed = |error: Errno| {
            Trouble::Other(format!(
                "a FIFO for the answer in {}: {error}",
                dir.display()
            ))
        };
        // Servers allow neither dots nor slashes in the name.
        let name = OsString::from(format!("bellwire_reply_{}", std::process::id()));
        let path = dir.join(&name);
        // What an earlier process of the same number left behind; if it stays, mkfifo says so.
        rundir::remove(&path);
        rustix::fs::mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).map_err(failed)?;
        // Open before the request goes out: the server finds a reader or gives up.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(file) => Ok(Self {
                file: file.into(),
                path,
                name,
            }),
            Err(errno) => {
                rundir::remove(&path);
                Err(failed(errno))
            }
        }
    }

    /// Reads until the writer closes.
    fn read(mut self, deadline: Instant) -> Result<Vec<u8>, Trouble> {
        let mut answer = Vec::new();
        let mut piece = [0; REQUEST_BYTES];
        loop {
            wait(&self.file, PollFlags::IN, deadline)?;
            match self.file.read(&mut piece) {
                Ok(0) if answer.is_empty() => {
                    return Err(Trouble::Other("closed without an answer".into()));
                }
                Ok(0) => return Ok(answer),
                Ok(length) => answer.extend_from_slice(&piece[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            if answer.len() > ANSWER_BYTES {
                return Err(Trouble::Other(format!(
                    "the answer is over {ANSWER_BYTES} bytes"
                )));
            }
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        rundir::remove(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::thread;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    fn fifo_in(dir: &Path) -> PathBuf {
        let path = dir.join("mi.fifo");
        rustix::fs::mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
        path
    }

    #[test]
    fn a_long_answer_comes_whole_and_nothing_is_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = fifo_in(dir.path());
        let mut server = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        let replies = dir.path().to_owned();
        let answering = thread::spawn(move || {
            let mut request = [0; 256];
            let length = server.read(&mut request).unwrap();
            let request = std::str::from_utf8(&request[..length]).unwrap();
            let (name, text) = request[1..].split_once(':').unwrap();
            assert_eq!(text, "{}\n");
            let mut reply = OpenOptions::new()
                .write(true)
                .open(replies.join(name))
                .unwrap();
            reply.write_all(&[b'x'; 200_000]).unwrap();
        });
        assert_eq!(
            ask(&path, dir.path(), b"{}", LIMIT).unwrap(),
            [b'x'; 200_000]
        );
        answering.join().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn nobody_reading_nobody_answering_and_no_fifo_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = fifo_in(dir.path());
        let trouble = ask(&path, dir.path(), b"{}", LIMIT).unwrap_err();
        assert!(matches!(trouble, Trouble::Nobody(_)), "{trouble:?}");
        let _silent = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        let trouble = ask(&path, dir.path(), b"{}", Duration::from_millis(20)).unwrap_err();
        assert!(matches!(trouble, Trouble::Late), "{trouble:?}");
        let trouble = ask(&path, dir.path(), &[b'x'; 4096], LIMIT).unwrap_err();
        assert!(
            matches!(&trouble, Trouble::Other(text) if text.contains("4096")),
            "{trouble:?}"
        );

        let plain = dir.path().join("plain");
        fs::write(&plain, "").unwrap();
        let trouble = ask(&plain, dir.path(), b"{}", LIMIT).unwrap_err();
        assert!(
            matches!(&trouble, Trouble::Other(text) if text.contains("FIFO")),
            "{trouble:?}"
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
