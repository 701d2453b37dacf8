//! What the integration tests share.
#![allow(dead_code, reason = "each test file uses its own part")]

pub(crate) mod broker;
pub(crate) mod child;
pub(crate) mod engine;
pub(crate) mod golden;
#[cfg(feature = "kafka")]
pub(crate) mod kafka;
#[cfg(feature = "sqs")]
pub(crate) mod moto;
pub(crate) mod receiver;
mod script;
pub(crate) mod stream;
mod temp;
pub(crate) mod xmlrpc;

use std::fs::File;
use std::io;
use std::io::Read;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;
pub(crate) use temp::TempDir;
pub(crate) use temp::unique;

/// Longest wait for a condition: far more than any takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `condition` gives something.
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until `condition` holds.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}

/// Waits until the thread of that name has nothing to do for a while.
pub(crate) fn sleeps(name: &str) {
    let is_asleep = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let stats =
            tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok());
        stats
            .into_iter()
            .any(|stat| stat.contains(&format!("({name}) S")))
    };
    // Whatever is due by now has been looked at after the first bound, and requests whose end would
    // be a rest have not ended before the second.
    let begun = Instant::now();
    loop {
        let naps = (0..10).take_while(|_| {
            std::thread::sleep(Duration::from_millis(1));
            is_asleep()
        });
        if naps.count() == 10 && begun.elapsed() > Duration::from_millis(300) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{name} spins");
    }
}

/// Makes a FIFO.
pub(crate) fn make_fifo(path: &Path) {
    let mode = Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, path, FileType::Fifo, mode, 0).unwrap();
}

/// A FIFO for replies, open for reading.
pub(crate) struct ReplyFifo {
    path: PathBuf,
    pipe: File,
}

impl ReplyFifo {
    pub(crate) fn new(path: PathBuf) -> Self {
        make_fifo(&path);
        Self::open(path)
    }

    /// Opens one that is there.
    pub(crate) fn open(path: PathBuf) -> Self {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let pipe = rustix::fs::open(&path, flags, Mode::empty()).unwrap();
        Self {
            path,
            pipe: File::from(pipe),
        }
    }

    /// One reply: what comes until the writer closes.
    pub(crate) fn read(&mut self) -> String {
        self.read_or(|| false).unwrap()
    }

    /// One reply, unless `is_lost` says that none will come.
    pub(crate) fn read_or(&mut self, is_lost: impl Fn() -> bool) -> Option<String> {
        let mut reply = Vec::new();
        let mut buffer = [0; 4096];
        let whole = wait_for("a reply", || match self.pipe.read(&mut buffer) {
            // Before the writer opens there is an end of file as well.
            Ok(0) if reply.is_empty() => is_lost().then_some(false),
            Ok(0) => Some(true),
            Ok(length) => {
                reply.extend_from_slice(&buffer[..length]);
                None
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        });
        whole.then(|| String::from_utf8(reply).unwrap())
    }
}

impl Drop for ReplyFifo {
    fn drop(&mut self) {
        std::fs::remove_file(&self.path).ok();
    }
}

/// Opens the server's FIFO for requests.
pub(crate) fn open_requests(path: &Path) -> File {
    std::fs::OpenOptions::new().write(true).open(path).unwrap()
}

/// Sends one request through the server's FIFO.
pub(crate) fn send(path: &Path, request: impl AsRef<[u8]>) {
    open_requests(path).write_all(request.as_ref()).unwrap();
}

/// A generator of numbers that are the same in each run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// Broken versions of `good`: cut, with a byte changed, or with one put in.
pub(crate) fn mutants(good: &[&str], count: usize, seed: u64) -> Vec<Vec<u8>> {
    let mut random = Random(seed);
    let odd = b"\x00\x01\n\"\\{}[]:,\xff\x80 9-.eE";
    (0..count)
        .map(|_| {
            let mut bytes = good[random.below(good.len())].as_bytes().to_vec();
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len().max(1));
                match random.below(3) {
                    0 => bytes.truncate(at),
                    1 if !bytes.is_empty() => bytes[at] = odd[random.below(odd.len())],
                    _ => bytes.insert(at.min(bytes.len()), odd[random.below(odd.len())]),
                }
            }
            bytes
        })
        .collect()
}
