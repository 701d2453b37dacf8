//! The socket string of an SQS queue, read and printed.
//!
//! ```text
//! sqs:https://sqs.eu-west-1.amazonaws.com/123456789012/name[?option=value[&option=value…]]
//! ```

use crate::destination::{Name, WhenFull};
use crate::transport::options::{self, options};
use crate::transport::socket::{At, host_and_port};

/// Longest name of a queue.
const NAME_BYTES: usize = 80;

/// What a socket string says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text {
    /// The URL of the queue, as the service knows it.
    pub(super) url: String,
    /// Where its host is.
    pub(super) at: At,
    pub(super) region: Option<String>,
    /// The parameter whose value is the group of a message, in a FIFO queue.
    pub(super) group: Option<String>,
    pub(super) when_full: WhenFull,
}

/// Reads what follows the scheme.
pub(super) fn read(rest: &str, when_full: WhenFull) -> Result<Text, String> {
    let (url, given) = rest.split_once('?').unwrap_or((rest, ""));
    let mut text = Text {
        url: url.to_owned(),
        at: place(url)?,
        region: None,
        group: None,
        when_full,
    };
    for option in options(given, '&') {
        let (key, value) = option?;
        text.set(key, value.unwrap_or_default())?;
    }
    if text.group.is_some() && !text.is_fifo() {
        return Err("option group is for queues whose names end in .fifo".to_owned());
    }
    Ok(text)
}

/// The host of a queue's URL. An error does not show it: there may be a password in it.
fn place(url: &str) -> Result<At, String> {
    const RIGHT: &str = "write sqs:https://host/account/queue";
    let (port, rest) = match url.split_once("://") {
        Some(("https", rest)) => (443, rest),
        Some(("http", rest)) => (80, rest),
        _ => return Err(format!("no URL; {RIGHT}")),
    };
    let Some((host, path)) = rest.split_once('/') else {
        return Err(format!("no queue; {RIGHT}"));
    };
    if host.contains('@') {
        return Err("the credentials of SQS do not stand in the URL".to_owned());
    }
    let name = path.rsplit('/').next().unwrap_or_default();
    let stem = name.strip_suffix(".fifo").unwrap_or(name);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if stem.is_empty() || name.len() > NAME_BYTES || !stem.chars().all(is_plain) {
        return Err(format!(
            "{name:?} is no name of a queue: 1 to {NAME_BYTES} letters, digits, '-' and '_', \
             and .fifo at the end of some"
        ));
    }
    let is_path = |c: char| c.is_ascii_graphic() && !"\"<>\\^`{|}#%".contains(c);
    if !path.chars().all(is_path) {
        return Err("the path of the URL holds what it cannot".to_owned());
    }
    let has_port = match host.rsplit_once(']') {
        Some((_, rest)) => rest.starts_with(':'),
        None => host.contains(':'),
    };
    match has_port {
        true => host_and_port(host),
        false => host_and_port(&format!("{host}:{port}")),
    }
}

impl Text {
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let is_region = |c: char| c.is_ascii_alphanumeric() || c == '-';
        match (key, value) {
            ("region", region) if !region.is_empty() && region.chars().all(is_region) => {
                self.region = Some(region.to_owned());
            }
            ("region", _) => return Err("option region must be one, as eu-west-1".to_owned()),
            ("group", "") => return Err("option group must name a parameter".to_owned()),
            ("group", name) => self.group = Some(name.to_owned()),
            ("when_full", _) => self.when_full = options::when_full(value)?,
            _ => {
                return Err(format!(
                    "unknown option {key:?}; known are region=REGION, group=PARAMETER, \
                     when_full=newest"
                ));
            }
        }
        Ok(())
    }

    /// Whether the queue keeps the order and refuses what comes twice.
    pub(super) fn is_fifo(&self) -> bool {
        self.url.ends_with(".fifo")
    }

    /// The URL without its path.
    pub(super) fn endpoint(&self) -> &str {
        let host = self.url.find("://").map_or(0, |at| at + 3);
        let end = self.url[host..]
            .find('/')
            .map_or(self.url.len(), |at| host + at);
        &self.url[..end]
    }

    /// The region: the option, or what the host says (`sqs.<region>.` or `<region>.queue.`).
    pub(super) fn region(&self) -> Option<&str> {
        if let Some(region) = &self.region {
            return Some(region);
        }
        let At::Host { host, .. } = &self.at else {
            return None;
        };
        let labels: Vec<&str> = host.split('.').collect();
        match labels[..] {
            ["sqs" | "sqs-fips", region, "amazonaws" | "api", ..] => Some(region),
            [region, "queue", "amazonaws", ..] => Some(region),
            _ => None,
        }
    }

    /// What the socket is called.
    pub(super) fn name(&self, when_full: WhenFull) -> Name {
        let mut options = Vec::new();
        if let Some(region) = &self.region {
            options.push(format!("region={region}"));
        }
        if let Some(group) = &self.group {
            options.push(format!("group={group}"));
        }
        if self.when_full != when_full {
            options.push(format!("when_full={}", options::word(self.when_full)));
        }
        let mark = if options.is_empty() { "" } else { "?" };
        Name::plain(format!("sqs:{}{mark}{}", self.url, options.join("&")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(rest: &str) -> Result<Text, String> {
        read(rest, WhenFull::DropOldest)
    }

    #[test]
    fn sockets_are_printed_so_that_they_can_be_read_back() {
        for normal in [
            "https://sqs.us-east-1.amazonaws.com/123456789012/q",
            "http://127.0.0.1:5000/123456789012/q.fifo?group=callid",
            "http://[::1]:5000/1/q?region=eu-west-1&when_full=newest",
        ] {
            let text = parsed(normal).unwrap_or_else(|error| panic!("{normal}: {error}"));
            assert_eq!(
                *text.name(WhenFull::DropOldest).printed,
                format!("sqs:{normal}")
            );
        }
        let text = parsed("http://h/1/q?when_full=newest&region=x").unwrap();
        let name = text.name(WhenFull::DropOldest);
        assert_eq!(&*name.printed, "sqs:http://h/1/q?region=x&when_full=newest");
    }

    #[test]
    fn a_url_tells_the_endpoint_and_mostly_the_region() {
        for (url, endpoint, region) in [
            (
                "https://sqs.us-east-1.amazonaws.com/1/q",
                "https://sqs.us-east-1.amazonaws.com",
                Some("us-east-1"),
            ),
            (
                "https://eu-west-1.queue.amazonaws.com/1/q",
                "https://eu-west-1.queue.amazonaws.com",
                Some("eu-west-1"),
            ),
            ("http://127.0.0.1:9/1/q", "http://127.0.0.1:9", None),
            ("http://h/1/q?region=a-b", "http://h", Some("a-b")),
        ] {
            let text = parsed(url).unwrap();
            assert_eq!(
                (text.endpoint(), text.region()),
                (endpoint, region),
                "{url}"
            );
        }
        let port = |url| parsed(url).unwrap().at.to_string();
        assert_eq!(port("https://h/1/q"), "h:443");
        assert_eq!(port("http://[::1]/1/q"), "[::1]:80");
    }

    #[test]
    fn bad_sockets_are_refused_with_a_reason() {
        for (bad, reason) in [
            ("", "no URL"),
            ("queue", "no URL"),
            ("ftp://h/1/q", "no URL"),
            ("https://h", "no queue"),
            ("https://h/", "no name of a queue"),
            ("https://h/1/a b", "no name of a queue"),
            ("https://h/1/q.fifoo", "no name of a queue"),
            ("https://h/{}/q", "holds what it cannot"),
            ("https://u:p@h/1/q", "do not stand in the URL"),
            ("http://h:0/1/q", "bad port"),
            ("http://127.1/1/q", "four decimal numbers"),
            ("http://h/1/q?group=a", "end in .fifo"),
            ("http://h/1/q.fifo?group=", "must name a parameter"),
            ("http://h/1/q?region=", "must be one"),
            ("http://h/1/q?when_full=x", "oldest or newest"),
            ("http://h/1/q?delay=3", "unknown option"),
            ("http://h/1/q?region=a&region=b", "twice"),
        ] {
            let error = parsed(bad).unwrap_err();
            assert!(error.contains(reason), "{bad}: {error}");
        }
    }
}
