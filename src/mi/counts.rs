//! What became of one subscription's events, as `evi:subscriptions` tells it.

use std::borrow::Cow;

use serde::Serialize;
use serde::ser::Serializer;

use crate::registry::MemberState;
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
    /// Of a group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    members: Vec<Member>,
}

/// The same of a member of a group.
#[derive(Serialize)]
struct Member {
    socket: String,
    #[serde(flatten)]
    counts: Counts,
    /// For how many more seconds it gets nothing, because it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<u32>,
}

impl Member {
    fn of(member: &MemberState) -> Self {
        let counts = Counts {
            matched: member.tried,
            delivered: member.delivered,
            dropped: member.failed,
            in_flight: member.in_flight,
            errno: member.last_errno,
            error: None,
            state: told(&member.state),
            members: Vec::new(),
        };
        Self {
            socket: member.socket.clone(),
            counts,
            held: member.held_secs,
        }
    }
}

fn told(state: &State) -> Cow<'static, str> {
    match state {
        State::Up => Cow::Borrowed("up"),
        State::Blocked => Cow::Borrowed("blocked"),
        State::Down { since_secs, error } => {
            Cow::Owned(format!("down for {since_secs} s: {error}"))
        }
    }
}

impl Counts {
    pub(super) fn of(subscription: &Subscription) -> Self {
        Self {
            matched: subscription.matched,
            delivered: subscription.delivered,
            dropped: subscription.dropped,
            in_flight: subscription.in_flight,
            errno: subscription.last_errno,
            error: subscription.last_error.clone(),
            state: told(&subscription.state),
            members: subscription.members.iter().map(Member::of).collect(),
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

    fn told_of(state: State) -> Counts {
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
            state,
            members: Vec::new(),
        })
    }

    #[test]
    fn the_members_of_a_group_are_told_beneath_it() {
        let mut group = told_of(State::Up);
        group.members.push(Member::of(&MemberState {
            socket: "udp:127.0.0.1:9".into(),
            tried: 4,
            delivered: 3,
            failed: Drops::default(),
            in_flight: 1,
            last_errno: Some(111),
            held_secs: Some(7),
            state: State::Up,
        }));
        let json = serde_json::to_value(&group).unwrap();
        let member = serde_json::json!({
            "socket": "udp:127.0.0.1:9", "matched": 4, "delivered": 3, "dropped": {},
            "in_flight": 1, "errno": 111, "state": "up", "held": 7,
        });
        assert_eq!(json["members"], serde_json::json!([member]));
    }

    #[test]
    fn counts_are_told_in_both_forms() {
        let json = r#"{"matched":3,"delivered":2,"dropped":{},"in_flight":1,"state":"up"}"#;
        assert_eq!(serde_json::to_string(&told_of(State::Up)).unwrap(), json);
        let mut text = String::new();
        told_of(State::Blocked).write_text(&mut text);
        assert_eq!(
            text,
            " matched=3 delivered=2 dropped=0 in_flight=1 state=blocked"
        );
        let down = told_of(State::Down {
            since_secs: 5,
            error: "no such file".into(),
        });
        assert_eq!(down.state, "down for 5 s: no such file");
    }
}
