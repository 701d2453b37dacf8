//! A payload that is being written.
//!
//! The block it is written to is larger, and initialised: so what is written goes to its place by
//! an index that the compiler keeps in a register, where an append would go through the length in
//! memory. Short texts are copied as two words that overlap where they must, longer ones by a call.

use std::fmt;

use bytes::BytesMut;

use super::json;

/// The first bytes of a block, up to `end`, and room behind them.
pub(crate) struct Draft<'a> {
    block: &'a mut BytesMut,
    end: usize,
}

impl<'a> Draft<'a> {
    /// Nothing yet, at the beginning of that block.
    #[inline(always)]
    pub(crate) fn new(block: &'a mut BytesMut) -> Self {
        Self { block, end: 0 }
    }

    /// How many bytes were written.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.end
    }

    /// The next so many bytes of the block.
    #[inline(always)]
    fn next(&mut self, length: usize) -> &mut [u8] {
        if self.block.len() - self.end < length {
            grow(self.block, self.end + length);
        }
        let start = self.end;
        self.end += length;
        &mut self.block[start..self.end]
    }

    /// Bytes whose number the compiler knows.
    #[inline(always)]
    pub(super) fn literal<const N: usize>(&mut self, bytes: &[u8; N]) {
        self.next(N).copy_from_slice(bytes);
    }

    /// Any bytes.
    #[inline(always)]
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.next(bytes.len()).copy_from_slice(bytes);
    }

    /// The inside of a JSON string. It must be UTF-8.
    #[inline(always)]
    pub(super) fn text(&mut self, text: &[u8]) {
        if !self.short_and_clean(text) {
            self.end = json::long(self.by_value(), text);
        }
    }

    /// The inside of a JSON string, of bytes that may be no UTF-8.
    #[inline(always)]
    pub(super) fn repaired(&mut self, bytes: &[u8]) {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.text(text.as_bytes()),
            Err(_) => self.end = json::repaired(self.by_value(), bytes),
        }
    }

    /// A whole number.
    #[inline(always)]
    pub(super) fn whole(&mut self, number: impl itoa::Integer) {
        self.digits(itoa::Buffer::new().format(number));
    }

    /// A number; `null` for one that is not finite, which JSON cannot hold.
    #[inline(always)]
    pub(super) fn float(&mut self, number: f64) {
        match number.is_finite() {
            true => self.digits(zmij::Buffer::new().format_finite(number)),
            false => self.literal(b"null"),
        }
    }

    #[inline(always)]
    fn digits(&mut self, digits: &str) {
        if !self.short_and_clean(digits.as_bytes()) {
            self.put(digits.as_bytes());
        }
    }

    /// The same draft for a function that is called: so this one need never have an address.
    #[inline(always)]
    fn by_value(&mut self) -> Draft<'_> {
        Draft {
            block: self.block,
            end: self.end,
        }
    }

    /// Writes a short text in which nothing must be escaped, or nothing at all.
    #[inline(always)]
    fn short_and_clean(&mut self, text: &[u8]) -> bool {
        if text.len() > 16 {
            return false;
        }
        if let (Some(first), Some(last)) = (text.first_chunk::<8>(), text.last_chunk::<8>()) {
            let words = (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
            if json::special_bits(words.0) | json::special_bits(words.1) != 0 {
                return false;
            }
            two(self.next(text.len()), first, last);
        } else if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>())
        {
            let [a, b, c, d] = *first;
            let [e, f, g, h] = *last;
            if json::special_bits(u64::from_le_bytes([a, b, c, d, e, f, g, h])) != 0 {
                return false;
            }
            two(self.next(text.len()), first, last);
        } else {
            if text.iter().any(|&byte| json::is_special(byte)) {
                return false;
            }
            let place = self.next(text.len());
            for (to, from) in place.iter_mut().zip(text) {
                *to = *from;
            }
        }
        true
    }
}

impl fmt::Debug for Draft<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Draft({})", self.block[..self.end].escape_ascii())
    }
}

/// Fills a place with its first and its last bytes.
#[inline(always)]
fn two<const N: usize>(place: &mut [u8], first: &[u8; N], last: &[u8; N]) {
    if let Some(head) = place.first_chunk_mut() {
        *head = *first;
    }
    if let Some(tail) = place.last_chunk_mut() {
        *tail = *last;
    }
}

/// Makes a block that long at least, and twice what it was.
#[cold]
#[inline(never)]
fn grow(block: &mut BytesMut, length: usize) {
    const LEAST: usize = 256;
    block.reserve(length.max(2 * block.len()).max(LEAST) - block.len());
    block.resize(block.capacity(), 0);
}
