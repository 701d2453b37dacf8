//! The strings and numbers of a payload, as OpenSIPS writes them (cJSON with its changes).
//!
//! A raise waits for this code, so a string is looked at eight bytes a step and copied in whole
//! runs. What is escaped: `"` and `\`, the five short escapes, other controls and NUL as `\u00xx`
//! in lower case. 0x7F, `/` and everything from 0x80 on stay raw.

use bytes::BytesMut;

use super::draft::Draft;

const ONES: u64 = u64::from_le_bytes([0x01; 8]);
const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);

/// Writes `text` as a JSON string, with its quotes.
pub(crate) fn string(out: &mut BytesMut, text: &str) {
    out.extend_from_slice(b"\"");
    inside(text.as_bytes(), |run| out.extend_from_slice(run));
    out.extend_from_slice(b"\"");
}

/// Writes `text` as the inside of a JSON string; says where the draft ends then.
#[inline(never)]
pub(super) fn long(mut draft: Draft<'_>, text: &[u8]) -> usize {
    inside(text, |run| draft.put(run));
    draft.len()
}

/// The same for any bytes: each sequence of them that is not UTF-8 becomes one U+FFFD.
#[cold]
pub(super) fn repaired(mut draft: Draft<'_>, bytes: &[u8]) -> usize {
    for chunk in bytes.utf8_chunks() {
        inside(chunk.valid().as_bytes(), |run| draft.put(run));
        if !chunk.invalid().is_empty() {
            draft.put("\u{fffd}".as_bytes());
        }
    }
    draft.len()
}

/// Puts the inside of a JSON string, run by run. It must be UTF-8.
#[inline]
fn inside(text: &[u8], mut put: impl FnMut(&[u8])) {
    match first_special(text) {
        None => put(text),
        Some(at) => {
            put(&text[..at]);
            escaped(&text[at..], put);
        }
    }
}

/// Puts a text that begins with a special byte.
///
/// Where one byte is special others are near: it is put together on the stack, whole words where
/// they are clean, and put a page at a time.
fn escaped(text: &[u8], mut put: impl FnMut(&[u8])) {
    const PAGE: usize = 256;
    let mut page = [0; PAGE];
    let mut used = 0;
    let (words, tail) = text.as_chunks::<8>();
    for word in words {
        if used + word.len() * ESCAPE_BYTES > PAGE {
            put(&page[..used]);
            used = 0;
        }
        if special_bits(u64::from_le_bytes(*word)) == 0 {
            page[used..used + word.len()].copy_from_slice(word);
            used += word.len();
        } else {
            used = escape_all(&mut page, used, word);
        }
    }
    put(&page[..used]);
    used = escape_all(&mut page, 0, tail);
    put(&page[..used]);
}

/// Longest escape: `\u00xx`.
const ESCAPE_BYTES: usize = 6;

/// Appends a few bytes to the page, escaped where they must be; says how much of it is used.
#[inline]
fn escape_all(page: &mut [u8], mut used: usize, bytes: &[u8]) -> usize {
    for &byte in bytes {
        match ESCAPES[usize::from(byte)] {
            0 => {
                page[used] = byte;
                used += 1;
            }
            b'u' => {
                page[used..used + ESCAPE_BYTES].copy_from_slice(&unicode(byte));
                used += ESCAPE_BYTES;
            }
            short => {
                page[used..used + 2].copy_from_slice(&[b'\\', short]);
                used += 2;
            }
        }
    }
    used
}

fn unicode(byte: u8) -> [u8; ESCAPE_BYTES] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
    [b'\\', b'u', b'0', b'0', digits[0], digits[1]]
}

/// By byte: what follows the backslash, or 0 where none is wanted.
const ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let mut control = 0;
    while control < 0x20 {
        table[control] = b'u';
        control += 1;
    }
    table[0x08] = b'b';
    table[0x0c] = b'f';
    table[b'\n' as usize] = b'n';
    table[b'\r' as usize] = b'r';
    table[b'\t' as usize] = b't';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table
};

/// The place of the first byte that must be escaped.
#[inline]
fn first_special(text: &[u8]) -> Option<usize> {
    let (words, tail) = text.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let found = special_bits(u64::from_le_bytes(*word));
        if found != 0 {
            return Some(index * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    tail.iter()
        .position(|&byte| is_special(byte))
        .map(|at| words.len() * 8 + at)
}

/// Whether a byte must be escaped.
#[inline]
pub(super) fn is_special(byte: u8) -> bool {
    ESCAPES[usize::from(byte)] != 0
}

/// The high bit of each byte of `word` that must be escaped, exact up to the first one.
///
/// A borrow of the subtractions only travels upward, from a byte that is itself special, so the
/// lowest bit set is always right. High bits of `word` itself are masked: such bytes stay raw.
#[inline]
pub(super) fn special_bits(word: u64) -> u64 {
    let control = word.wrapping_sub(ONES * 0x20);
    let quote = (word ^ (ONES * b'"' as u64)).wrapping_sub(ONES);
    let backslash = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
    (control | quote | backslash) & !word & HIGHS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Vec<u8> {
        let mut out = BytesMut::new();
        string(&mut out, text);
        out.to_vec()
    }

    /// Each byte at each place of a word and beyond, so that no neighbour hides or invents one.
    #[test]
    fn every_ascii_byte_is_found_at_every_place_and_only_if_special() {
        for filler in ["a", "\u{7f}", " ", "!", "#", "[", "]", "\u{e9}"] {
            for byte in 0..0x80_u8 {
                for before in 0..20 {
                    for after in [0, 1, 7, 9] {
                        let text = [&filler.repeat(before), "\0", &filler.repeat(after)].concat();
                        let text = text.replace('\0', &char::from(byte).to_string());
                        let is_special = byte < 0x20 || byte == b'"' || byte == b'\\';
                        let at = is_special.then(|| filler.len() * before);
                        assert_eq!(first_special(text.as_bytes()), at, "{text:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn escapes_are_those_of_opensips() {
        let controls: String = (0..0x20_u8).map(char::from).collect();
        let expected = concat!(
            r#""\u0000\u0001\u0002\u0003\u0004\u0005\u0006\u0007\b\t\n\u000b\f\r\u000e\u000f"#,
            r"\u0010\u0011\u0012\u0013\u0014\u0015\u0016\u0017\u0018\u0019\u001a\u001b\u001c",
            r#"\u001d\u001e\u001f""#,
        );
        assert_eq!(written(&controls), expected.as_bytes());
        assert_eq!(written("\"\\/\u{7f}"), b"\"\\\"\\\\/\x7f\"");
    }

    #[test]
    fn bytes_are_repaired_as_from_utf8_lossy_does() {
        for bytes in [
            b"ok\xff\xfe\xc3\x28\x80end".as_slice(),
            b"\xf0\x9f\x98",
            b"\xf0\x9f\x98\x80",
            b"\xe2\x82\"\xe2\x82\xac\n\xc0\xaf",
            b"",
        ] {
            let mut block = BytesMut::new();
            let length = repaired(Draft::new(&mut block), bytes);
            let expected = written(&String::from_utf8_lossy(bytes));
            assert_eq!(
                block[..length],
                expected[1..expected.len() - 1],
                "{bytes:?}"
            );
        }
    }
}
