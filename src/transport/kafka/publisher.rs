//! The thread of one client: hands events to librdkafka, and settles them when it reports.
//!
//! librdkafka connects, batches, sends again and keeps the order. What is left to do here is to
//! bound what it holds: while no broker is there nothing is handed over, so that an event that
//! grows too old, or whose subscription ends, is dropped for certain; and after a record timed out
//! they go one by one, until one arrives.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use rdkafka::ClientConfig;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::message::{Header, OwnedHeaders};

use super::client::{Client, News, Refused};
use super::flights::Flights;
use super::grammar::Text;
use super::state::Brokers;
use super::verdict::Verdict;
use crate::event::Value;
use crate::origin::{HEADER, Origin, Origins};
use crate::stats::{Outcome, Reason};
use crate::transport::policy::Gate;
use crate::transport::worker::{Condition, Delivery, Held, Keyed, Nudge, Runs, Work};
use crate::wire::parse;

/// How often what waits is looked through.
const SCAN: Duration = Duration::from_millis(50);
/// How long an event may take that another member of its group would take.
const URGENT: Duration = Duration::from_secs(2);
/// How long after the end of a client another one is made.
const REST: Duration = Duration::from_secs(1);

/// What is to be done with the events of one destination.
#[derive(Debug)]
pub(super) struct Target {
    topic: String,
    /// The parameter whose value is the key.
    key: Option<String>,
}

impl Target {
    pub(super) fn new(text: &Text) -> Self {
        Self {
            topic: text.topic.clone(),
            key: text.key.clone(),
        }
    }

    /// The key of an event: none if it has no such parameter.
    fn key_of(&self, payload: &[u8]) -> Option<Vec<u8>> {
        let notification = parse::jsonrpc(payload).ok()?;
        match notification.get(self.key.as_deref()?)? {
            Value::Null => None,
            Value::Str(text) => Some(text.as_bytes().to_vec()),
            Value::Bytes(bytes) => Some(bytes.to_vec()),
            Value::Int(number) => Some(number.to_string().into_bytes()),
            Value::Uint(number) => Some(number.to_string().into_bytes()),
            Value::Float(number) => Some(number.to_string().into_bytes()),
            Value::Bool(word) => Some(word.to_string().into_bytes()),
        }
    }
}

/// A destination that was served.
#[derive(Debug)]
struct Served {
    condition: Condition,
    target: Arc<Target>,
    is_down: bool,
}

/// Whether events may be handed over.
#[derive(Debug, PartialEq, Eq)]
enum Road {
    Open,
    /// One at a time, until one arrives.
    Narrow,
    /// No broker is there.
    Closed,
    /// A broker is where none may be, under the policy of that number.
    Forbidden(u64),
    /// The client has come to its end; another one is made then.
    Broken(Instant),
}

/// Publishes by one client.
#[derive(Debug)]
pub(super) struct Publisher {
    config: ClientConfig,
    nudge: Nudge,
    origins: Arc<Origins>,
    gate: Arc<Gate>,
    targets: Arc<Keyed<Target>>,
    client: Option<Client>,
    road: Road,
    /// What is not handed over yet, oldest first.
    held: VecDeque<Held>,
    flights: Flights,
    served: HashMap<u32, Served>,
    /// Where the last event came from, as the header says it.
    path: (Origin, Arc<str>),
    /// What went wrong last.
    trouble: String,
    news: News,
    next_scan: Instant,
}

impl Publisher {
    /// Makes the client, which begins to connect.
    pub(super) fn new(
        config: ClientConfig,
        nudge: Nudge,
        origins: &Arc<Origins>,
        gate: &Arc<Gate>,
        targets: &Arc<Keyed<Target>>,
    ) -> Result<Self, String> {
        Ok(Self {
            client: Some(Client::new(&config, nudge.clone())?),
            config,
            nudge,
            origins: Arc::clone(origins),
            gate: Arc::clone(gate),
            targets: Arc::clone(targets),
            road: Road::Open,
            held: VecDeque::new(),
            flights: Flights::default(),
            served: HashMap::new(),
            path: (Origin::HERE, origins.header(Origin::HERE)),
            trouble: String::new(),
            news: News::default(),
            next_scan: Instant::now(),
        })
    }

    /// Knows the destination of an item from now on.
    fn learn(&mut self, taken: &Held) -> bool {
        let destination = taken.destination();
        let known = self.served.get(&destination.id);
        if known.is_some_and(|known| known.condition.is_of(destination)) {
            return true;
        }
        self.served.retain(|_, served| !served.condition.is_over());
        let Some(target) = self.targets.find(&destination.key) else {
            return false;
        };
        let served = Served {
            condition: taken.condition(),
            target,
            is_down: false,
        };
        self.served.insert(destination.id, served);
        true
    }

    /// Reads what the client has told.
    fn read(&mut self, runs: &mut Runs) {
        let Some(client) = &self.client else {
            return;
        };
        let mut news = std::mem::take(&mut self.news);
        client.news(&mut news);
        let mut again = Vec::new();
        for (number, result) in news.reports.drain(..) {
            let Some((order, taken)) = self.flights.end(number) else {
                continue;
            };
            match result {
                Ok(()) => self.arrived(taken, runs),
                Err(code) => match Verdict::of(code) {
                    Verdict::Again => again.push((order, taken)),
                    verdict => self.failed(taken, code, verdict, runs),
                },
            }
        }
        let is_over = !again.is_empty();
        for (code, reason) in news.errors.drain(..) {
            self.err(code, reason);
        }
        if let Some(brokers) = news.brokers.take() {
            self.look_at(&brokers);
        }
        self.news = news;
        if is_over && !matches!(self.road, Road::Broken(_) | Road::Forbidden(_)) {
            self.end_client(Road::Broken(Instant::now() + REST));
        }
        self.take_back(again);
    }

    fn arrived(&mut self, taken: Held, runs: &mut Runs) {
        if matches!(self.road, Road::Narrow | Road::Closed) {
            self.road = Road::Open;
        }
        if let Some(served) = self.served.get_mut(&taken.destination().id)
            && std::mem::take(&mut served.is_down)
        {
            served.condition.up();
        }
        runs.settle(taken, Outcome::Delivered);
    }

    fn failed(&mut self, taken: Held, code: Code, verdict: Verdict, runs: &mut Runs) {
        if code == Code::MessageTimedOut && self.road == Road::Open {
            self.road = Road::Narrow;
        }
        if let Some(served) = self.served.get_mut(&taken.destination().id) {
            let text = match (code, &*self.trouble) {
                (Code::MessageTimedOut, trouble) if !trouble.is_empty() => trouble.to_owned(),
                _ => format!("topic {:?}: {code}", served.target.topic),
            };
            match verdict {
                Verdict::Down(_) => {
                    served.is_down = true;
                    served.condition.down(&text);
                }
                _ => served.condition.note(&text),
            }
        }
        runs.settle(taken, verdict.outcome());
    }

    /// An error of the client or of a broker.
    fn err(&mut self, code: Code, reason: String) {
        match code {
            Code::AllBrokersDown => {
                if matches!(self.road, Road::Open | Road::Narrow) {
                    self.road = Road::Closed;
                }
                if self.trouble.is_empty() {
                    self.trouble = reason;
                }
                self.all_down();
            }
            Code::Fatal => {
                self.trouble = reason;
                self.all_down();
                self.end_client(Road::Broken(Instant::now() + REST));
            }
            _ => {
                self.trouble = reason;
                for served in self.served.values() {
                    served.condition.note(&self.trouble);
                }
                if self.road == Road::Closed {
                    self.all_down();
                }
            }
        }
    }

    fn all_down(&mut self) {
        for served in self.served.values_mut() {
            served.is_down = true;
            served.condition.down(&self.trouble);
        }
    }

    /// How the brokers do, and where they are: librdkafka goes where they say.
    fn look_at(&mut self, brokers: &Brokers) {
        let (policy, version) = (self.gate.current(), self.gate.version());
        let places = brokers.places.iter();
        let forbidden = places
            .filter_map(|place| place.parse::<SocketAddr>().ok())
            .find_map(|address| policy.check(address).err());
        if let Some(why) = forbidden {
            self.trouble = format!("a broker of this cluster is not to be used: {why}");
            self.all_down();
            return self.end_client(Road::Forbidden(version));
        }
        if brokers.any_up && self.road == Road::Closed {
            self.road = Road::Open;
            self.trouble.clear();
            for served in self.served.values_mut() {
                served.is_down = false;
                served.condition.up();
            }
        }
    }

    /// Lets the client go; what it had is to be done by another one.
    fn end_client(&mut self, road: Road) {
        self.road = road;
        self.client = None;
        let flights = self.flights.clear();
        self.take_back(flights);
    }

    fn take_back(&mut self, mut flights: Vec<(u64, Held)>) {
        flights.sort_by_key(|(order, _)| *order);
        for (_, taken) in flights.into_iter().rev() {
            self.held.push_front(taken);
        }
    }

    /// Makes another client, if it is time.
    fn mend(&mut self, now: Instant) {
        let is_time = match self.road {
            Road::Broken(until) => now >= until,
            Road::Forbidden(version) => version != self.gate.version(),
            _ => false,
        };
        if !is_time {
            return;
        }
        match Client::new(&self.config, self.nudge.clone()) {
            Ok(client) => {
                self.client = Some(client);
                self.road = Road::Open;
            }
            Err(error) => {
                self.trouble = error;
                self.all_down();
                self.road = Road::Broken(now + REST);
            }
        }
    }

    /// Drops what has waited too long, whose subscription ended, or who has somewhere else to go.
    fn scan(&mut self, now: Instant, runs: &mut Runs) {
        let road = &self.road;
        let outcome = |taken: &Held| {
            let reason = if taken.is_withdrawn() || taken.not_after() <= now {
                Reason::Expired
            } else if matches!(road, Road::Forbidden(_)) {
                Reason::Policy
            } else if taken.is_urgent() && *road != Road::Open {
                Reason::Unreachable
            } else {
                return None;
            };
            Some(Outcome::Dropped(reason, 0))
        };
        if self.held.iter().any(|taken| outcome(taken).is_some()) {
            for taken in std::mem::take(&mut self.held) {
                match outcome(&taken) {
                    Some(outcome) => runs.settle(taken, outcome),
                    None => self.held.push_back(taken),
                }
            }
        }
        // What stays for longer does not keep its block of the raiser's arena.
        self.held.iter_mut().for_each(Held::settle_in);
        self.flights.settle_in(now);
        let is_closed = self.road == Road::Closed;
        // What librdkafka has may still arrive: it cannot be called back one by one.
        self.flights.give_up(
            |taken, _| taken.is_withdrawn(),
            |taken| runs.settle(taken, Outcome::Dropped(Reason::Expired, 0)),
        );
        self.flights.give_up(
            |taken, since| taken.is_urgent() && (is_closed || now >= since + URGENT),
            |taken| runs.settle(taken, Outcome::Dropped(Reason::Unanswered, 0)),
        );
    }

    /// Hands over what may go.
    fn pump(&mut self, now: Instant, runs: &mut Runs) {
        while let Some(origin) = self.held.front().map(Held::origin) {
            self.know_path(origin);
            let Some(taken) = self.held.front() else {
                return;
            };
            let may_go = match self.road {
                Road::Open => true,
                Road::Narrow => self.flights.is_empty(),
                Road::Closed | Road::Forbidden(_) | Road::Broken(_) => false,
            };
            let is_late = taken.is_withdrawn() || taken.not_after() <= now;
            if !may_go && !is_late {
                return;
            }
            let sent = match is_late {
                true => Err(Refused::Late),
                false => self.send(taken),
            };
            if sent == Err(Refused::Full) {
                return;
            }
            let Some(taken) = self.held.pop_front() else {
                return;
            };
            match sent {
                Ok(()) => self.flights.add(taken, now),
                Err(Refused::Error(code)) => match Verdict::of(code) {
                    Verdict::Again => {
                        self.held.push_front(taken);
                        return self.end_client(Road::Broken(now + REST));
                    }
                    verdict => self.failed(taken, code, verdict, runs),
                },
                Err(Refused::Late | Refused::Full) => {
                    runs.settle(taken, Outcome::Dropped(Reason::Expired, 0));
                }
            }
        }
    }

    fn send(&self, taken: &Held) -> Result<(), Refused> {
        let (Some(client), Some(served)) = (&self.client, self.served.get(&taken.destination().id))
        else {
            return Err(Refused::Full);
        };
        let Target { topic, key } = &*served.target;
        let payload = taken.payload();
        let key = key.as_ref().and_then(|_| served.target.key_of(payload));
        let headers = self.headers();
        client.send(topic, key.as_deref(), payload, headers, self.flights.next())
    }

    /// Has the header ready for an event that came from there.
    fn know_path(&mut self, origin: Origin) {
        if self.path.0 != origin {
            self.path = (origin, self.origins.header(origin));
        }
    }

    /// Which nodes the event passed.
    fn headers(&self) -> OwnedHeaders {
        OwnedHeaders::new_with_capacity(1).insert(Header {
            key: HEADER,
            value: Some(&*self.path.1),
        })
    }
}

impl Work for Publisher {
    fn deliver(&mut self, delivery: &mut Delivery<'_>) {
        while let Some(taken) = delivery.take_first() {
            // One that nobody knows any more counts as dropped.
            if self.learn(&taken) {
                self.held.push_back(taken);
            }
        }
    }

    fn tick(&mut self) {
        let mut runs = Runs::default();
        self.read(&mut runs);
        let now = Instant::now();
        self.mend(now);
        if now >= self.next_scan || self.road != Road::Open {
            self.scan(now, &mut runs);
            self.next_scan = now + SCAN;
        }
        self.pump(now, &mut runs);
    }

    fn deadline(&self) -> Option<Instant> {
        let is_idle = self.held.is_empty() && self.flights.is_empty();
        let is_whole = self.client.is_some();
        (!is_idle || !is_whole).then_some(self.next_scan)
    }
}
