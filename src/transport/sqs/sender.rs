//! The task of one queue: gathers events into requests, and settles each by its entry's word.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_sqs::Client;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::batch::{self, BYTES, MESSAGES, Message, Verdict};
use super::client;
use super::grammar::Text;
use crate::origin::Origins;
use crate::stats::{Outcome, Reason};
use crate::transport::policy::Gate;
use crate::transport::resolve::Lookups;
use crate::transport::runtime::{Stopping, guarded};
use crate::transport::socket::At;
use crate::transport::tcp::retry::Retry;
use crate::transport::worker::{Arrivals, Condition, Held};

/// Requests under way to a queue that does not keep the order.
const REQUESTS: usize = 4;
/// Events that wait here at most, beside those under way.
const WAITING: usize = 64;
/// Longest pause between two attempts.
const LONGEST: Duration = Duration::from_secs(30);

/// What a sender needs to know.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) text: Text,
    pub(super) gate: Arc<Gate>,
    pub(super) lookups: Lookups,
    pub(super) origins: Arc<Origins>,
    pub(super) seed: u64,
}

/// An event, and the number by which a FIFO queue knows it again.
#[derive(Debug)]
struct Event {
    held: Held,
    number: u64,
    /// Its message group there.
    group: Option<String>,
}

/// The events of a request, and what became of each.
type Sent = Vec<(Event, Verdict)>;

/// Sends to one queue.
#[derive(Debug)]
pub(super) struct Sender {
    queue: Queue,
    arrivals: Arrivals,
    waiting: VecDeque<Event>,
    numbers: u64,
    /// Most events of one request.
    most: usize,
    under_way: JoinSet<Sent>,
    retry: Retry,
    /// Nothing is sent before.
    not_before: Option<Instant>,
    /// How each destination does: there is one.
    condition: Option<Condition>,
}

impl Sender {
    pub(super) fn new(queue: Queue, arrivals: Arrivals) -> Self {
        Self {
            retry: Retry::new(LONGEST, queue.seed),
            queue,
            arrivals,
            waiting: VecDeque::new(),
            numbers: 0,
            most: MESSAGES,
            under_way: JoinSet::new(),
            not_before: None,
            condition: None,
        }
    }

    /// Sends until nobody can subscribe to it any more, or the engine stops.
    pub(super) async fn run(mut self, mut stopping: Stopping) {
        loop {
            let work = guarded("a sender to SQS", self.work());
            tokio::select! {
                () = stopping.begun() => return,
                ended = work => if ended.is_ok() { return },
            }
            // What it had is settled by being dropped; it begins again with what comes.
            self.waiting.clear();
            self.under_way = JoinSet::new();
        }
    }

    async fn work(&mut self) {
        let settings = client::settings(&self.queue.text).await;
        let mut made = None;
        let nudged = self.arrivals.nudged();
        let mut is_over = false;
        while !(is_over && self.waiting.is_empty() && self.under_way.is_empty()) {
            self.drop_late();
            let client = self.client(&mut made, &settings);
            self.send(&client);
            let until = self.deadline();
            tokio::select! {
                held = self.arrivals.next(), if !is_over && self.waiting.len() < WAITING => {
                    match held {
                        Some(held) => self.take(held),
                        None => is_over = true,
                    }
                }
                Some(sent) = self.under_way.join_next(), if !self.under_way.is_empty() => {
                    // One that panicked has settled its events.
                    self.settle(sent.unwrap_or_default());
                }
                () = nudged.notified() => {}
                () = tokio::time::sleep_until(until.unwrap_or_else(Instant::now)),
                    if until.is_some() => {}
            }
        }
    }

    /// The client that was made, or another one if the policy has changed since: connections that
    /// stand are not asked about.
    fn client(&self, made: &mut Option<(u64, Client)>, settings: &SdkConfig) -> Client {
        let version = self.queue.gate.version();
        let known = made.take().filter(|(known, _)| *known == version);
        let make = || {
            let Queue {
                text,
                gate,
                lookups,
                ..
            } = &self.queue;
            (version, client::make(settings, text, gate, lookups))
        };
        made.insert(known.unwrap_or_else(make)).1.clone()
    }

    /// Takes one event, and what came with it.
    fn take(&mut self, held: Held) {
        self.add(held);
        while self.waiting.len() < WAITING
            && let Some(held) = self.arrivals.try_next()
        {
            self.add(held);
        }
    }

    fn add(&mut self, held: Held) {
        self.condition = Some(held.condition());
        self.numbers += 1;
        let text = &self.queue.text;
        let group = || batch::group_of(held.payload(), text.group.as_deref());
        self.waiting.push_back(Event {
            group: text.is_fifo().then(group),
            held,
            number: self.numbers,
        });
    }

    /// When something is to be done without being asked.
    fn deadline(&self) -> Option<Instant> {
        let late = self
            .waiting
            .iter()
            .map(|event| event.held.not_after().into());
        // Once that has passed, what keeps us is a request, whose end is waited for anyway.
        let again = self.not_before.filter(|until| *until > Instant::now());
        let again = again.filter(|_| !self.waiting.is_empty());
        late.min().into_iter().chain(again).min()
    }

    /// Drops what has waited too long, whose subscription ended, or who has somewhere else to go.
    fn drop_late(&mut self) {
        let now = Instant::now();
        let is_down = self.not_before.is_some_and(|until| until > now);
        for event in std::mem::take(&mut self.waiting) {
            let held = &event.held;
            let reason = if held.is_withdrawn() || Instant::from(held.not_after()) <= now {
                Reason::Expired
            } else if is_down && held.is_urgent() {
                Reason::Unreachable
            } else {
                self.waiting.push_back(event);
                continue;
            };
            event.held.settle(Outcome::Dropped(reason, 0));
        }
    }

    /// Makes as many requests as may be under way.
    fn send(&mut self, client: &Client) {
        if self.not_before.is_some_and(|until| until > Instant::now()) {
            return;
        }
        // After a failure they go one by one, until one arrives; and always where order matters.
        let is_single = self.not_before.is_some() || self.queue.text.is_fifo();
        let most = if is_single { 1 } else { REQUESTS };
        while !self.waiting.is_empty() && self.under_way.len() < most {
            if let Err(why) = self.check_policy() {
                if let Some(condition) = &self.condition {
                    condition.down(&why);
                }
                for event in self.waiting.drain(..) {
                    event.held.settle(Outcome::Dropped(Reason::Policy, 0));
                }
                return;
            }
            self.request(client);
        }
    }

    /// The policy may have changed. Names are asked about when they are looked up.
    fn check_policy(&self) -> Result<(), String> {
        match self.queue.text.at {
            At::Address(address) => self.queue.gate.current().check(address),
            At::Host { .. } => Ok(()),
        }
    }

    /// Makes one request of the oldest.
    fn request(&mut self, client: &Client) {
        let (mut events, mut entries, mut bytes) = (Vec::new(), Vec::new(), 0);
        let (mut groups, mut left) = (HashSet::new(), Vec::new());
        while entries.len() < self.most
            && let Some(event) = self.waiting.pop_front()
        {
            // If one failed, a later one of its group must not have come before it.
            if event
                .group
                .as_ref()
                .is_some_and(|group| !groups.insert(group.clone()))
            {
                left.push(event);
                continue;
            }
            let path = self.queue.origins.header(event.held.origin());
            let size = batch::size(event.held.payload(), &path);
            if !entries.is_empty() && bytes + size > BYTES {
                left.push(event);
                break;
            }
            let unique = format!("{:016x}-{}", self.queue.seed, event.number);
            let message = Message {
                payload: event.held.payload(),
                path: &path,
                fifo: event.group.as_deref().map(|group| (group, &*unique)),
            };
            match message.entry(entries.len()) {
                Some(entry) => {
                    bytes += size;
                    entries.push(entry);
                    events.push(event);
                }
                None => event.held.settle(Outcome::Dropped(Reason::Other, 0)),
            }
        }
        for event in left.into_iter().rev() {
            self.waiting.push_front(event);
        }
        let request = client.send_message_batch();
        let request = request
            .queue_url(&self.queue.text.url)
            .set_entries(Some(entries));
        self.under_way.spawn(async move {
            let verdicts = match request.send().await {
                Ok(answer) => batch::verdicts(&answer, events.len()),
                Err(error) => vec![batch::failed(&error); events.len()],
            };
            events.into_iter().zip(verdicts).collect()
        });
    }

    /// Settles what came to an end; the rest is sent again, in its order.
    fn settle(&mut self, sent: Sent) {
        let (mut trouble, mut arrived) = (None, false);
        let mut again = Vec::new();
        let count = sent.len();
        for (event, verdict) in sent {
            match &verdict {
                Verdict::Delivered => arrived = true,
                Verdict::Smaller(..) if count > 1 => {
                    self.most = count / 2;
                    again.push(event);
                    continue;
                }
                Verdict::Rejected(_, why) | Verdict::Smaller(_, why) => {
                    arrived = true;
                    event.held.condition().note(why);
                }
                Verdict::Down(_, why) => trouble = Some(why.clone()),
                Verdict::Again(_, why) => {
                    trouble = Some(why.clone());
                    if !event.held.is_urgent() {
                        again.push(event);
                        continue;
                    }
                }
            }
            event.held.settle(verdict.outcome());
        }
        if arrived {
            self.most = MESSAGES.min(self.most * 2);
        }
        self.judge(trouble, arrived);
        for event in again.into_iter().rev() {
            self.waiting.push_front(event);
        }
        // Requests may end in another order than they began.
        self.waiting
            .make_contiguous()
            .sort_by_key(|event| event.number);
    }

    /// Says how the queue does, and when to go on.
    fn judge(&mut self, trouble: Option<String>, arrived: bool) {
        let Some(condition) = &self.condition else {
            return;
        };
        match trouble {
            Some(why) => {
                condition.down(&why);
                self.not_before = Some(Instant::now() + self.retry.pause());
            }
            None if arrived => {
                condition.up();
                self.retry.reset();
                self.not_before = None;
            }
            None => {}
        }
    }
}
