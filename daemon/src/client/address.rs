//! Where a daemon's management interface is: what `--mi` takes.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where answers through a FIFO go unless told otherwise (OpenSIPS `reply_dir`).
const REPLY_DIR: &str = "/tmp";

/// One way to a daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// `unix:path`
    Unix(PathBuf),
    /// `udp:host:port`
    Udp(String),
    /// `fifo:path`, with the answers in `/tmp` or in `?reply_dir=…`.
    Fifo { path: PathBuf, reply_dir: PathBuf },
    /// `http://host:port/path`
    Http { authority: String, path: String },
}

impl Address {
    /// The FIFO that a daemon has in its run directory unless told otherwise.
    pub(super) fn beside(run_directory: &Path) -> Self {
        Self::Fifo {
            path: run_directory.join("mi.fifo"),
            reply_dir: REPLY_DIR.into(),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let misfit = || {
            format!(
                "{text:?} is no management address; write http://host:port/mi, unix:path, \
                 udp:host:port or fifo:path"
            )
        };
        let (scheme, rest) = text.split_once(':').ok_or_else(misfit)?;
        match scheme {
            "unix" if !rest.is_empty() => Ok(Self::Unix(rest.into())),
            "udp" if has_port(rest) => Ok(Self::Udp(rest.to_owned())),
            "fifo" if !rest.is_empty() => Ok(fifo(rest)),
            "http" => http(rest).ok_or_else(misfit),
            _ => Err(misfit()),
        }
    }
}

fn fifo(rest: &str) -> Address {
    let (path, reply_dir) = rest.split_once("?reply_dir=").unwrap_or((rest, REPLY_DIR));
    Address::Fifo {
        path: path.into(),
        reply_dir: reply_dir.into(),
    }
}

fn http(rest: &str) -> Option<Address> {
    let rest = rest.strip_prefix("//")?;
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, "/mi"),
    };
    let path = if path == "/" { "/mi" } else { path };
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if !has_port(authority) || !plain(authority) || !plain(path) {
        return None;
    }
    Some(Address::Http {
        authority: authority.to_owned(),
        path: path.to_owned(),
    })
}

fn has_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let bare_v6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
    !host.is_empty() && !bare_v6 && port.parse::<u16>().is_ok_and(|port| port > 0)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Udp(address) => write!(f, "udp:{address}"),
            Self::Fifo { path, .. } => write!(f, "fifo:{}", path.display()),
            Self::Http { authority, path } => write!(f, "http://{authority}{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_reads_and_prints_back() {
        for (text, printed) in [
            ("unix:/run/x/mi.sock", "unix:/run/x/mi.sock"),
            ("udp:localhost:8888", "udp:localhost:8888"),
            ("udp:[::1]:8888", "udp:[::1]:8888"),
            ("fifo:/tmp/opensips_fifo", "fifo:/tmp/opensips_fifo"),
            ("http://127.0.0.1:8888", "http://127.0.0.1:8888/mi"),
            ("http://127.0.0.1:8888/", "http://127.0.0.1:8888/mi"),
            ("http://[::1]:8888/json", "http://[::1]:8888/json"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), printed);
        }
    }

    #[test]
    fn answers_of_a_fifo_come_to_tmp_unless_told_otherwise() {
        for (text, path, reply_dir) in [
            ("fifo:/run/x/mi.fifo", "/run/x/mi.fifo", "/tmp"),
            ("fifo:mi.fifo?reply_dir=/run/x", "mi.fifo", "/run/x"),
        ] {
            let address = Address::Fifo {
                path: path.into(),
                reply_dir: reply_dir.into(),
            };
            assert_eq!(text.parse(), Ok(address));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "unix",
            "unix:",
            "udp:",
            "udp:host",
            "udp:host:0",
            "udp:host:65536",
            "udp:::1:5",
            "fifo:",
            "http:",
            "http://",
            "http://host",
            "http://host:x",
            "http://h:1/a b",
            "https://host:1/",
            "tcp:127.0.0.1:1",
            "/run/mi.sock",
            "http://h\r\n:1/",
        ] {
            let refusal = text.parse::<Address>().expect_err(text);
            assert!(refusal.contains("write http://host:port/mi"), "{refusal}");
        }
    }
}
