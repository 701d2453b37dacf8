//! `%xx` in socket strings.

/// The text that `%xx` stands for. The error does not repeat it: it may be a password.
pub(super) fn decode(text: &str, what: &str) -> Result<String, String> {
    let bad =
        || format!("bad % in the {what}: two hexadecimal digits follow it; write %25 for it alone");
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'%' {
            decoded.push(first);
            continue;
        }
        let byte = tail.first_chunk().and_then(|&[high, low]| {
            let digit = |c: u8| char::from(c).to_digit(16);
            u8::try_from(digit(high)? * 16 + digit(low)?).ok()
        });
        let byte = byte.ok_or_else(bad)?;
        decoded.push(byte);
        rest = &tail[2..];
    }
    String::from_utf8(decoded).map_err(|_| format!("the {what} is not UTF-8"))
}

/// The opposite of [`decode`], as far as it is needed: percent signs, white space, controls and
/// `more`.
#[cfg(any(feature = "kafka", feature = "rabbitmq"))]
pub(super) fn encode(text: &str, more: &[char]) -> String {
    let mut encoded = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '%' || c.is_whitespace() || c.is_control() || more.contains(&c) {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                encoded.push_str(&format!("%{byte:02X}"));
            }
        } else {
            encoded.push(c);
        }
    }
    encoded
}
