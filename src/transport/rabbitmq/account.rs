//! Where a broker is, and as whom: what sockets that publish and those that take have in common.
//!
//! ```text
//! [user[:password]@]host[:port]/…
//! ```

use std::fmt;
use std::hash::{BuildHasher, RandomState};

use crate::transport::percent::{decode, encode};
use crate::transport::socket::{At, host_and_port};
use crate::transport::trust::Trust;

/// Longest name that AMQP takes, in bytes.
const NAME_BYTES: usize = 255;

/// Who connects to a broker.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Account {
    pub(super) at: At,
    /// As whom, where the socket says it.
    login: Option<Login>,
    pub(super) vhost: String,
    /// Whether TLS is spoken.
    pub(super) tls: bool,
    pub(super) trust: Trust,
    /// What the socket calls its TLS settings (OpenSIPS).
    tls_domain: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
struct Login {
    user: String,
    password: Secret,
}

/// What is never shown.
#[derive(Clone, PartialEq)]
struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A scheme: its name, and whether it means TLS.
pub(super) type Scheme = (&'static str, bool);

/// What a socket string consists of.
#[derive(Debug)]
pub(super) struct Pieces<'a> {
    authority: &'a str,
    /// What follows the `/`.
    pub(super) tail: &'a str,
}

/// Divides what follows the scheme.
pub(super) fn divide<'a>(rest: &'a str, right: &str) -> Result<Pieces<'a>, String> {
    if rest.chars().any(char::is_control) {
        return Err("a control character in it; write %xx".to_owned());
    }
    let divided = rest.split_once('/');
    let (authority, tail) = divided.ok_or_else(|| format!("no / after the host; {right}"))?;
    Ok(Pieces { authority, tail })
}

/// The options that say how the broker is reached, while they are read.
#[derive(Debug, Default)]
pub(super) struct Reach {
    vhost: Option<String>,
    trust: Trust,
    tls_domain: Option<String>,
}

impl Reach {
    pub(super) const KNOWN: &str = "vhost=NAME, tls_domain=NAME, ca=FILE, insecure=1";

    /// Takes an option; false if it is none of these.
    pub(super) fn set(&mut self, key: &str, value: &str) -> Result<bool, String> {
        match (key, value) {
            ("vhost", _) => self.vhost = Some(name(value, "vhost")?),
            ("tls_domain", "") => return Err("tls_domain must be a name".to_owned()),
            ("tls_domain", _) => self.tls_domain = Some(decode(value, "tls_domain")?),
            ("ca", file) => return self.trust.set(key, &decode(file, "ca")?),
            _ => return self.trust.set(key, value),
        }
        Ok(true)
    }
}

impl Account {
    pub(super) fn new(
        pieces: &Pieces<'_>,
        reach: Reach,
        (_, secure): Scheme,
    ) -> Result<Self, String> {
        let tls = secure || reach.tls_domain.is_some();
        if !tls && !reach.trust.is_plain() {
            return Err("ca and insecure need rabbitmqs: or tls_domain".to_owned());
        }
        if tls && cfg!(not(feature = "tls")) {
            return Err("TLS is not part of this build".to_owned());
        }
        let (login, place) = match pieces.authority.split_once('@') {
            Some((login, place)) => (Some(Login::read(login)?), place),
            None => (None, pieces.authority),
        };
        Ok(Self {
            at: host(place, port(tls))?,
            login,
            vhost: reach.vhost.unwrap_or_else(|| "/".to_owned()),
            tls,
            trust: reach.trust,
            tls_domain: reach.tls_domain,
        })
    }

    /// Name and password (OpenSIPS: `guest` and `guest` if the socket has no name).
    pub(super) fn credentials(&self) -> (&str, &str) {
        match &self.login {
            Some(login) => (&login.user, &login.password.0),
            None => ("guest", "guest"),
        }
    }

    /// Who connects where, for people. OpenSIPS prints it so, without the password.
    pub(super) fn printed(&self) -> String {
        let mut printed = String::new();
        if let Some(login) = &self.login {
            printed = format!("{}@", login.shown());
        }
        printed + &self.place()
    }

    /// The same for comparing: with what stands for the password and tells nobody what it is.
    pub(super) fn identity(&self, hasher: &RandomState) -> String {
        let mut identity = String::new();
        if let Some(login) = &self.login {
            let mark = hasher.hash_one(&login.password.0);
            identity = format!("{}:{mark:016x}@", login.shown());
        }
        identity + &self.place()
    }

    /// Where it is; the usual port is left out.
    fn place(&self) -> String {
        let at = self.at.to_string();
        let usual = format!(":{}", port(self.tls));
        at.strip_suffix(&usual).unwrap_or(&at).to_owned()
    }

    /// The options, in one order.
    pub(super) fn options(&self) -> Vec<String> {
        let mut options = Vec::new();
        let value = |text: &str| encode(text, &[';', '?']);
        if self.vhost != "/" {
            options.push(format!("vhost={}", value(&self.vhost)));
        }
        if let Some(domain) = &self.tls_domain {
            options.push(format!("tls_domain={}", value(domain)));
        }
        let trust = self.trust.options();
        options.extend(trust.map(|(key, said)| format!("{key}={}", value(said))));
        options
    }
}

impl Login {
    fn read(text: &str) -> Result<Self, String> {
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        let user = decode(user, "user")?;
        if user.is_empty() {
            return Err("no user before the @".to_owned());
        }
        let password = Secret(decode(password, "password")?);
        Ok(Self { user, password })
    }

    fn shown(&self) -> String {
        encode(&self.user, &[':', '@', '/'])
    }
}

/// The usual ports of AMQP 0-9-1, plain and over TLS.
fn port(tls: bool) -> u16 {
    match tls {
        true => 5671,
        false => 5672,
    }
}

/// The errors do not repeat the text: half of it may be a password whose `@` is missing, or has
/// one too many.
fn host(place: &str, usual: u16) -> Result<At, String> {
    const RIGHT: &str = "write host[:port], or user:password@host[:port] with %40 for an @ in \
                         the password";
    let has_port = match place.rfind(']') {
        Some(end) => place[end..].contains(':'),
        None => place.contains(':'),
    };
    let read = match has_port {
        true => host_and_port(place),
        false => host_and_port(&format!("{place}:{usual}")),
    };
    read.map_err(|_| format!("bad host or port; {RIGHT}"))
}

/// A name of something at the broker.
pub(super) fn name(text: &str, what: &str) -> Result<String, String> {
    let name = decode(text, what)?;
    match name.len() > NAME_BYTES {
        true => Err(format!("the {what} is longer than {NAME_BYTES} bytes")),
        false => Ok(name),
    }
}
