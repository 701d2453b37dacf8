//! The task of one socket: publishes its events, and settles them as the broker confirms them.
//!
//! What the broker confirmed was delivered; what came back, because no queue takes it, was not.
//! What was under way when the connection broke is sent again, in order, before what came later:
//! an event arrives at least once while it waits, and twice only if its confirmation was lost.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use tokio::sync::watch;

use super::Brokers;
use super::entry::{Entry, Stage, settle};
use super::failure::Failure;
use super::flight::{Fate, Flight, Target};
use super::grammar::Text;
use super::link::{Link, Now, until};
use crate::origin::{HEADER, Origin};
use crate::stats::{Outcome, Reason};
use crate::transport::runtime::{Stopping, guarded};
use crate::transport::tcp::retry::Retry;
use crate::transport::worker::{Arrivals, Condition, Held, Runs};

/// AMQP's number for messages that outlive the broker.
const PERSISTENT: u8 = 2;

/// Publishes the events of one socket.
pub(super) struct Publisher {
    brokers: Arc<Brokers>,
    link: Arc<Link>,
    now: watch::Receiver<Now>,
    arrivals: Arrivals,
    target: Target,
    properties: BasicProperties,
    /// The same with the path of the last origin.
    marked: Option<(Origin, BasicProperties)>,
    /// In the order they came; None for what was settled before an older one.
    entries: VecDeque<Option<Entry>>,
    /// The number of the first entry.
    first: u64,
    /// That of the first that may wait to be sent.
    unsent: u64,
    /// How many cannot wait.
    urgent: usize,
    /// Whether something has happened beyond that events come and go.
    look: bool,
    /// What the identities of our messages begin with.
    run: u64,
    flight: Option<Flight>,
    /// When something was confirmed last, or something began to wait for that.
    heard: Instant,
    /// Up to that number they go one by one: one of them is to blame for the end of a channel.
    alone_until: u64,
    /// Why our channel was closed, and when to open another.
    trouble: Option<(Failure, Instant)>,
    retry: Retry,
    /// How the destination of the last event is told how it does.
    condition: Option<Condition>,
}

impl Publisher {
    pub(super) fn new(
        text: &Text,
        brokers: &Arc<Brokers>,
        link: &Arc<Link>,
        arrivals: Arrivals,
    ) -> Self {
        let mut properties = BasicProperties::default();
        if text.persistent {
            properties = properties.with_delivery_mode(PERSISTENT);
        }
        if !text.content_type.is_empty() {
            properties = properties.with_content_type(text.content_type.as_str().into());
        }
        Self {
            now: link.watch(),
            link: Arc::clone(link),
            arrivals,
            target: Target {
                exchange: text.exchange.as_str().into(),
                routing_key: text.routing_key.as_str().into(),
            },
            properties,
            marked: None,
            entries: VecDeque::new(),
            first: 0,
            unsent: 0,
            urgent: 0,
            look: true,
            run: Retry::new(Duration::ZERO, brokers.seed()).random(),
            flight: None,
            heard: Instant::now(),
            alone_until: 0,
            trouble: None,
            retry: Retry::new(brokers.settings.retry_time, brokers.seed()),
            condition: None,
            brokers: Arc::clone(brokers),
        }
    }

    /// Works until the socket has no subscription any more, or the engine stops.
    pub(super) async fn run(mut self, mut stopping: Stopping) {
        loop {
            let work = guarded("a publisher to RabbitMQ", self.publish());
            tokio::select! {
                () = stopping.begun() => return,
                ended = work => if ended.is_ok() { return },
            }
            self.begin_again();
        }
    }

    /// Settles what there is by dropping it, and goes on with what comes.
    fn begin_again(&mut self) {
        self.first += self.entries.len() as u64;
        self.entries.clear();
        self.urgent = 0;
        self.ground();
        self.look = true;
    }

    async fn publish(&mut self) {
        loop {
            while let Some(held) = self.arrivals.try_next() {
                self.take(held);
            }
            if std::mem::take(&mut self.look) {
                self.look_at_link();
                self.sort_out();
            }
            if !self.open().await {
                // The link has changed since.
                continue;
            }
            self.send().await;
            if !self.wait().await {
                return;
            }
        }
    }

    fn take(&mut self, held: Held) {
        if !matches!(&self.condition, Some(known) if known.is_of(held.destination())) {
            self.condition = Some(held.condition());
            self.link.want();
            self.look = true;
        }
        self.urgent += usize::from(held.is_urgent());
        // Where nothing is published, it may be over with it at once.
        let is_up = self.flight.is_some() && matches!(&*self.now.borrow(), Now::Up(_));
        self.look |= !is_up;
        self.entries.push_back(Some(Entry {
            held,
            stage: Stage::Waiting,
            was_sent: false,
        }));
    }

    /// Tells how the destination does, as far as the link says it.
    fn look_at_link(&mut self) {
        let now = self.now.borrow_and_update().clone();
        if !matches!(now, Now::Up(_)) {
            self.heard = Instant::now();
        }
        if !matches!(now, Now::Up(_) | Now::Blocked(..)) {
            self.ground();
            // It is the link's trouble from now on; another connection may fare better.
            self.trouble = None;
        }
        let Some(condition) = &self.condition else {
            return;
        };
        match &now {
            Now::Down(failure) => condition.down(failure.why()),
            Now::Blocked(_, why) => condition.blocked(why),
            Now::Up(_) => match &self.trouble {
                Some((failure, _)) => condition.down(failure.why()),
                None => condition.up(),
            },
            Now::Idle => {}
        }
    }

    /// What was under way is no more.
    fn ground(&mut self) {
        self.flight = None;
        self.unsent = self.first;
        for entry in self.entries.iter_mut().flatten() {
            entry.stage = Stage::Waiting;
        }
    }

    /// Gives up what cannot wait any longer.
    fn sort_out(&mut self) {
        let now = Instant::now();
        let obstacle = self.obstacle();
        let patience = self.brokers.settings.command_time;
        let mut runs = Runs::default();
        for place in &mut self.entries {
            let given_up = |entry: &Entry| entry.given_up(now, obstacle.as_ref(), patience);
            if let Some(outcome) = place.as_ref().and_then(given_up) {
                self.urgent -= settle(place, outcome, &mut runs);
            }
        }
        self.forget();
        if self.mute_at().is_some_and(|then| then <= now) {
            let why = "the broker confirms nothing";
            self.fail(Failure::new(Reason::Unreachable, why));
        }
    }

    /// When to give up a channel on which nothing is confirmed any more.
    fn mute_at(&self) -> Option<Instant> {
        let is_up = matches!(&*self.now.borrow(), Now::Up(_));
        let flight = self
            .flight
            .as_ref()
            .filter(|flight| is_up && flight.len() > 0);
        let (age, patience) = (self.brokers.limits.age, self.brokers.settings.command_time);
        flight.and_then(|_| self.heard.checked_add(age.max(patience)))
    }

    /// Lets go of the settled ones before the first that is not.
    fn forget(&mut self) {
        while let Some(None) = self.entries.front() {
            self.entries.pop_front();
            self.first += 1;
        }
    }

    /// What keeps us from publishing, if something is known to.
    fn obstacle(&self) -> Option<Failure> {
        match &*self.now.borrow() {
            Now::Down(failure) => Some(failure.clone()),
            Now::Blocked(_, why) => Some(Failure::new(Reason::WouldBlockTimeout, &**why)),
            // After the pause the next event tries it, whoever else would take that.
            Now::Up(_) => {
                let trouble = self.trouble.as_ref();
                let trouble = trouble.filter(|(_, until)| *until > Instant::now());
                trouble.map(|(failure, _)| failure.clone())
            }
            Now::Idle => None,
        }
    }

    /// Opens a channel if there is something to publish and none is open. False if it has to be
    /// tried again at once.
    async fn open(&mut self) -> bool {
        let is_due = self
            .trouble
            .as_ref()
            .is_none_or(|(_, until)| *until <= Instant::now());
        let has_work = || self.entries.iter().flatten().any(Entry::is_waiting);
        if self.flight.is_some() || !is_due || !has_work() {
            return true;
        }
        let Now::Up(live) = self.now.borrow().clone() else {
            return true;
        };
        let opened = tokio::select! {
            opened = live.channel(&self.brokers.settings) => opened,
            // The connection is not what it was: nobody may answer any more.
            _ = self.now.changed() => {
                self.look = true;
                return false;
            }
        };
        match opened {
            Ok(channel) => self.flight = Some(Flight::new(channel, self.run)),
            Err(failure) => self.fail(failure),
        }
        true
    }

    fn fail(&mut self, failure: Failure) {
        self.ground();
        if let Some(condition) = &self.condition {
            condition.down(failure.why());
        }
        self.trouble = Some((failure, Instant::now() + self.retry.pause()));
        self.look = true;
    }

    /// Hands what waits to the channel, as far as the window allows.
    async fn send(&mut self) {
        if !matches!(&*self.now.borrow(), Now::Up(_)) {
            return;
        }
        let Some(mut flight) = self.flight.take() else {
            return;
        };
        let begin = self.unsent.saturating_sub(self.first) as usize;
        for index in begin..self.entries.len() {
            let number = self.first + index as u64;
            let most = match number < self.alone_until {
                true => 1,
                false => self.brokers.settings.window,
            };
            if flight.len() >= most {
                break;
            }
            if flight.len() == 0 {
                self.heard = Instant::now();
            }
            self.unsent = self.first + index as u64 + 1;
            let Some(entry) = self.entries[index].as_mut().filter(|one| one.is_waiting()) else {
                continue;
            };
            entry.stage = Stage::Sent(Instant::now());
            entry.was_sent = true;
            let (payload, origin) = (entry.held.payload().clone(), entry.held.origin());
            let properties = self.properties_for(origin);
            flight
                .publish(number, &self.target, payload, properties)
                .await;
        }
        self.flight = Some(flight);
    }

    fn properties_for(&mut self, origin: Origin) -> BasicProperties {
        if let Some((known, properties)) = &self.marked
            && *known == origin
        {
            return properties.clone();
        }
        let path = self.brokers.origins.header(origin);
        let mut headers = FieldTable::default();
        headers.insert(HEADER.into(), AMQPValue::LongString((*path).into()));
        let properties = self.properties.clone().with_headers(headers);
        self.marked = Some((origin, properties.clone()));
        properties
    }

    /// Waits until there is something to do. False when nothing will come any more.
    async fn wait(&mut self) -> bool {
        let (due, nudged) = (self.due(), self.arrivals.nudged());
        let landed = async {
            match &mut self.flight {
                Some(flight) => flight.land().await,
                None => std::future::pending().await,
            }
        };
        let landed = tokio::select! {
            held = self.arrivals.next() => {
                let Some(held) = held else { return false };
                self.take(held);
                return true;
            }
            changed = self.now.changed() => {
                self.look = true;
                return changed.is_ok();
            }
            () = nudged.notified() => {
                self.look = true;
                return true;
            }
            () = until(due) => {
                self.look = true;
                return true;
            }
            landed = landed => landed,
        };
        self.land(landed);
        true
    }

    /// When something has to be given up, or to be tried again.
    fn due(&self) -> Option<Instant> {
        let patience = self.brokers.settings.command_time;
        let mut entries = self.entries.iter().flatten();
        let first = match self.urgent {
            // They came in the order in which they grow too old.
            0 => entries.next().map(|entry| entry.due(patience)),
            _ => entries.map(|entry| entry.due(patience)).min(),
        };
        let retry = self.trouble.as_ref().map(|(_, until)| *until);
        // Without a link there is nothing to try.
        let can_try = self.flight.is_none() && matches!(&*self.now.borrow(), Now::Up(_));
        let retry = retry.filter(|_| can_try && !self.entries.is_empty());
        let mute = self.mute_at();
        first.into_iter().chain(retry).chain(mute).min()
    }

    /// Messages have landed.
    fn land(&mut self, landed: Vec<(u64, Fate)>) {
        let mut runs = Runs::default();
        let (mut lost, mut losses, mut went_well, mut note) = (None, 0, false, None);
        for (number, fate) in landed {
            let outcome = match fate {
                Fate::Confirmed => Outcome::Delivered,
                Fate::Returned => {
                    note = Some("no queue takes messages of this routing key");
                    Outcome::Dropped(Reason::Unroutable, 0)
                }
                Fate::Rejected => {
                    note = Some("the broker rejected a message");
                    Outcome::Dropped(Reason::Rejected, 0)
                }
                Fate::Lost(failure) => {
                    lost = Some((number, failure));
                    losses += 1;
                    continue;
                }
            };
            went_well = true;
            // What was given up meanwhile is settled otherwise.
            self.settle(number, outcome, &mut runs);
        }
        if let Some((number, failure)) = &lost
            && failure.blames_a_message()
        {
            match losses == 1 && self.flight.as_ref().is_none_or(|flight| flight.len() == 0) {
                true => self.settle(*number, Outcome::Dropped(Reason::TooBig, 0), &mut runs),
                false => self.alone_until = self.unsent,
            }
        }
        drop(runs);
        self.forget();
        if went_well {
            self.heard = Instant::now();
            self.link.did_well();
            self.retry.reset();
            self.trouble = None;
        }
        if let Some(condition) = &self.condition {
            note.inspect(|note| condition.note(note));
            if went_well {
                condition.up();
            }
        }
        // With one, the others of its channel are lost as well.
        if let Some((_, failure)) = lost {
            self.fail(failure);
        }
    }

    /// Settles the event of that number, if that was not done before.
    fn settle(&mut self, number: u64, outcome: Outcome, runs: &mut Runs) {
        let index = number.checked_sub(self.first).map(|index| index as usize);
        if let Some(place) = index.and_then(|index| self.entries.get_mut(index)) {
            self.urgent -= settle(place, outcome, runs);
        }
    }
}
