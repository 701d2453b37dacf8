//! Appending whole lines to a file, whatever happens in the middle of one.
//!
//! A batch of lines goes to the kernel in one call. When only a part of it finds room, the line
//! that was cut is taken back, so that a reader never finds half of one. A process that is killed
//! can leave half a line behind; whoever opens the file next takes that back.

use std::fmt;

use memchr::memrchr;
use rustix::fd::OwnedFd;
use rustix::io::Errno;

use crate::limits;

/// Half a line is not looked for further from the end.
const LINE_BYTES: u64 = limits::LINE_BYTES as u64;

/// What is asked of a file that is open for appending.
pub(super) trait Disk: fmt::Debug + Send {
    /// Appends as much as finds room.
    fn append(&mut self, bytes: &[u8]) -> Result<usize, Errno>;

    /// Where the last append ended.
    fn position(&mut self) -> Result<u64, Errno>;

    /// The size, and how many names the file has.
    fn size_and_links(&mut self) -> Result<(u64, u64), Errno>;

    /// Reads from that place.
    fn read_at(&mut self, buffer: &mut [u8], at: u64) -> Result<usize, Errno>;

    /// Cuts the file.
    fn cut(&mut self, size: u64) -> Result<(), Errno>;

    /// Has the disk keep what was written.
    fn sync(&mut self) -> Result<(), Errno>;
}

impl Disk for OwnedFd {
    fn append(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        rustix::io::write(self, bytes)
    }

    fn position(&mut self) -> Result<u64, Errno> {
        rustix::fs::tell(self)
    }

    fn size_and_links(&mut self) -> Result<(u64, u64), Errno> {
        let stat = rustix::fs::fstat(self)?;
        Ok((stat.st_size as u64, stat.st_nlink as u64))
    }

    fn read_at(&mut self, buffer: &mut [u8], at: u64) -> Result<usize, Errno> {
        rustix::io::pread(self, buffer, at)
    }

    fn cut(&mut self, size: u64) -> Result<(), Errno> {
        rustix::fs::ftruncate(self, size)
    }

    fn sync(&mut self) -> Result<(), Errno> {
        rustix::fs::fdatasync(self)
    }
}

/// The end of a file, where lines are added.
#[derive(Debug)]
pub(super) struct Tail<D> {
    disk: D,
    /// Half a line that could not be taken back yet: where it ends and where it begins.
    torn: Option<(u64, u64)>,
}

/// Lines to append: their bytes, and where each ends.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) bytes: bytes::BytesMut,
    pub(super) ends: Vec<usize>,
}

impl Lines {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Where the first `count` lines end.
    pub(super) fn end_of(&self, count: usize) -> usize {
        match count {
            0 => 0,
            count => self.ends[count - 1],
        }
    }

    /// Takes the last line back.
    pub(super) fn pop(&mut self) {
        self.ends.pop();
        self.bytes.truncate(self.end_of(self.len()));
    }
}

impl<D: Disk> Tail<D> {
    /// Takes half a line back that a killed process left at the end. Says how many bytes it had.
    pub(super) fn open(mut disk: D) -> Result<(Self, u64), Errno> {
        let (size, _) = disk.size_and_links()?;
        let whole = end_of_lines(&mut disk, size)?;
        // Another process may be writing to it: cut only what has not grown.
        if whole < size && disk.size_and_links()?.0 == size {
            disk.cut(whole)?;
        }
        Ok((Self { disk, torn: None }, size - whole))
    }

    /// The size, and whether the file has no name any more.
    pub(super) fn size_and_is_gone(&mut self) -> Result<(u64, bool), Errno> {
        let (size, links) = self.disk.size_and_links()?;
        Ok((size, links == 0))
    }

    pub(super) fn sync(&mut self) -> Result<(), Errno> {
        self.disk.sync()
    }

    /// Appends the lines; says how many are there whole, and why not all.
    pub(super) fn append(&mut self, lines: &Lines) -> (usize, Option<Errno>) {
        if let Err(errno) = self.mend() {
            return (0, Some(errno));
        }
        let bytes = &lines.bytes[..];
        let mut done = 0;
        let error = loop {
            match self.disk.append(&bytes[done..]) {
                Ok(0) if done < bytes.len() => break Some(Errno::IO),
                Ok(written) => done += written,
                Err(Errno::INTR) => {}
                Err(errno) => break Some(errno),
            }
            if done == bytes.len() {
                break None;
            }
        };
        let whole = lines.ends.partition_point(|&end| end <= done);
        let half = done - lines.end_of(whole);
        if half > 0
            && let Ok(end) = self.disk.position()
        {
            self.torn = Some((end, end - half as u64));
            if let Err(errno) = self.mend() {
                tracing::debug!(%errno, "half a line stays until the next write");
            }
        }
        (whole, error)
    }

    /// Takes half a line back, unless somebody else has appended to it.
    fn mend(&mut self) -> Result<(), Errno> {
        let Some((end, begin)) = self.torn else {
            return Ok(());
        };
        if self.disk.size_and_links()?.0 == end {
            self.disk.cut(begin)?;
        }
        self.torn = None;
        Ok(())
    }
}

/// Where the last whole line ends. If there is none within reach, nothing of the file is ours.
fn end_of_lines(disk: &mut impl Disk, size: u64) -> Result<u64, Errno> {
    let floor = size.saturating_sub(LINE_BYTES);
    let mut buffer = [0; 4096];
    let mut end = size;
    while end > floor {
        let begin = end.saturating_sub(buffer.len() as u64).max(floor);
        let part = &mut buffer[..(end - begin) as usize];
        let mut filled = 0;
        while filled < part.len() {
            match disk.read_at(&mut part[filled..], begin + filled as u64) {
                // It became shorter meanwhile.
                Ok(0) => return Ok(size),
                Ok(count) => filled += count,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        if let Some(at) = memrchr(b'\n', part) {
            return Ok(begin + at as u64 + 1);
        }
        end = begin;
    }
    Ok(if floor == 0 { 0 } else { size })
}

#[cfg(test)]
mod tests;
