use std::sync::{Arc, Mutex};

use super::*;

/// A file in memory, with room for so many bytes, which somebody else can write to as well.
#[derive(Clone, Debug, Default)]
struct Memory(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    position: u64,
    room: usize,
    /// At most so many bytes a call.
    step: usize,
    cannot_cut: bool,
    error: Option<Errno>,
}

impl Memory {
    fn with_room(room: usize) -> Self {
        let memory = Self::default();
        memory.set(|state| (state.room, state.step) = (room, usize::MAX));
        memory
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock().unwrap());
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().bytes.clone()).unwrap()
    }
}

impl Disk for Memory {
    fn append(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        let mut state = self.0.lock().unwrap();
        let count = bytes
            .len()
            .min(state.room.saturating_sub(state.bytes.len()))
            .min(state.step);
        if count == 0 && !bytes.is_empty() {
            return Err(state.error.unwrap_or(Errno::NOSPC));
        }
        state.bytes.extend_from_slice(&bytes[..count]);
        state.position = state.bytes.len() as u64;
        Ok(count)
    }

    fn position(&mut self) -> Result<u64, Errno> {
        Ok(self.0.lock().unwrap().position)
    }

    fn size_and_links(&mut self) -> Result<(u64, u64), Errno> {
        Ok((self.0.lock().unwrap().bytes.len() as u64, 1))
    }

    fn read_at(&mut self, buffer: &mut [u8], at: u64) -> Result<usize, Errno> {
        let state = self.0.lock().unwrap();
        let rest = &state.bytes[at as usize..];
        // Reads can be short.
        let count = buffer.len().min(rest.len()).min(1000);
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn cut(&mut self, size: u64) -> Result<(), Errno> {
        let mut state = self.0.lock().unwrap();
        if state.cannot_cut {
            return Err(Errno::IO);
        }
        state.bytes.truncate(size as usize);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Errno> {
        Ok(())
    }
}

fn lines(texts: &[String]) -> Lines {
    let mut lines = Lines::default();
    for text in texts {
        lines.bytes.extend_from_slice(text.as_bytes());
        lines.ends.push(lines.bytes.len());
    }
    lines
}

/// The lines `<first>…`, of different lengths.
fn batch(first: usize, count: usize) -> Vec<String> {
    (first..first + count)
        .map(|number| format!("{number}{}\n", "x".repeat(number % 7)))
        .collect()
}

#[test]
fn a_full_disk_at_any_byte_leaves_whole_lines_and_says_which() {
    let texts = batch(0, 100);
    let all: String = texts.concat();
    let mut cases = 0;
    for room in 0..=all.len() {
        for step in [usize::MAX, 1, 3, 64, 4096] {
            for room_later in [0, 5, 100] {
                let memory = Memory::with_room(room);
                memory.set(|state| state.step = step);
                let (mut tail, _) = Tail::open(memory.clone()).unwrap();
                let (whole, error) = tail.append(&lines(&texts));
                assert_eq!(error, (room < all.len()).then_some(Errno::NOSPC));
                assert_eq!(memory.text(), texts[..whole].concat());
                // As many as there was room for.
                assert!(whole == texts.len() || texts[..=whole].concat().len() > room);
                memory.set(|state| state.room += room_later);
                let next = batch(1000, 3);
                let (more, _) = tail.append(&lines(&next));
                let expected = texts[..whole].concat() + &next[..more].concat();
                assert_eq!(memory.text(), expected);
                cases += 1;
            }
        }
    }
    assert!(cases > 8000, "{cases}");
}

#[test]
fn half_a_line_that_could_not_be_taken_back_is_taken_back_later() {
    let memory = Memory::with_room(7);
    let (mut tail, _) = Tail::open(memory.clone()).unwrap();
    memory.set(|state| state.cannot_cut = true);
    let given = lines(&["one\n".to_owned(), "twotwo\n".to_owned()]);
    assert_eq!(tail.append(&given), (1, Some(Errno::NOSPC)));
    assert_eq!(memory.text(), "one\ntwo");
    // Nothing is added to half a line.
    memory.set(|state| state.room = 100);
    assert_eq!(tail.append(&given), (0, Some(Errno::IO)));
    assert_eq!(memory.text(), "one\ntwo");
    memory.set(|state| state.cannot_cut = false);
    assert_eq!(tail.append(&given), (2, None));
    assert_eq!(memory.text(), "one\none\ntwotwo\n");
}

#[test]
fn what_somebody_else_appended_is_not_cut() {
    let memory = Memory::with_room(7);
    let (mut tail, _) = Tail::open(memory.clone()).unwrap();
    memory.set(|state| state.cannot_cut = true);
    tail.append(&lines(&["one\n".to_owned(), "twotwo\n".to_owned()]));
    memory.set(|state| {
        state.cannot_cut = false;
        state.room = 100;
        state.bytes.extend_from_slice(b"theirs\n");
    });
    assert_eq!(tail.append(&lines(&["three\n".to_owned()])), (1, None));
    assert_eq!(memory.text(), "one\ntwotheirs\nthree\n");
}

#[test]
fn half_a_line_at_the_end_is_taken_back_when_the_file_is_opened() {
    let long = "y".repeat(5000);
    let half = "z".repeat(12_345);
    for (before, after) in [
        ("", ""),
        ("a\nb\n", "a\nb\n"),
        ("a\nb", "a\n"),
        ("half", ""),
        ("\n", "\n"),
        (&format!("{long}\n"), &format!("{long}\n")),
        (&format!("{long}\n{half}"), &format!("{long}\n")),
    ] {
        let memory = Memory::with_room(1 << 20);
        memory.set(|state| state.bytes = before.as_bytes().to_vec());
        let (_, cut) = Tail::open(memory.clone()).unwrap();
        assert_eq!(memory.text(), after);
        assert_eq!(cut as usize, before.len() - after.len());
    }
}

#[test]
fn a_file_that_is_not_made_of_lines_is_not_cut() {
    let memory = Memory::with_room(usize::MAX);
    let foreign = "x".repeat(LINE_BYTES as usize + 1);
    memory.set(|state| state.bytes = foreign.as_bytes().to_vec());
    assert_eq!(Tail::open(memory.clone()).unwrap().1, 0);
    assert_eq!(memory.text(), foreign);
}

#[test]
fn a_write_that_takes_nothing_is_an_error() {
    #[derive(Debug)]
    struct Stuck;
    impl Disk for Stuck {
        fn append(&mut self, _: &[u8]) -> Result<usize, Errno> {
            Ok(0)
        }
        fn position(&mut self) -> Result<u64, Errno> {
            Ok(0)
        }
        fn size_and_links(&mut self) -> Result<(u64, u64), Errno> {
            Ok((0, 1))
        }
        fn read_at(&mut self, _: &mut [u8], _: u64) -> Result<usize, Errno> {
            Ok(0)
        }
        fn cut(&mut self, _: u64) -> Result<(), Errno> {
            Ok(())
        }
        fn sync(&mut self) -> Result<(), Errno> {
            Ok(())
        }
    }
    let (mut tail, _) = Tail::open(Stuck).unwrap();
    let given = lines(&["one\n".to_owned()]);
    assert_eq!(tail.append(&given), (0, Some(Errno::IO)));
}
