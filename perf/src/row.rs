//! The targets: the rows of the table, and whether they are met.

use serde::{Deserialize, Serialize};

use crate::interval::Interval;

/// A row of the table of targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    Unheard,
    Heard,
    Subscribers,
    Saturated,
    TwoThreads,
    EndToEnd,
    ManyDestinations,
    OneDestination,
    Unix,
    FanOut,
    Memory,
    Subscribe,
    Batch,
    Churn,
    Overload,
    Idle,
    Kafka,
    DeadBroker,
    Broker,
    Peers,
}

impl Row {
    /// All rows, in the order of the table.
    pub(crate) const ALL: [Self; 20] = [
        Self::Unheard,
        Self::Heard,
        Self::Subscribers,
        Self::Saturated,
        Self::TwoThreads,
        Self::EndToEnd,
        Self::ManyDestinations,
        Self::OneDestination,
        Self::Unix,
        Self::FanOut,
        Self::Memory,
        Self::Subscribe,
        Self::Batch,
        Self::Churn,
        Self::Overload,
        Self::Idle,
        Self::Kafka,
        Self::DeadBroker,
        Self::Broker,
        Self::Peers,
    ];

    /// What is measured, and what must come out.
    pub(crate) fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::Unheard => (
                "raise, nobody listens",
                "<= 2 x a relaxed load and branch; no atomic read-modify-write, no allocation",
            ),
            Self::Heard => (
                "raise, 1 UDP subscriber, 3 parameters, caller's side",
                "<= 1/20 of one send of the same payload; <= 0.8 x (snapshot load + serde_json \
                 encode + queue push); 0 allocations, 0 locks",
            ),
            Self::Subscribers => (
                "raise with 64 and with 10,000 subscribers / with 1",
                "<= 1.10, <= 1.15",
            ),
            Self::Saturated => (
                "raise p99.9 with a saturated reactor",
                "<= 1.5 x the bare queue's own p99.9",
            ),
            Self::TwoThreads => (
                "two raising threads / one, unheard and heard",
                ">= 0.95 and >= 0.80 of twice",
            ),
            Self::EndToEnd => (
                "end to end, 1 UDP subscriber, idle",
                "p50 <= 1.25 x (half a two-thread UDP ping-pong + an eventfd wake), p99 <= 1.5 x",
            ),
            Self::ManyDestinations => (
                "datagrams/s per core, many destinations",
                ">= 0.95 x a bare sendmmsg loop over the same destinations",
            ),
            Self::OneDestination => (
                "datagrams/s, one destination, equal sizes",
                ">= 0.9 x a bare GSO loop (and so >= 2 x a bare send loop)",
            ),
            Self::Unix => (
                "UNIX datagrams/s to a reading receiver",
                ">= 0.9 x a bare connected send loop, nothing lost within the backlog",
            ),
            Self::FanOut => (
                "cost per delivered datagram, 1 ... 100,000 subscribers",
                "max/min <= 1.3",
            ),
            Self::Memory => ("memory per UDP subscription at 1 M", "<= 112 bytes"),
            Self::Subscribe => ("one subscribe at 100,000 / at 100", "<= 4 x"),
            Self::Batch => (
                "100,000 subscriptions in one batch",
                "<= 3 x filling a HashMap and a Vec",
            ),
            Self::Churn => ("raise p99 during 10,000 changes/s", "<= 1.5 x quiet"),
            Self::Overload => (
                "overload 10 x",
                "goodput >= 0.9 of the maximum, counters exact, back to normal within 1 s",
            ),
            Self::Idle => ("idle", "0 wake-ups a second with no timer due"),
            Self::Kafka => (
                "confirmed Kafka records/s",
                ">= 0.9 x a bare rdkafka producer with the same settings",
            ),
            Self::DeadBroker => (
                "a broker that is dead: raise p99, UDP latency, memory",
                "<= 1.1 x without it; no growth beyond its bound",
            ),
            Self::Broker => (
                "RabbitMQ",
                "confirmed >= 0.9 x lapin alone; while it is not there, raise p99 and UDP latency \
                 <= 1.1 x without it, and no more memory than its queue",
            ),
            Self::Peers => (
                "against each peer, same delivered work",
                "caller's cost per raise and CPU per delivered datagram both lower than every \
                 peer's",
            ),
        }
    }
}

/// Which side of the limit is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Bound {
    AtMost,
    AtLeast,
    /// Less than, not equal.
    Below,
}

/// One measured part of a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) what: String,
    pub(crate) value: Interval,
    pub(crate) bound: Bound,
    pub(crate) limit: f64,
}

impl Part {
    pub(crate) fn at_most(what: impl Into<String>, value: Interval, limit: f64) -> Self {
        Self::new(what, value, Bound::AtMost, limit)
    }

    pub(crate) fn at_least(what: impl Into<String>, value: Interval, limit: f64) -> Self {
        Self::new(what, value, Bound::AtLeast, limit)
    }

    pub(crate) fn below(what: impl Into<String>, value: Interval, limit: f64) -> Self {
        Self::new(what, value, Bound::Below, limit)
    }

    fn new(what: impl Into<String>, value: Interval, bound: Bound, limit: f64) -> Self {
        Self {
            what: what.into(),
            value,
            bound,
            limit,
        }
    }

    /// Judged by the median. NaN meets nothing.
    pub(crate) fn is_met(&self) -> bool {
        self.holds(self.value.median)
    }

    /// Whether the interval lies on both sides of the limit.
    fn is_close(&self) -> bool {
        self.holds(self.value.low) != self.holds(self.value.high)
    }

    fn holds(&self, value: f64) -> bool {
        match self.bound {
            Bound::AtMost => value <= self.limit,
            Bound::AtLeast => value >= self.limit,
            Bound::Below => value < self.limit,
        }
    }
}

/// A row with its verdict, as the report has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) figure: String,
    pub(crate) target: String,
    pub(crate) met: bool,
    /// Whether another run could well judge otherwise.
    pub(crate) close: bool,
    pub(crate) parts: Vec<Part>,
}

impl Target {
    /// The row's verdict on its parts. Without parts it was not measured, and is not met.
    pub(crate) fn judge(row: Row, parts: Vec<Part>) -> Self {
        let (name, target) = row.texts();
        let figures: Vec<String> = parts.iter().map(figure).collect();
        Self {
            name: name.to_owned(),
            figure: match figures.is_empty() {
                true => "not measured".to_owned(),
                false => figures.join("; "),
            },
            target: target.to_owned(),
            met: !parts.is_empty() && parts.iter().all(Part::is_met),
            // One part that is far off settles it.
            close: !parts.is_empty()
                && match parts.iter().all(Part::is_met) {
                    true => parts.iter().any(Part::is_close),
                    false => parts.iter().all(|part| part.is_met() || part.is_close()),
                },
            parts,
        }
    }
}

fn figure(part: &Part) -> String {
    let Interval { median, low, high } = part.value;
    let range = match low == high {
        true => String::new(),
        false => format!(" [{}, {}]", brief(low), brief(high)),
    };
    format!("{} {}{range}", part.what, brief(median))
}

/// A number to three digits.
pub(crate) fn brief(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 1000.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(low: f64, median: f64, high: f64) -> Interval {
        Interval { median, low, high }
    }

    #[test]
    fn a_row_is_met_if_all_its_parts_are() {
        let good = Part::at_most("a", interval(0.8, 0.9, 1.0), 1.0);
        let bad = Part::at_least("b", Interval::exact(0.9), 0.95);
        assert!(Target::judge(Row::Unix, vec![good.clone()]).met);
        let both = Target::judge(Row::Unix, vec![good, bad]);
        assert!(!both.met && !both.close, "0.9 is clearly less than 0.95");
        assert_eq!(both.figure, "a 0.900 [0.800, 1]; b 0.900");
    }

    #[test]
    fn what_was_not_measured_is_not_met() {
        let target = Target::judge(Row::Idle, Vec::new());
        assert!(!target.met);
        assert_eq!(target.figure, "not measured");
        let nothing = Part::at_most("a", Interval::exact(f64::NAN), 1.0);
        assert!(!Target::judge(Row::Idle, vec![nothing]).met);
    }

    #[test]
    fn an_interval_across_the_limit_is_close() {
        assert!(Part::at_most("a", interval(0.9, 0.95, 1.1), 1.0).is_close());
        assert!(!Part::at_most("a", interval(0.8, 0.85, 0.9), 1.0).is_close());
        assert!(!Part::below("a", Interval::exact(1.0), 1.0).is_met());
    }

    #[test]
    fn a_row_is_close_only_if_no_part_is_clearly_missed() {
        let close = Part::at_most("a", interval(0.9, 1.05, 1.1), 1.0);
        let clear = Part::at_most("b", interval(4.0, 4.1, 4.2), 1.0);
        let held = Part::at_most("c", interval(0.9, 0.95, 1.1), 1.0);
        assert!(Target::judge(Row::Idle, vec![close.clone(), held.clone()]).close);
        assert!(Target::judge(Row::Idle, vec![held.clone()]).close);
        let missed = Target::judge(Row::Idle, vec![close, clear, held]);
        assert!(!missed.met && !missed.close);
    }

    #[test]
    fn every_row_is_listed_once() {
        for (index, row) in Row::ALL.iter().enumerate() {
            assert_eq!(Row::ALL.iter().position(|other| other == row), Some(index));
        }
    }
}
