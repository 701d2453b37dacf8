//! The event that everybody raises: three parameters, as a proxy would.

use bellwire::Params;
use serde::Serialize;

/// Its name.
pub(crate) const NAME: &str = "E_PIKE_BLOCKED";

const IP: &str = "192.168.2.11";
const PORT: i64 = 5060;
const METHOD: &str = "INVITE";

/// The three parameters.
#[inline]
pub(crate) fn three(params: &mut Params<'_>) {
    params.str("ip", IP).int("port", PORT).str("method", METHOD);
}

/// The three parameters and a time stamp before them.
#[inline]
pub(crate) fn stamped(params: &mut Params<'_>, now_ns: u64) {
    params.uint("t", now_ns);
    three(params);
}

/// The same notification for serde_json, as a competent user declares it.
#[derive(Debug, Serialize)]
pub(crate) struct Notification<'a> {
    jsonrpc: &'a str,
    method: &'a str,
    params: Three<'a>,
}

#[derive(Debug, Serialize)]
struct Three<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    t: Option<u64>,
    ip: &'a str,
    port: i64,
    method: &'a str,
}

impl Notification<'static> {
    /// What [`three`] writes.
    pub(crate) fn three() -> Self {
        Self::with_stamp(None)
    }

    /// What [`stamped`] writes.
    pub(crate) fn stamped(now_ns: u64) -> Self {
        Self::with_stamp(Some(now_ns))
    }

    fn with_stamp(t: Option<u64>) -> Self {
        Self {
            jsonrpc: "2.0",
            method: NAME,
            params: Three {
                t,
                ip: IP,
                port: PORT,
                method: METHOD,
            },
        }
    }

    /// Its bytes.
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("memory does not fail")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bellwire::event::EventName;
    use bellwire::wire::jsonrpc;
    use bytes::BytesMut;

    /// The same work: subject and yardsticks send the same bytes.
    #[test]
    fn both_write_the_same_bytes() {
        let prefix = jsonrpc::prefix(&EventName::new(NAME).expect("a valid name"));
        let mut ours = BytesMut::new();
        let length = jsonrpc::encode(&mut ours, &prefix, three);
        assert_eq!(ours[..length], Notification::three().to_vec());
        let length = jsonrpc::encode(&mut ours, &prefix, |params| stamped(params, 12_345));
        assert_eq!(ours[..length], Notification::stamped(12_345).to_vec());
    }
}
