//! The socket string of a broker, read and printed.
//!
//! ```text
//! rabbitmq:[user[:password]@]host[:port]/[option[;option…]?]routing_key
//! rabbitmq:[user[:password]@]host[:port]/exchange?routing_key
//! ```

use std::hash::RandomState;

use super::account::{Account, Reach, Scheme, divide, name};
use crate::destination::{Name, WhenFull};
use crate::transport::options::{self, options};
use crate::transport::percent::encode;

/// What the payload is (RFC 8259).
const CONTENT_TYPE: &str = "application/json";

/// What a socket string says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Text {
    pub(super) account: Account,
    /// Where messages go. None is named: the one that finds queues by their names.
    pub(super) exchange: String,
    pub(super) routing_key: String,
    /// Whether messages outlive the broker.
    pub(super) persistent: bool,
    /// Empty for none.
    pub(super) content_type: String,
    pub(super) when_full: WhenFull,
}

/// The options, while they are read.
struct Options {
    reach: Reach,
    exchange: String,
    persistent: bool,
    content_type: String,
    when_full: WhenFull,
}

const RIGHT: &str = "write rabbitmq:user:password@host/exchange=NAME?routing_key";

/// Reads what follows the scheme.
pub(super) fn read(rest: &str, scheme: Scheme, when_full: WhenFull) -> Result<Text, String> {
    let pieces = divide(rest, RIGHT)?;
    let (list, routing_key) = match pieces.tail.split_once('?') {
        Some((list, key)) => (list, key),
        None if pieces.tail.is_empty() => return Err(format!("no routing key; {RIGHT}")),
        None => ("", pieces.tail),
    };
    let mut options = Options {
        reach: Reach::default(),
        exchange: String::new(),
        persistent: false,
        content_type: CONTENT_TYPE.to_owned(),
        when_full,
    };
    if is_exchange(list) {
        options.exchange = name(list, "exchange")?;
    } else {
        options.read(list)?;
    }
    Ok(Text {
        account: Account::new(&pieces, options.reach, scheme)?,
        exchange: options.exchange,
        routing_key: name(routing_key, "routing key")?,
        persistent: options.persistent,
        content_type: options.content_type,
        when_full: options.when_full,
    })
}

/// Whether what stands before the `?` is a name, as in OpenSIPS 1.8 to 3.1.
fn is_exchange(list: &str) -> bool {
    !list.is_empty() && !list.contains(['=', ';']) && list != "persistent"
}

impl Options {
    fn read(&mut self, list: &str) -> Result<(), String> {
        for option in options(list, ';') {
            let (key, value) = option?;
            self.set(key, value.unwrap_or_default(), value.is_some())?;
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: &str, has_value: bool) -> Result<(), String> {
        match (key, value) {
            ("exchange", _) => self.exchange = name(value, "exchange")?,
            ("persistent", _) if has_value => return Err("persistent takes no value".to_owned()),
            ("persistent", _) => self.persistent = true,
            ("content_type", _) => self.content_type = name(value, "content_type")?,
            ("when_full", _) => self.when_full = options::when_full(value)?,
            _ if self.reach.set(key, value)? => {}
            _ => {
                // It is not shown: it may be the rest of a password.
                return Err(format!(
                    "unknown option; known are exchange=NAME, persistent, \
                     content_type=TYPE, when_full=newest, {}",
                    Reach::KNOWN
                ));
            }
        }
        Ok(())
    }
}

impl Text {
    /// What the socket is called. The name that is printed can be written again, but for the
    /// password.
    pub(super) fn name(
        &self,
        (scheme, _): Scheme,
        when_full: WhenFull,
        hasher: &RandomState,
    ) -> Name {
        let tail = self.tail(when_full);
        Name {
            identity: format!("{scheme}:{}/{tail}", self.account.identity(hasher)).into(),
            printed: format!("{scheme}:{}/{tail}", self.account.printed()).into(),
        }
    }

    fn tail(&self, when_full: WhenFull) -> String {
        let value = |text: &str| encode(text, &[';', '?']);
        let key = encode(&self.routing_key, &[]);
        let mut options = Vec::new();
        if !self.exchange.is_empty() {
            options.push(format!("exchange={}", value(&self.exchange)));
        }
        options.extend(self.account.options());
        if self.persistent {
            options.push("persistent".to_owned());
        }
        if self.content_type != CONTENT_TYPE {
            options.push(format!("content_type={}", value(&self.content_type)));
        }
        if self.when_full != when_full {
            options.push(format!("when_full={}", options::word(self.when_full)));
        }
        let exchange = value(&self.exchange);
        match &options[..] {
            [] if !key.is_empty() && !key.contains('?') => key,
            // As OpenSIPS prints it.
            [_] if is_exchange(&exchange) => format!("{exchange}?{key}"),
            _ => format!("{}?{key}", options.join(";")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Scheme = ("rabbitmq", false);

    fn parsed(rest: &str) -> Result<Text, String> {
        read(rest, PLAIN, WhenFull::DropOldest)
    }

    fn name_of(rest: &str, hasher: &RandomState) -> Name {
        let text = parsed(rest).unwrap_or_else(|error| panic!("{rest}: {error}"));
        text.name(PLAIN, WhenFull::DropOldest, hasher)
    }

    fn printed(rest: &str) -> String {
        name_of(rest, &RandomState::new()).printed["rabbitmq:".len()..].to_owned()
    }

    #[test]
    fn sockets_are_read_as_opensips_reads_them() {
        let text = parsed("guest:gu%40est@127.0.0.1:5673/exchange=ev;persistent?pike").unwrap();
        assert_eq!(text.account.credentials(), ("guest", "gu@est"));
        assert_eq!(text.account.at.to_string(), "127.0.0.1:5673");
        assert_eq!((&*text.exchange, &*text.routing_key), ("ev", "pike"));
        assert!(text.persistent && !text.account.tls && text.account.vhost == "/");
        let text = parsed("127.0.0.1/opensips").unwrap();
        assert_eq!(text.account.credentials(), ("guest", "guest"));
        assert_eq!(text.account.at.to_string(), "127.0.0.1:5672");
        assert_eq!((&*text.exchange, &*text.routing_key), ("", "opensips"));
        assert!(!text.persistent && text.content_type == "application/json");
        assert_eq!(parsed("me@h/q").unwrap().account.credentials(), ("me", ""));
        // The text before the first ? is the exchange in 1.8 to 3.1, and options since 3.2.
        for (rest, exchange, key) in [
            ("h/ev?key", "ev", "key"),
            ("h/e%3Fv?k?ey", "e?v", "k?ey"),
            ("h/exchange=ev?", "ev", ""),
            ("h/exchange=a=b;?k", "a=b", "k"),
            ("h/?a?b", "", "a?b"),
            ("h/a/b", "", "a/b"),
            ("h/persistent?", "", ""),
            ("h/vhost=a%2Fb?k%20%C3%A9", "", "k é"),
        ] {
            let text = parsed(rest).unwrap();
            assert_eq!(
                (&*text.exchange, &*text.routing_key),
                (exchange, key),
                "{rest}"
            );
        }
    }

    #[test]
    fn sockets_are_printed_so_that_they_can_be_read_back() {
        for (written, normal) in [
            ("127.0.0.1/opensips", "127.0.0.1/opensips"),
            ("127.0.0.1:5672/q", "127.0.0.1/q"),
            ("[0:0::1]/q", "[::1]/q"),
            ("[::1]:5673/q", "[::1]:5673/q"),
            ("Broker.Example:99/q", "broker.example:99/q"),
            ("h/exchange=ev?k", "h/ev?k"),
            ("h/ev?", "h/ev?"),
            ("h/exchange=persistent?k", "h/exchange=persistent?k"),
            ("h/exchange=a%3Bb?k", "h/a%3Bb?k"),
            ("h/a=b?k", ""),
            ("h/?a?b", "h/?a?b"),
            ("h/persistent;exchange=e?k", "h/exchange=e;persistent?k"),
            ("h/vhost=%2f;when_full=oldest?k", "h/k"),
            (
                "u@h/content_type=;when_full=newest;vhost=a/b?k",
                "u@h/vhost=a/b;content_type=;when_full=newest?k",
            ),
            ("a%3Ab%40@h/a%20%25b", "a%3Ab%40@h/a%20%25b"),
        ] {
            if normal.is_empty() {
                assert!(parsed(written).is_err(), "{written}");
                continue;
            }
            assert_eq!(printed(written), normal);
            assert_eq!(printed(normal), normal);
        }
    }

    #[test]
    fn passwords_tell_sockets_apart_and_show_nowhere() {
        let hasher = RandomState::new();
        let socket = |password: &str| name_of(&format!("me:{password}@h/q"), &hasher);
        let (one, same, other) = (socket("s3cr%65t"), socket("s3cret"), socket("s3creT"));
        assert_eq!(one, same);
        assert_ne!(one.identity, other.identity);
        assert_eq!(&*one.printed, "rabbitmq:me@h/q");
        let text = parsed("me:s3cret@h/q").unwrap();
        for shown in [&*one.identity, &*one.printed, &format!("{text:?}")] {
            assert!(!shown.contains("s3cret"), "{shown}");
        }
    }

    #[test]
    fn bad_sockets_are_refused_with_a_reason_that_keeps_the_secret() {
        let long = format!("h/{}", "k".repeat(256));
        for (bad, reason) in [
            ("", "no / after the host"),
            ("127.0.0.1", "no / after the host"),
            ("127.0.0.1/", "no routing key"),
            ("/q", "bad host or port"),
            ("@h/q", "no user"),
            (":s3cret@h/q", "no user"),
            ("h:0/q", "bad host or port"),
            ("h:65536/q", "bad host or port"),
            ("user:s3cret/q", "bad host or port"),
            ("u:pa/s3cret@h/exchange=e?q", "unknown option; known"),
            (
                "u:pa/s3cret;s3cret=@h/exchange=e?q",
                "unknown option; known",
            ),
            ("u:s3cret@x@h/q", "%40"),
            ("u:s3cret%4@h/q", "bad % in the password"),
            ("u:s3cret%ff@h/q", "the password is not UTF-8"),
            ("::1/q", "bad host or port"),
            ("h/exchange=a;exchange=b?k", "twice"),
            ("h/retries=1?k", "unknown option"),
            ("h/persistent=1?k", "takes no value"),
            ("h/when_full=never?k", "oldest or newest"),
            ("h/ca=/a.pem?k", "need rabbitmqs: or tls_domain"),
            ("h/insecure=2?k", "0 or 1"),
            ("h/tls_domain=?k", "a name"),
            ("h/a\nb", "control character"),
            ("h/a%", "bad % in the routing key"),
            (&long, "longer than 255 bytes"),
        ] {
            let error = parsed(bad).unwrap_err();
            assert!(error.contains(reason), "{bad}: {error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[cfg(feature = "tls")]
    #[test]
    fn tls_is_a_scheme_or_an_option() {
        let secure = ("rabbitmqs", true);
        let text = read("h/ca=/a.pem?k", secure, WhenFull::DropOldest).unwrap();
        assert!(text.account.tls && text.account.trust.ca.as_deref() == Some("/a.pem"));
        assert_eq!(text.account.at.to_string(), "h:5671");
        let name = text.name(secure, WhenFull::DropOldest, &RandomState::new());
        assert_eq!(&*name.printed, "rabbitmqs:h/ca=/a.pem?k");
        let text = parsed("h:5672/tls_domain=dom;insecure=1?k").unwrap();
        assert!(text.account.tls && text.account.trust.insecure);
        assert_eq!(
            printed("h:5671/tls_domain=dom;insecure=1?k"),
            "h/tls_domain=dom;insecure=1?k"
        );
    }
}
