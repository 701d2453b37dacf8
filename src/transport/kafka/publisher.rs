//! The thread of one client: hands events to librdkafka, and settles them when it reports.
//!
//! librdkafka connects, batches, sends again and keeps the order. What is left to do here is to
//! bound what it holds: while no broker is there nothing is handed over, so that an event that
//! grows too old, or whose subscription ends, is dropped for certain; and after a record timed out
//! those of its destination go one by one, until one arrives.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use rdkafka::ClientConfig;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::message::{Header, OwnedHeaders};

use super::client::{Client, News, Refused};
use super::flights::{Ended, Flights};
use super::names::Names;
use super::served::{Served, Target};
use super::state::Brokers;
use super::verdict::Verdict;
use crate::origin::{HEADER, Origin, Origins};
use crate::stats::{Outcome, Reason};
use crate::transport::policy::Gate;
use crate::transport::resolve::Lookups;
use crate::transport::worker::{Delivery, Held, Keyed, Nudge, Runs, Work};

/// How often what waits is looked through.
const SCAN: Duration = Duration::from_millis(50);
/// How long an event may take that another member of its group would take.
const URGENT: Duration = Duration::from_secs(2);
/// How long after the end of a client another one is made.
const REST: Duration = Duration::from_secs(1);
/// The same where the policy ended it: perhaps the broker that was not allowed is gone.
const LONG_REST: Duration = Duration::from_secs(300);

/// Whether events may be handed over.
#[derive(Debug, PartialEq, Eq)]
enum Road {
    Open,
    /// No broker is there.
    Closed,
    /// A broker is where none may be, under the policy of that number. Another client looks again
    /// then.
    Forbidden(u64, Instant),
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
    names: Names,
    targets: Arc<Keyed<Target>>,
    client: Option<Client>,
    road: Road,
    /// What is not handed over yet, oldest first.
    held: VecDeque<Held>,
    /// What came before all of that, and waits for another of its destination.
    parked: VecDeque<Held>,
    flights: Flights,
    served: HashMap<u32, Served>,
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
        lookups: &Lookups,
        targets: &Arc<Keyed<Target>>,
    ) -> Result<Self, String> {
        Ok(Self {
            client: Some(Client::new(&config, nudge.clone())?),
            config,
            nudge,
            origins: Arc::clone(origins),
            gate: Arc::clone(gate),
            names: Names::new(lookups),
            targets: Arc::clone(targets),
            road: Road::Open,
            held: VecDeque::new(),
            parked: VecDeque::new(),
            flights: Flights::default(),
            served: HashMap::new(),
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
            narrow: None,
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
            let Some(ended) = self.flights.end(number) else {
                continue;
            };
            match result {
                Ok(()) => self.arrived(ended, runs),
                Err(code) => match (Verdict::of(code), ended.held) {
                    (Verdict::Again, Some(taken)) => again.push((ended.order, taken)),
                    (Verdict::Again, None) => {}
                    (verdict, taken) => {
                        self.failed(ended.destination, code, verdict);
                        taken
                            .into_iter()
                            .for_each(|taken| runs.settle(taken, verdict.outcome()));
                    }
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
        if is_over && !matches!(self.road, Road::Broken(_) | Road::Forbidden(..)) {
            self.end_client(Road::Broken(Instant::now() + REST));
        }
        self.take_back(again);
    }

    /// A record has arrived, if also after its event was given up.
    fn arrived(&mut self, ended: Ended, runs: &mut Runs) {
        if self.road == Road::Closed {
            self.road = Road::Open;
        }
        if let Some(served) = self.served.get_mut(&ended.destination) {
            if std::mem::take(&mut served.is_down) {
                served.condition.up();
            }
            if served.narrow.take().is_some() {
                self.unpark();
            }
        }
        if let Some(taken) = ended.held {
            runs.settle(taken, Outcome::Delivered);
        }
    }

    fn failed(&mut self, destination: u32, code: Code, verdict: Verdict) {
        let mut is_next = false;
        if let Some(served) = self.served.get_mut(&destination) {
            // The next may go.
            is_next = served.narrow.is_some();
            if code == Code::MessageTimedOut {
                served.narrow = Some(Instant::now() + URGENT);
            }
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
        if is_next {
            self.unpark();
        }
    }

    /// An error of the client or of a broker.
    fn err(&mut self, code: Code, reason: String) {
        match code {
            Code::AllBrokersDown => {
                if self.road == Road::Open {
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
        let now = Instant::now();
        let addresses = self.names.addresses(&brokers.places, now);
        if let Err(why) = policy.check_all(&addresses) {
            self.trouble = format!("a broker of this cluster is not to be used: {why}");
            self.all_down();
            return self.end_client(Road::Forbidden(version, now + LONG_REST));
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

    /// Has what waited for others of its destination looked at again.
    fn unpark(&mut self) {
        while let Some(taken) = self.parked.pop_back() {
            self.held.push_front(taken);
        }
    }

    fn take_back(&mut self, mut flights: Vec<(u64, Held)>) {
        if flights.is_empty() {
            return;
        }
        self.unpark();
        flights.sort_by_key(|(order, _)| *order);
        for (_, taken) in flights.into_iter().rev() {
            self.held.push_front(taken);
        }
    }

    /// Makes another client, if it is time.
    fn mend(&mut self, now: Instant) {
        let is_time = match self.road {
            Road::Broken(until) => now >= until,
            Road::Forbidden(version, until) => version != self.gate.version() || now >= until,
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
        self.unpark();
        let road = &self.road;
        let (served, flights) = (&self.served, &self.flights);
        let is_kept = |taken: &Held| {
            let id = taken.destination().id;
            let narrow = served.get(&id).and_then(|served| served.narrow);
            narrow.is_some_and(|until| until > now || flights.has_any_of(id))
        };
        let outcome = |taken: &Held| {
            let reason = if taken.is_withdrawn() || taken.not_after() <= now {
                Reason::Expired
            } else if matches!(road, Road::Forbidden(..)) {
                Reason::Policy
            } else if taken.is_urgent() && (*road != Road::Open || is_kept(taken)) {
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
            |taken, _| taken.is_withdrawn() || taken.not_after() <= now,
            |taken| runs.settle(taken, Outcome::Dropped(Reason::Expired, 0)),
        );
        self.flights.give_up(
            |taken, since| taken.is_urgent() && (is_closed || now >= since + URGENT),
            |taken| runs.settle(taken, Outcome::Dropped(Reason::Unanswered, 0)),
        );
    }

    /// Hands over what may go.
    fn pump(&mut self, now: Instant, runs: &mut Runs) {
        while let Some(taken) = self.held.front() {
            let is_late = taken.is_withdrawn() || taken.not_after() <= now;
            if !is_late && self.road != Road::Open {
                return;
            }
            let must_wait = !is_late && self.must_wait(taken, now);
            let sent = match (is_late, must_wait) {
                (true, _) => Err(Refused::Late),
                (false, true) => Ok(()),
                (false, false) => self.send(taken),
            };
            if sent == Err(Refused::Full) {
                return;
            }
            let Some(taken) = self.held.pop_front() else {
                return;
            };
            match sent {
                Ok(()) if must_wait => self.parked.push_back(taken),
                Ok(()) => self.keep(taken, now),
                Err(Refused::Error(code)) => match Verdict::of(code) {
                    Verdict::Again => {
                        self.held.push_front(taken);
                        return self.end_client(Road::Broken(now + REST));
                    }
                    verdict => {
                        self.failed(taken.destination().id, code, verdict);
                        runs.settle(taken, verdict.outcome());
                    }
                },
                Err(Refused::Late | Refused::Full) => {
                    runs.settle(taken, Outcome::Dropped(Reason::Expired, 0));
                }
            }
        }
    }

    /// Whether it goes after another of its destination, which is on its way and may not arrive.
    fn must_wait(&self, taken: &Held, now: Instant) -> bool {
        let id = taken.destination().id;
        let narrow = self.served.get(&id).and_then(|served| served.narrow);
        narrow
            .is_some_and(|until| self.flights.has_any_of(id) || (taken.is_urgent() && until > now))
    }

    /// Keeps what was handed over.
    fn keep(&mut self, taken: Held, now: Instant) {
        if let Some(served) = self.served.get_mut(&taken.destination().id)
            && let Some(until) = &mut served.narrow
        {
            *until = now + URGENT;
        }
        self.flights.add(taken, now);
    }

    fn send(&self, taken: &Held) -> Result<(), Refused> {
        let (Some(client), Some(served)) = (&self.client, self.served.get(&taken.destination().id))
        else {
            return Err(Refused::Full);
        };
        let Target { topic, key } = &*served.target;
        let payload = taken.payload();
        let key = key.as_ref().and_then(|_| served.target.key_of(payload));
        let headers = self.headers(taken.origin());
        client.send(topic, key.as_deref(), payload, headers, self.flights.next())
    }

    /// Which nodes the event passed.
    fn headers(&self, origin: Origin) -> OwnedHeaders {
        OwnedHeaders::new_with_capacity(1).insert(Header {
            key: HEADER,
            value: Some(&*self.origins.header(origin)),
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
        let is_idle = self.held.is_empty() && self.parked.is_empty() && self.flights.is_empty();
        let is_whole = self.client.is_some();
        (!is_idle || !is_whole).then_some(self.next_scan)
    }
}
