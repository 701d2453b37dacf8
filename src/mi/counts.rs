//! What became of one subscription's events, as `evi:subscriptions` tells it.

use std::borrow::Cow;

use serde::Serialize;
use serde::ser::Serializer;

use crate::registry::State;
use crate::registry::Subscription;
use crate::stats::Drops;
use crate::stats::Reason;

/// The counters of one subscription, and how its destination does.
#[derive(Serialize)]
pub(super) struct Counts {
    matched: u64,
    delivered: u64,
    #[serde(serialize_with = "by_reason")]
    dropped: Drops,
    in_flight: u64,
    /// The errno of the last drop that had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    errno: Option<i32>,
    /// The last error of its destination that no errno says.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    state: Cow<'static, str>,
}

impl Counts {
    pub(super) fn of(subscription: &Subscription) -> Self {
        let state = match &subscription.state {
            State::Up => Cow::Borrowed("up"),
            State::Blocked => Cow::Borrowed("blocked"),
            State::Down { since_secs, error } => {
                Cow::Owned(format!("down for {since_secs} s: {error}"))
            }
        };
        Self {
            matched: subscription.matched,
            delivered: subscription.delivered,
            dropped: subscription.dropped,
            in_flight: subscription.in_flight,
            errno: subscription.last_errno,
            error: subscription.last_error.clone(),
            state,
        }
    }

    /// The attributes of the 1.x text. The state comes last: it can hold blanks.
    pub(super) fn write_text(&self, out: &mut String) {
        let Self {
            matched,
            delivered,
            dropped,
            in_flight,
            state,
            ..
        } = self;
        let dropped = dropped.total();
        out.push_str(&format!(
            " matched={matched} delivered={delivered} dropped={dropped} in_flight={in_flight} \
             state={state}"
        ));
    }
}

/// The reasons that there were, each with its count.
fn by_reason<S: Serializer>(dropped: &Drops, serializer: S) -> Result<S::Ok, S::Error> {
    let reasons = Reason::ALL
        .into_iter()
        .filter(|reason| dropped.of(*reason) > 0);
    serializer.collect_map(reasons.map(|reason| (reason.name(), dropped.of(reason))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Expire;

    fn told(state: State) -> Counts {
        Counts::of(&Subscription {
            event: "E_X".into(),
            event_id: 0,
            socket: "udp:127.0.0.1:9".into(),
            expire: Expire::Never,
            ttl_secs: None,
            matched: 3,
            delivered: 2,
            dropped: Drops::default(),
            in_flight: 1,
            last_errno: None,
            last_error: None,
            members: Vec::new(),
            state,
        })
    }

    #[test]
    fn counts_are_told_in_both_forms() {
        let json = r#"{"matched":3,"delivered":2,"dropped":{},"in_flight":1,"state":"up"}"#;
        assert_eq!(serde_json::to_string(&told(State::Up)).unwrap(), json);
        let mut text = String::new();
        told(State::Blocked).write_text(&mut text);
        assert_eq!(
            text,
            " matched=3 delivered=2 dropped=0 in_flight=1 state=blocked"
        );
        let down = told(State::Down {
            since_secs: 5,
            error: "no such file".into(),
        });
        assert_eq!(down.state, "down for 5 s: no such file");
    }
}
