//! The fan-out: a batch of events to all their subscriptions.
//!
//! Events of one kind that follow each other are taken together and walked subscription by
//! subscription, so that what goes to one destination lies in a row and leaves in few system
//! calls. Each subscription still gets them in the order raised.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use super::forms::Forms;
use super::groups::{Groups, Senders};
use super::outlets::Outlets;
use super::shared::Raise;
use crate::destination::{Context, Parcel};
use crate::limits::{SEND_BATCH, TURN_MATCHES};
use crate::registry::{EventCell, Member, Record, Registry, Table, Target};
use crate::stats::{Page, Reason, Ticket};
use crate::transport::udp::{Letter, Udp};

/// Everything that sends.
#[derive(Debug)]
pub(super) struct Fanout {
    pub(super) udp: Udp,
    pub(super) outlets: Outlets,
    pub(super) groups: Groups,
    /// The events, as of the last look.
    pub(super) cells: Arc<Vec<Arc<EventCell>>>,
}

/// Events of one kind that follow each other, and who hears them.
struct Run {
    items: Range<usize>,
    event: u32,
    table: Arc<Table>,
}

impl Fanout {
    /// Sends the first events of the batch: as many as make one turn's work. Says how many.
    pub(super) fn run(&mut self, batch: &[Raise], registry: &Registry, cx: &Context<'_>) -> usize {
        let runs = self.runs(batch, registry);
        let Some(served) = runs.last().map(|run| run.items.end) else {
            return 0;
        };
        let forms = Forms::new(&batch[..served]);
        let mut letters: SmallVec<[Letter<'_>; SEND_BATCH]> = SmallVec::new();
        for run in &runs {
            let cell = &self.cells[run.event as usize];
            for chunk in run.table.chunks() {
                for record in &chunk.records {
                    let subscription = Subscriber {
                        record,
                        page: &chunk.page,
                        cell,
                    };
                    let items = run.items.clone();
                    match &record.target {
                        Target::Shared(..) => {
                            subscription.hand_over(items, &forms, &mut self.outlets, cx);
                        }
                        Target::Group(group) => {
                            let mut senders = Senders {
                                udp: &mut self.udp,
                                outlets: &mut self.outlets,
                            };
                            for item in items {
                                let shape = |member: &Member| {
                                    forms.shaped(item, member.format, member.form())
                                };
                                self.groups.deliver(
                                    group,
                                    subscription.ticket(),
                                    forms.event(item),
                                    shape,
                                    &mut senders,
                                    cx,
                                );
                            }
                        }
                        Target::V4 { .. } | Target::V6 { .. } => {
                            subscription.post(items, &forms, &mut letters, &mut self.udp, cx);
                        }
                    }
                }
            }
        }
        self.udp.send(&letters, cx);
        // Last, so that who reads the counters can tell when all matches have been counted.
        for run in &runs {
            let cell = &self.cells[run.event as usize];
            cell.totals.fanned_out.add(run.items.len() as u64);
        }
        served
    }

    /// Passes on what members of groups gave back, until none does.
    pub(super) fn pass_on(&mut self, cx: &Context<'_>) {
        let mut senders = Senders {
            udp: &mut self.udp,
            outlets: &mut self.outlets,
        };
        while self.groups.pass_on(&mut senders, cx) {
            senders.outlets.flush(cx);
        }
    }

    /// A subscription to that target ended: what waits for it is dropped.
    pub(super) fn cancel(&mut self, target: &Target, page: &Arc<Page>, place: u8) {
        self.groups.cancel(page, place);
        self.udp.cancel(page, place);
        for destination in target.destinations() {
            self.outlets.cancel(destination, page, place);
        }
    }

    /// Ends a turn: what the outlets gathered goes out, and what is due is done.
    pub(super) fn tick(&mut self, cx: &Context<'_>) {
        self.outlets.flush(cx);
        if self
            .udp
            .deadline()
            .is_some_and(|deadline| deadline <= cx.now)
        {
            self.udp.resume(cx);
        }
        self.outlets.tick(cx);
    }

    /// When [`tick`](Self::tick) has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.udp
            .deadline()
            .into_iter()
            .chain(self.outlets.deadline())
            .min()
    }

    /// How many matches have no outcome yet.
    pub(super) fn waiting(&self) -> usize {
        self.udp.waiting() + self.outlets.waiting()
    }

    /// Drops what still waits.
    pub(super) fn close(&mut self, reason: Reason) {
        self.groups.close(reason);
        self.udp.close(reason);
        self.outlets.close(reason);
    }

    /// The events of one turn, by kind, each matched against one table.
    fn runs(&mut self, batch: &[Raise], registry: &Registry) -> SmallVec<[Run; 8]> {
        let mut runs: SmallVec<[Run; 8]> = SmallVec::new();
        let mut matches = 0;
        for (item, raise) in batch.iter().enumerate() {
            if matches >= TURN_MATCHES {
                break;
            }
            match runs.last_mut() {
                Some(run) if run.event == raise.event => {
                    run.items.end = item + 1;
                    matches += run.table.subscriptions;
                }
                _ => {
                    if self.cells.len() <= raise.event as usize {
                        self.cells = registry.cells();
                    }
                    let table = self.cells[raise.event as usize].table.load();
                    matches += table.subscriptions;
                    runs.push(Run {
                        items: item..item + 1,
                        event: raise.event,
                        table,
                    });
                }
            }
        }
        runs
    }
}

/// One subscription of the event at hand.
struct Subscriber<'a> {
    record: &'a Record,
    page: &'a Arc<Page>,
    cell: &'a EventCell,
}

impl<'a> Subscriber<'a> {
    /// Adds the events to the letters; sends those when they are many.
    fn post(
        &self,
        items: Range<usize>,
        forms: &'a Forms<'a>,
        letters: &mut SmallVec<[Letter<'a>; SEND_BATCH]>,
        udp: &mut Udp,
        cx: &Context<'_>,
    ) {
        let Some(to) = self.record.target.address() else {
            return;
        };
        for item in items {
            letters.push(Letter {
                to,
                payload: forms.get(item, self.record.format),
                totals: &self.cell.totals,
                page: self.page,
                place: self.record.place,
            });
            if letters.len() == SEND_BATCH {
                udp.send(letters, cx);
                letters.clear();
            }
        }
    }

    fn ticket(&self) -> Ticket {
        Ticket::open(&self.cell.totals, self.page, self.record.place)
    }

    /// Gives the events to the destination's outlet.
    fn hand_over(
        &self,
        items: Range<usize>,
        forms: &Forms<'_>,
        outlets: &mut Outlets,
        cx: &Context<'_>,
    ) {
        let Target::Shared(destination, form) = &self.record.target else {
            return;
        };
        let outlet = outlets.open(destination, cx);
        for item in items {
            let parcel = Parcel {
                payload: forms.shaped(item, self.record.format, form.as_ref()),
                ticket: self.ticket(),
                manner: self.record.manner,
                origin: forms.event(item).origin,
            };
            outlet.deliver(parcel, cx);
        }
    }
}
