//! What a file is told: by the configuration, and by its socket.

use super::suffix::Suffix;
use crate::transport::percent::decode;
use crate::wire::flat::Style;

/// How files are written where their sockets do not say otherwise. The fields have the names and
/// defaults of the module parameters of OpenSIPS; the last two are ours.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Flatstore {
    /// Most files open at one time.
    pub max_open_sockets: usize,
    /// What stands between the columns of a line.
    pub delimiter: String,
    /// What stands for a delimiter in a value: as long as the delimiter, and without a character of
    /// it. Without one the delimiter's first character becomes a space.
    pub escape_delimiter: Option<String>,
    /// Leaves out the first column, the event's name.
    pub suppress_event_name: bool,
    /// Mode of new files, less the umask; of the bits `0o666`.
    pub file_permissions: u32,
    /// Appended to the path: a pattern of `strftime`, in local time, made anew at each rotation.
    pub suffix: String,
    /// Rotates when a file has so many lines; 0 = never.
    pub rotate_count: u64,
    /// Rotates before a file has more bytes; 0 = never.
    pub rotate_size: u64,
    /// Rotates when the time since 1970 is a multiple of so many seconds; 0 = never.
    pub rotate_period: u32,
    /// Writes controls in values so that each can be told apart.
    pub escape_controls: bool,
    /// Counts an event as delivered only when its line is on the disk.
    pub sync: bool,
}

impl Default for Flatstore {
    fn default() -> Self {
        Self {
            max_open_sockets: 100,
            delimiter: ",".to_owned(),
            escape_delimiter: None,
            suppress_event_name: false,
            file_permissions: 0o644,
            suffix: String::new(),
            rotate_count: 0,
            rotate_size: 0,
            rotate_period: 0,
            escape_controls: false,
            sync: false,
        }
    }
}

impl Flatstore {
    /// Whether files can be written so.
    ///
    /// # Errors
    /// What is wrong, and what would be right.
    pub fn check(&self) -> Result<(), String> {
        self.options().map(|_| ())
    }

    /// Reads a number of bytes as the sockets and OpenSIPS write it: `k`, `m` and `g` behind it are
    /// powers of 1024.
    pub fn size(text: &str) -> Option<u64> {
        let (number, shift) = match text.as_bytes().last()?.to_ascii_lowercase() {
            b'k' => (&text[..text.len() - 1], 10),
            b'm' => (&text[..text.len() - 1], 20),
            b'g' => (&text[..text.len() - 1], 30),
            _ => (text, 0),
        };
        let number: u64 = number.parse().ok().filter(|_| plain(number))?;
        number.checked_mul(1 << shift)
    }

    pub(super) fn options(&self) -> Result<Options, String> {
        let style = Style::new(&self.delimiter, self.escape_delimiter.as_deref());
        let mut style = style.map_err(|error| error.to_string())?;
        if self.suppress_event_name {
            style = style.suppressing_name();
        }
        if self.escape_controls {
            style = style
                .escaping_controls()
                .map_err(|error| error.to_string())?;
        }
        if self.file_permissions & !0o666 != 0 {
            return Err(format!(
                "file_permissions {:o} is not made of read and write bits; the default is 644",
                self.file_permissions
            ));
        }
        Ok(Options {
            style,
            mode: self.file_permissions,
            suffix: Suffix::new(&self.suffix)?,
            rotate_count: self.rotate_count,
            rotate_size: self.rotate_size,
            rotate_period: self.rotate_period,
            sync: self.sync,
        })
    }

    /// These settings with what a socket says, as `key=value&key=value`.
    pub(super) fn with(&self, text: &str) -> Result<Self, String> {
        if text.chars().any(char::is_control) {
            return Err("an option cannot hold control characters; write %09 for a TAB".to_owned());
        }
        let mut settings = self.clone();
        for option in text.split('&') {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            let value = decode(value, &format!("value of {key:?}"))?;
            let bad = |right: &str| Err(format!("bad {key} {value:?}; write {right}"));
            match key {
                "delimiter" => settings.delimiter = value,
                "escape_delimiter" => settings.escape_delimiter = Some(value),
                "suffix" => settings.suffix = value,
                "suppress_event_name" | "escape_controls" | "sync" => {
                    let Some(on) = flag(&value) else {
                        return bad("0 or 1");
                    };
                    match key {
                        "suppress_event_name" => settings.suppress_event_name = on,
                        "escape_controls" => settings.escape_controls = on,
                        _ => settings.sync = on,
                    }
                }
                "file_permissions" => match u32::from_str_radix(&value, 8) {
                    Ok(mode) if plain(&value) => settings.file_permissions = mode,
                    _ => return bad("an octal number"),
                },
                "rotate_count" => match value.parse() {
                    Ok(count) if plain(&value) => settings.rotate_count = count,
                    _ => return bad("a number of lines"),
                },
                "rotate_size" => match Self::size(&value) {
                    Some(size) => settings.rotate_size = size,
                    None => return bad("a number of bytes, or one with k, m or g after it"),
                },
                "rotate_period" => match value.parse() {
                    Ok(secs) if plain(&value) => settings.rotate_period = secs,
                    _ => return bad("a number of seconds"),
                },
                _ => return Err(format!("unknown option {key:?}; known are {KNOWN}")),
            }
        }
        Ok(settings)
    }
}

const KNOWN: &str = "delimiter, escape_delimiter, suppress_event_name, file_permissions, suffix, \
                     rotate_count, rotate_size, rotate_period, escape_controls, sync";

/// Settings that were checked: all that matters of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) style: Style,
    pub(super) mode: u32,
    pub(super) suffix: Suffix,
    pub(super) rotate_count: u64,
    pub(super) rotate_size: u64,
    pub(super) rotate_period: u32,
    pub(super) sync: bool,
}

/// Divides what follows `flatstore:` into the path and the options. A `?` begins options only if
/// it is the last and a word and `=` follow it: any other is part of the path.
pub(super) fn split_options(text: &str) -> (&str, Option<&str>) {
    if let Some((path, options)) = text.rsplit_once('?')
        && let Some((word, _)) = options.split_once('=')
        && !word.is_empty()
        && word
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    {
        return (path, Some(options));
    }
    (text, None)
}

/// Whether a number has nothing but digits: `parse` takes a sign.
fn plain(number: &str) -> bool {
    number.bytes().all(|byte| byte.is_ascii_digit())
}

fn flag(text: &str) -> Option<bool> {
    match text {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}
