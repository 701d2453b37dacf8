//! Groups: several destinations that subscribed as one (`virtual:`).

use std::sync::Arc;

use super::subscription::State;
use super::table::Target;
use crate::destination::{Format, Manner, Strategy, udp_text};
use crate::stats::{Drops, Tally};
use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::atomic::{AtomicU64, AtomicUsize};
use crate::wire::request::Form;

/// The members of one subscription. The reactor writes what changes, listings read it.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) strategy: Strategy,
    pub(crate) members: Box<[Member]>,
    /// How long a member that failed is left alone.
    hold_ms: u64,
    /// Whose turn it is.
    turn: AtomicUsize,
}

/// One of a group's destinations.
#[derive(Debug)]
pub(crate) struct Member {
    printed: Box<str>,
    /// Never a group.
    pub(crate) target: Target,
    pub(crate) format: Format,
    pub(crate) manner: Manner,
    pub(crate) tally: Tally,
    /// Left alone until then, in milliseconds of the engine's clock.
    held_until_ms: AtomicU64,
}

impl Group {
    pub(super) fn new(strategy: Strategy, members: Vec<Member>, hold_ms: u64) -> Self {
        Self {
            strategy,
            members: members.into(),
            hold_ms,
            turn: AtomicUsize::new(0),
        }
    }

    /// The member who shall have the next event, of those not in `tried` (a bit each).
    pub(crate) fn choose(&self, tried: u32, now_ms: u64) -> Option<usize> {
        let count = self.members.len();
        let first = match self.strategy {
            Strategy::RoundRobin => self.turn.load(Relaxed),
            Strategy::Parallel | Strategy::Failover => 0,
        };
        let chosen = (first..first + count)
            .map(|place| place % count)
            .find(|&place| tried >> place & 1 == 0 && !self.members[place].is_held(now_ms))?;
        self.turn.store((chosen + 1) % count, Relaxed);
        Some(chosen)
    }

    /// Leaves a member alone for a while: it failed.
    pub(crate) fn hold(&self, member: usize, now_ms: u64) {
        self.members[member]
            .held_until_ms
            .store(now_ms + self.hold_ms, Relaxed);
    }

    /// How the group does: well as long as one member does.
    pub(super) fn state(&self, now_ms: u64) -> State {
        let mut down = None;
        for member in &self.members {
            match member.state(now_ms, self.hold_ms) {
                state @ State::Down { .. } => down = Some(state),
                state => return state,
            }
        }
        down.unwrap_or(State::Up)
    }

    pub(super) fn read(&self, now_ms: u64) -> Vec<MemberState> {
        self.members
            .iter()
            .map(|member| member.read(now_ms))
            .collect()
    }
}

impl Member {
    pub(super) fn new(
        name: Option<Box<str>>,
        target: Target,
        format: Format,
        manner: Manner,
    ) -> Self {
        let printed = name
            .or_else(|| Some(udp_text(target.address()?, format).into()))
            .unwrap_or_default();
        Self {
            printed,
            target,
            format,
            manner,
            tally: Tally::default(),
            held_until_ms: AtomicU64::new(0),
        }
    }

    /// The JSON form it wants, if that is one of its own.
    pub(crate) fn form(&self) -> Option<&Arc<Form>> {
        match &self.target {
            Target::Shared(_, form) => form.as_ref(),
            Target::V4 { .. } | Target::V6 { .. } | Target::Group(_) => None,
        }
    }

    fn is_held(&self, now_ms: u64) -> bool {
        now_ms < self.held_until_ms.load(Relaxed)
    }

    fn state(&self, now_ms: u64, hold_ms: u64) -> State {
        let held_since_ms = self.held_until_ms.load(Relaxed).saturating_sub(hold_ms);
        match self.target.state(now_ms) {
            State::Up | State::Blocked if self.is_held(now_ms) => State::Down {
                since_secs: now_ms.saturating_sub(held_since_ms) / 1000,
                error: "it failed, and is left alone for a while".to_owned(),
            },
            state => state,
        }
    }

    fn read(&self, now_ms: u64) -> MemberState {
        let held_ms = self.held_until_ms.load(Relaxed).saturating_sub(now_ms);
        MemberState {
            socket: self.printed.to_string(),
            tried: self.tally.matched.get(),
            delivered: self.tally.delivered.get(),
            failed: self.tally.drops(),
            in_flight: self.tally.in_flight(),
            last_errno: self.tally.last_errno(),
            held_secs: (held_ms > 0).then_some(held_ms.div_ceil(1000) as u32),
            state: self.target.state(now_ms),
        }
    }
}

/// One member of a `virtual:` subscription as it stood when it was asked for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MemberState {
    /// Its socket, printed without secrets.
    pub socket: String,
    /// Events that were tried on it.
    pub tried: u64,
    /// Of those, delivered.
    pub delivered: u64,
    /// Of those, not delivered, by reason. The group may have tried another member then.
    pub failed: Drops,
    /// Of those, waiting.
    pub in_flight: u64,
    /// The errno of the last failure that had one.
    pub last_errno: Option<i32>,
    /// For how many more seconds it is left alone because it failed.
    pub held_secs: Option<u32>,
    /// How its destination does, as of the last attempt.
    pub state: State,
}
