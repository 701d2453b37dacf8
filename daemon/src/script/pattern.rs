//! Lua's patterns once more, under the guard.
//!
//! To the guard a call of `string.find` is one instruction, however long it takes, and a pattern
//! with a few `*` takes hours over a long text, which somebody else may have sent. So the sandbox
//! gives to this matcher what could take long. It does what the manual of Lua 5.4 (§6.4.1) says
//! of patterns, counts its steps, and a test holds it against the original.

use super::guard::{Guard, STEP, Stop};

/// Most captures of one pattern, and deepest recursion of a match (those of Lua).
const CAPTURES: usize = 32;
const DEPTH: usize = 200;
/// What makes a text a pattern, to `string.find`.
const SPECIAL: &[u8] = b"^$*+?.([%-";
/// A match that takes fewer steps than these is Lua's own business.
const CHEAP: f64 = 1e6;

/// Whether `string.find` takes it for a text to be found.
pub(super) fn is_plain(pattern: &[u8]) -> bool {
    !pattern.iter().any(|byte| SPECIAL.contains(byte))
}

/// Whether a match could take long: a bound of its steps, from the number of repetitions.
pub(super) fn is_costly(text: &[u8], pattern: &[u8]) -> bool {
    let repeats = |byte: &&u8| matches!(byte, b'*' | b'+' | b'-' | b'?');
    let balanced = pattern.windows(2).filter(|pair| pair == b"%b").count();
    // Without an anchor it is tried at each place.
    let places = usize::from(!pattern.starts_with(b"^"));
    let loops = pattern.iter().filter(repeats).count() + balanced + places;
    let length = text.len() as f64 + 1.0;
    length.powi(i32::try_from(loops).unwrap_or(i32::MAX)) * pattern.len() as f64 > CHEAP
}

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The pattern is none.
    Malformed(String),
    Stopped(Stop),
}

type Tried = Result<Option<usize>, Trouble>;

/// What a pattern has found: where, from 0, and what its captures hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) begin: usize,
    pub(super) end: usize,
    pub(super) captures: Vec<Capture>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Capture {
    /// From there to there.
    Text(usize, usize),
    /// `()`: a place.
    Place(usize),
    Open(usize),
}

/// One match of a pattern.
#[derive(Debug)]
pub(super) struct Matcher<'a> {
    text: &'a [u8],
    pattern: &'a [u8],
    guard: &'a Guard,
    captures: Vec<Capture>,
    depth: usize,
    steps: u32,
}

impl<'a> Matcher<'a> {
    pub(super) fn new(text: &'a [u8], pattern: &'a [u8], guard: &'a Guard) -> Self {
        Self {
            text,
            pattern,
            guard,
            captures: Vec::new(),
            depth: 0,
            steps: 0,
        }
    }

    /// The first match that begins at `begin` or later; a `^` holds it there.
    pub(super) fn search(&mut self, begin: usize) -> Result<Option<Found>, Trouble> {
        let is_anchored = self.pattern.first() == Some(&b'^');
        for begin in begin..=self.text.len() {
            let found = self.match_at(begin, usize::from(is_anchored))?;
            if found.is_some() || is_anchored {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The match that begins right there, of the pattern from its byte `from` on.
    pub(super) fn match_at(&mut self, begin: usize, from: usize) -> Result<Option<Found>, Trouble> {
        self.captures.clear();
        let Some(end) = self.run(begin, from)? else {
            return Ok(None);
        };
        if self
            .captures
            .iter()
            .any(|capture| matches!(capture, Capture::Open(_)))
        {
            return malformed("unfinished capture");
        }
        Ok(Some(Found {
            begin,
            end,
            captures: std::mem::take(&mut self.captures),
        }))
    }

    fn step(&mut self) -> Result<(), Trouble> {
        self.steps += 1;
        if self.steps.is_multiple_of(STEP)
            && let Some(stop) = self.guard.charge(STEP.into())
        {
            return Err(Trouble::Stopped(stop));
        }
        Ok(())
    }

    /// Matches the rest of the pattern against the rest of the text.
    fn run(&mut self, at: usize, from: usize) -> Tried {
        if self.depth == DEPTH {
            return malformed("pattern too complex");
        }
        self.depth += 1;
        let end = self.run_on(at, from);
        self.depth -= 1;
        end
    }

    fn run_on(&mut self, mut at: usize, mut from: usize) -> Tried {
        loop {
            self.step()?;
            let Some(&first) = self.pattern.get(from) else {
                return Ok(Some(at));
            };
            match (first, self.pattern.get(from + 1)) {
                (b'(', Some(b')')) => return self.capture(Capture::Place(at), at, from + 2),
                (b'(', _) => return self.capture(Capture::Open(at), at, from + 1),
                (b')', _) => return self.close(at, from + 1),
                (b'$', None) => return Ok((at == self.text.len()).then_some(at)),
                (b'%', Some(b'b')) => match self.balance(at, from + 2)? {
                    Some(end) => (at, from) = (end, from + 4),
                    None => return Ok(None),
                },
                (b'%', Some(b'f')) => match self.frontier(at, from + 2)? {
                    Some(rest) => from = rest,
                    None => return Ok(None),
                },
                (b'%', Some(digit @ b'0'..=b'9')) => match self.same(at, *digit)? {
                    Some(end) => (at, from) = (end, from + 2),
                    None => return Ok(None),
                },
                _ => {
                    let rest = self.class_end(from)?;
                    let is_one = self.is_one(at, from, rest);
                    match (self.pattern.get(rest), is_one) {
                        (Some(b'?'), true) => match self.run(at + 1, rest + 1)? {
                            Some(end) => return Ok(Some(end)),
                            None => from = rest + 1,
                        },
                        (Some(b'+'), true) => return self.most(at + 1, from, rest),
                        (Some(b'*'), true) => return self.most(at, from, rest),
                        (Some(b'-'), true) => return self.least(at, from, rest),
                        (Some(b'*' | b'?' | b'-'), false) => from = rest + 1,
                        (_, true) => (at, from) = (at + 1, rest),
                        (_, false) => return Ok(None),
                    }
                }
            }
        }
    }

    /// As many as there are, then fewer.
    fn most(&mut self, at: usize, from: usize, rest: usize) -> Tried {
        let mut count = 0;
        while self.is_one(at + count, from, rest) {
            self.step()?;
            count += 1;
        }
        for count in (0..=count).rev() {
            if let Some(end) = self.run(at + count, rest + 1)? {
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    /// As few as will do.
    fn least(&mut self, mut at: usize, from: usize, rest: usize) -> Tried {
        loop {
            if let Some(end) = self.run(at, rest + 1)? {
                return Ok(Some(end));
            }
            if !self.is_one(at, from, rest) {
                return Ok(None);
            }
            at += 1;
        }
    }

    fn capture(&mut self, capture: Capture, at: usize, from: usize) -> Tried {
        if self.captures.len() == CAPTURES {
            return malformed("too many captures");
        }
        let level = self.captures.len();
        self.captures.push(capture);
        let end = self.run(at, from)?;
        if end.is_none() {
            self.captures.truncate(level);
        }
        Ok(end)
    }

    fn close(&mut self, at: usize, from: usize) -> Tried {
        let open = self
            .captures
            .iter()
            .rposition(|capture| matches!(capture, Capture::Open(_)));
        let Some(level) = open else {
            return malformed("invalid pattern capture");
        };
        let was = self.captures[level];
        if let Capture::Open(begin) = was {
            self.captures[level] = Capture::Text(begin, at);
        }
        let end = self.run(at, from)?;
        if end.is_none() {
            self.captures[level] = was;
        }
        Ok(end)
    }

    /// `%bxy`: from an x to the y that belongs to it.
    fn balance(&mut self, at: usize, from: usize) -> Tried {
        let (Some(&open), Some(&close)) = (self.pattern.get(from), self.pattern.get(from + 1))
        else {
            return malformed("malformed pattern (missing arguments to '%b')");
        };
        if self.text.get(at) != Some(&open) {
            return Ok(None);
        }
        let mut level = 1;
        for place in at + 1..self.text.len() {
            self.step()?;
            let byte = self.text[place];
            if byte == close {
                level -= 1;
                if level == 0 {
                    return Ok(Some(place + 1));
                }
            } else if byte == open {
                level += 1;
            }
        }
        Ok(None)
    }

    /// `%f[set]`: between a byte that is not of the set and one that is. Gives what follows it.
    fn frontier(&self, at: usize, from: usize) -> Tried {
        if self.pattern.get(from) != Some(&b'[') {
            return malformed("missing '[' after '%f' in pattern");
        }
        let rest = self.class_end(from)?;
        let before = at.checked_sub(1).map_or(0, |before| self.text[before]);
        let here = self.text.get(at).copied().unwrap_or(0);
        let is_in = |byte| self.is_in_set(byte, from, rest - 1);
        Ok((!is_in(before) && is_in(here)).then_some(rest))
    }

    /// `%1`: what a capture holds, once more.
    fn same(&mut self, at: usize, digit: u8) -> Tried {
        let level = usize::from(digit).wrapping_sub(usize::from(b'1'));
        let wanted = match self.captures.get(level) {
            Some(Capture::Text(begin, end)) => &self.text[*begin..*end],
            // Lua compares nothing: a place has no text.
            Some(Capture::Place(_)) => return Ok(None),
            Some(Capture::Open(_)) | None => {
                let digit = char::from(digit);
                return malformed(&format!("invalid capture index %{digit} in pattern"));
            }
        };
        let end = at + wanted.len();
        Ok((self.text.get(at..end) == Some(wanted)).then_some(end))
    }

    /// Where the class that begins there ends.
    fn class_end(&self, from: usize) -> Result<usize, Trouble> {
        let byte = |place: usize| self.pattern.get(place).copied();
        match byte(from) {
            Some(b'%') if byte(from + 1).is_none() => {
                malformed("malformed pattern (ends with '%')")
            }
            Some(b'%') => Ok(from + 2),
            Some(b'[') => {
                let mut place = from + 1 + usize::from(byte(from + 1) == Some(b'^'));
                loop {
                    match byte(place) {
                        None => return malformed("malformed pattern (missing ']')"),
                        Some(b'%') if byte(place + 1).is_some() => place += 2,
                        Some(_) => place += 1,
                    }
                    if byte(place) == Some(b']') {
                        return Ok(place + 1);
                    }
                }
            }
            _ => Ok(from + 1),
        }
    }

    /// Whether the byte there is of the class between the two places.
    fn is_one(&self, at: usize, from: usize, rest: usize) -> bool {
        let Some(&byte) = self.text.get(at) else {
            return false;
        };
        match self.pattern[from] {
            b'.' => true,
            b'%' => is_of(byte, self.pattern[from + 1]),
            b'[' => self.is_in_set(byte, from, rest - 1),
            other => other == byte,
        }
    }

    /// Whether it is in the set from its `[` to its `]`.
    fn is_in_set(&self, byte: u8, from: usize, end: usize) -> bool {
        let is_inverted = self.pattern[from + 1] == b'^';
        let mut place = from + 1 + usize::from(is_inverted);
        while place < end {
            let this = self.pattern[place];
            let is_hit = if this == b'%' {
                place += 1;
                is_of(byte, self.pattern[place])
            } else if self.pattern[place + 1] == b'-' && place + 2 < end {
                place += 2;
                (this..=self.pattern[place]).contains(&byte)
            } else {
                this == byte
            };
            if is_hit {
                return !is_inverted;
            }
            place += 1;
        }
        is_inverted
    }
}

impl Drop for Matcher<'_> {
    fn drop(&mut self) {
        // A pattern that is tried at each place takes few steps at each of them.
        self.guard.charge((self.steps % STEP).into());
    }
}

/// Whether the byte is of the class `%a`, `%D` and so on; any other letter stands for itself.
fn is_of(byte: u8, class: u8) -> bool {
    let is = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'g' => byte.is_ascii_graphic(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => byte.is_ascii_whitespace() || byte == 0x0b,
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        _ => return class == byte,
    };
    is != class.is_ascii_uppercase()
}

fn malformed<T>(problem: &str) -> Result<T, Trouble> {
    Err(Trouble::Malformed(problem.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mlua::{Function, Lua, MultiValue, Value};

    use super::super::guard::{Limits, Phase};
    use super::*;

    fn guard(instructions: u64) -> Guard {
        let guard = Guard::new(Limits {
            memory_bytes: 1 << 30,
            instructions,
            time: Duration::from_secs(3600),
        });
        guard.begin(Phase::Running);
        guard
    }

    /// What ours finds, in the words of `string.find`; an error is one word.
    fn ours(text: &[u8], pattern: &[u8], begin: usize) -> String {
        let guard = guard(u64::MAX);
        let found = match Matcher::new(text, pattern, &guard).search(begin) {
            Err(Trouble::Malformed(_)) => return "error".to_owned(),
            Err(Trouble::Stopped(stop)) => panic!("{stop}"),
            Ok(None) => return "nil".to_owned(),
            Ok(Some(found)) => found,
        };
        let mut words = vec![(found.begin + 1).to_string(), found.end.to_string()];
        words.extend(found.captures.iter().map(|capture| match capture {
            Capture::Text(begin, end) => text[*begin..*end].escape_ascii().to_string(),
            Capture::Place(place) => format!("at {}", place + 1),
            Capture::Open(_) => panic!("an open capture"),
        }));
        words.join(" ")
    }

    fn original(find: &Function, lua: &Lua, text: &[u8], pattern: &[u8], begin: usize) -> String {
        let string = |bytes: &[u8]| lua.create_string(bytes).unwrap();
        let found = find.call::<MultiValue>((string(text), string(pattern), begin + 1));
        let Ok(found) = found else {
            return "error".to_owned();
        };
        let word = |(place, value): (usize, &Value)| match value {
            Value::Nil => "nil".to_owned(),
            Value::Integer(n) if place < 2 => n.to_string(),
            Value::Integer(n) => format!("at {n}"),
            Value::String(text) => text.as_bytes().escape_ascii().to_string(),
            other => panic!("{other:?}"),
        };
        let words: Vec<String> = found.iter().enumerate().map(word).collect();
        words.join(" ")
    }

    #[test]
    fn patterns_find_what_lua_finds() {
        let lua = Lua::new();
        let find: Function = lua.load("return string.find").eval().unwrap();
        let pieces: [&[u8]; 36] = [
            b"a", b"b", b"c", b".", b"%a", b"%d", b"%s", b"%W", b"%p", b"%x", b"[ab]", b"[^a]",
            b"[a-c]", b"[%d_]", b"[]]", b"*", b"+", b"-", b"?", b"(", b")", b"()", b"(a)", b"^",
            b"$", b"%1", b"%2", b"%b()", b"%bab", b"%f[%a]", b"%f[^a]", b"%", b"[", b"]", b"%%",
            b"(.-)",
        ];
        let texts: [&[u8]; 8] = [
            b"",
            b"a",
            b"aab",
            b"abcabc",
            b"(a(b)c)",
            b"  x1_y2  ",
            b"a]b%c",
            b"\xffab\0ba",
        ];
        // A generator of our own, so that each run is the same.
        let mut state = 1_u64;
        let mut next = |below: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as usize % below
        };
        let mut found = 0;
        for _ in 0..200_000 {
            let pattern: Vec<u8> = (0..=next(6))
                .flat_map(|_| pieces[next(36)].to_vec())
                .collect();
            if !pattern.iter().any(|byte| SPECIAL.contains(byte)) {
                continue;
            }
            let text = texts[next(8)];
            let begin = next(text.len() + 1);
            let expected = original(&find, &lua, text, &pattern, begin);
            let told = (
                text.escape_ascii().to_string(),
                pattern.escape_ascii().to_string(),
            );
            assert_eq!(
                ours(text, &pattern, begin),
                expected,
                "{told:?} from {begin}"
            );
            found += usize::from(expected != "error" && expected != "nil");
        }
        assert!(found > 15_000, "{found}");
        let deep = b"(a)".repeat(40);
        assert_eq!(
            ours(&b"a".repeat(40), &deep, 0),
            "error",
            "too many captures"
        );
    }

    #[test]
    fn a_match_that_takes_long_is_stopped() {
        let text = b"a".repeat(10_000);
        let pattern = b"(.*)(.*)(.*)(.*)b";
        assert!(is_costly(&text, pattern));
        let guard = guard(1_000_000);
        let found = Matcher::new(&text, pattern, &guard).search(0);
        assert_eq!(found, Err(Trouble::Stopped(Stop::Instructions(1_000_000))));
    }

    #[test]
    fn what_scripts_do_all_day_is_left_to_lua() {
        let text = b"sip:alice@example.com;transport=tcp".as_slice();
        for pattern in [
            "^sip:(.-)@(.*)$",
            "^%s*(.-)%s*$",
            "%d+",
            ";transport=(%a+)",
            "(%w+)@",
        ] {
            assert!(!is_costly(text, pattern.as_bytes()), "{pattern}");
        }
        assert!(is_costly(&b" ".repeat(10_000), b"^%s*(.-)%s*$"));
    }
}
