//! The writer's side of one event's subscriptions.
//!
//! A subscription keeps its place (a chunk and an index in it) as long as it lives, because its
//! counters stand there. Beside the published records the shelf keeps, by place, what only the
//! writer needs: the lifetime, and the links of the expiry lists. An index finds the place of a
//! socket without a second copy of its address.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::slice::NEVER;
use super::table::{Block, Chunk, EventCell, Record, Table, Target};
use crate::destination::{Format, Manner, Name};
use crate::limits::{BLOCK_CHUNKS, CHUNK_SUBSCRIPTIONS};
use crate::snapshot::Retired;
use crate::stats::Page;

/// A place in a shelf: the chunk's number times its size, plus the index in it.
pub(super) type Place = u32;

const NOWHERE: Place = Place::MAX;

/// What makes two sockets the same.
#[derive(Clone, Debug)]
pub(crate) enum Identity {
    /// A UDP address and the form of the payload.
    Address(SocketAddr, Format),
    /// A normalised socket string.
    Name(Box<str>),
}

/// What the writer knows of one place. Packed: see [`Target`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Counts all subscriptions ever made; 0 = the place is vacant.
    serial: [u32; 2],
    /// The slice of time in which it ends; [`NEVER`] if it does not.
    pub(super) slice: u32,
    pub(super) expire_secs: u32,
    earlier: Place,
    later: Place,
    position: u8,
}

const _: () = assert!(size_of::<Entry>() <= 28);

const VACANT: Entry = Entry {
    serial: [0; 2],
    slice: NEVER,
    expire_secs: 0,
    earlier: NOWHERE,
    later: NOWHERE,
    position: 0,
};

impl Entry {
    pub(super) fn serial(&self) -> u64 {
        u64::from(self.serial[0]) << 32 | u64::from(self.serial[1])
    }
}

/// A subscription to add.
#[derive(Debug)]
pub(super) struct Newcomer {
    pub(super) target: Target,
    pub(super) format: Format,
    pub(super) manner: Manner,
    pub(super) name: Option<Name>,
    pub(super) serial: u64,
    pub(super) slice: u32,
    pub(super) expire_secs: u32,
}

/// What a subscription leaves behind when it ends.
#[derive(Debug)]
pub(super) struct Leaver {
    pub(super) place: Place,
    pub(super) page: Arc<Page>,
    pub(super) target: Target,
}

/// All subscriptions of one event, as their writer sees them.
#[derive(Debug)]
pub(super) struct Shelf {
    pub(super) cell: Arc<EventCell>,
    blocks: Vec<Arc<Block>>,
    entries: Vec<Box<[Entry]>>,
    index: HashTable<Place>,
    hasher: DefaultHashBuilder,
    names: HashMap<Place, Name>,
    /// Places that were given back, and the first that was never used.
    free: Vec<Place>,
    unused: Place,
    /// By slice, the first of the subscriptions that end in it.
    ending: BTreeMap<u32, Place>,
    changed: bool,
    pub(super) retired: Retired<Table>,
}

fn split(place: Place) -> (usize, u8) {
    (
        place as usize / CHUNK_SUBSCRIPTIONS,
        (place as usize % CHUNK_SUBSCRIPTIONS) as u8,
    )
}

fn chunk(blocks: &[Arc<Block>], number: usize) -> &Arc<Chunk> {
    &blocks[number / BLOCK_CHUNKS][number % BLOCK_CHUNKS]
}

/// The chunk, copied if a published table has it too.
fn chunk_mut(blocks: &mut [Arc<Block>], number: usize) -> &mut Chunk {
    let block = Arc::make_mut(&mut blocks[number / BLOCK_CHUNKS]);
    Arc::make_mut(&mut block[number % BLOCK_CHUNKS])
}

impl Shelf {
    pub(super) fn new(cell: Arc<EventCell>) -> Self {
        Self {
            cell,
            blocks: Vec::new(),
            entries: Vec::new(),
            index: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            names: HashMap::new(),
            free: Vec::new(),
            unused: 0,
            ending: BTreeMap::new(),
            changed: false,
            retired: Retired::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// The place of the subscription with that identity.
    pub(super) fn find(&self, identity: &Identity) -> Option<Place> {
        self.find_hashed(self.hash(identity), identity)
    }

    /// The same by the identity's [`hash`](Self::hash).
    pub(super) fn find_hashed(&self, hash: u64, identity: &Identity) -> Option<Place> {
        self.index
            .find(hash, |&place| self.is(place, identity))
            .copied()
    }

    /// Adds a subscription that [`find`](Self::find) did not find, by its identity's hash.
    pub(super) fn insert(&mut self, newcomer: Newcomer, hash: u64) -> Place {
        let place = self.vacant_place();
        let (chunk, index) = split(place);
        let chunk = chunk_mut(&mut self.blocks, chunk);
        let entry = &mut self.entries[place as usize / CHUNK_SUBSCRIPTIONS][usize::from(index)];
        *entry = Entry {
            serial: [(newcomer.serial >> 32) as u32, newcomer.serial as u32],
            expire_secs: newcomer.expire_secs,
            position: chunk.records.len() as u8,
            ..VACANT
        };
        chunk.records.push(Record {
            target: newcomer.target,
            place: index,
            format: newcomer.format,
            manner: newcomer.manner,
            named: newcomer.name.is_some(),
        });
        if let Some(name) = newcomer.name {
            self.names.insert(place, name);
        }
        let Self {
            index,
            blocks,
            entries,
            names,
            hasher,
            ..
        } = self;
        index.insert_unique(hash, place, |&other| {
            let (chunk, at) = split(other);
            let position = entries[chunk][usize::from(at)].position;
            hash_record(
                hasher,
                &self::chunk(blocks, chunk).records[usize::from(position)],
                names.get(&other),
            )
        });
        self.link(place, newcomer.slice);
        self.changed = true;
        place
    }

    /// Gives the subscription another lifetime.
    pub(super) fn renew(&mut self, place: Place, slice: u32, expire_secs: u32) {
        self.unlink(place);
        self.link(place, slice);
        self.entry_mut(place).expire_secs = expire_secs;
    }

    /// Sends the subscription's events elsewhere: its name resolved to another address.
    pub(super) fn redirect(&mut self, place: Place, target: Target) {
        if self.record(place).target.address() == target.address() {
            return;
        }
        let position = usize::from(self.entry(place).position);
        let chunk = chunk_mut(&mut self.blocks, split(place).0);
        chunk.records[position].target = target;
        self.changed = true;
    }

    /// Ends the subscription. Its place is free again after [`give_back`](Self::give_back).
    pub(super) fn remove(&mut self, place: Place) -> Leaver {
        self.unlink(place);
        let hash = self.hash_of(place);
        if let Ok(found) = self.index.find_entry(hash, |&other| other == place) {
            found.remove();
        }
        self.names.remove(&place);
        let (number, index) = split(place);
        let position = self.entry(place).position;
        *self.entry_mut(place) = VACANT;
        let chunk = chunk_mut(&mut self.blocks, number);
        let record = chunk.records.swap_remove(usize::from(position));
        debug_assert_eq!(record.place, index);
        let page = Arc::clone(&chunk.page);
        let moved = chunk
            .records
            .get(usize::from(position))
            .map(|record| record.place);
        if let Some(moved) = moved {
            self.entries[number][usize::from(moved)].position = position;
        }
        self.changed = true;
        Leaver {
            place,
            page,
            target: record.target,
        }
    }

    /// The reactor has let go of the place: nothing counts there any more.
    pub(super) fn give_back(&mut self, place: Place) {
        self.free.push(place);
    }

    /// Publishes what changed since the last time.
    pub(super) fn publish(&mut self) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        let table = Table {
            blocks: self.blocks.clone(),
            subscriptions: self.len(),
        };
        self.cell.table.publish(table, &mut self.retired);
        self.cell.set_heard_by(self.len());
    }

    /// The earliest slice in which a subscription ends.
    pub(super) fn next_end(&self) -> Option<u32> {
        self.ending.first_key_value().map(|(&slice, _)| slice)
    }

    /// A subscription that ended by the start of `slice`.
    pub(super) fn ended_by(&self, slice: u32) -> Option<Place> {
        self.ending
            .first_key_value()
            .filter(|&(&end, _)| end <= slice)
            .map(|(_, &place)| place)
    }

    /// All places in use.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> + '_ {
        self.index.iter().copied()
    }

    pub(super) fn entry(&self, place: Place) -> &Entry {
        let (chunk, index) = split(place);
        &self.entries[chunk][usize::from(index)]
    }

    pub(super) fn record(&self, place: Place) -> &Record {
        let position = usize::from(self.entry(place).position);
        &chunk(&self.blocks, split(place).0).records[position]
    }

    pub(super) fn page(&self, place: Place) -> &Arc<Page> {
        &chunk(&self.blocks, split(place).0).page
    }

    pub(super) fn name(&self, place: Place) -> Option<&Name> {
        self.names.get(&place)
    }

    fn entry_mut(&mut self, place: Place) -> &mut Entry {
        let (chunk, index) = split(place);
        &mut self.entries[chunk][usize::from(index)]
    }

    fn vacant_place(&mut self) -> Place {
        if let Some(place) = self.free.pop() {
            return place;
        }
        let place = self.unused;
        self.unused += 1;
        if split(place).0 == self.entries.len() {
            let records = Vec::with_capacity(CHUNK_SUBSCRIPTIONS);
            let chunk = Arc::new(Chunk {
                records,
                page: Arc::new(Page::new()),
            });
            match self.blocks.last_mut() {
                Some(block) if block.len() < BLOCK_CHUNKS => Arc::make_mut(block).push(chunk),
                _ => self.blocks.push(Arc::new(vec![chunk])),
            }
            self.entries
                .push(vec![VACANT; CHUNK_SUBSCRIPTIONS].into_boxed_slice());
        }
        place
    }

    fn link(&mut self, place: Place, slice: u32) {
        let later = match slice {
            NEVER => NOWHERE,
            _ => self.ending.insert(slice, place).unwrap_or(NOWHERE),
        };
        if later != NOWHERE {
            self.entry_mut(later).earlier = place;
        }
        let entry = self.entry_mut(place);
        (entry.slice, entry.earlier, entry.later) = (slice, NOWHERE, later);
    }

    fn unlink(&mut self, place: Place) {
        let Entry {
            slice,
            earlier,
            later,
            ..
        } = *self.entry(place);
        if slice == NEVER {
            return;
        }
        if later != NOWHERE {
            self.entry_mut(later).earlier = earlier;
        }
        if earlier != NOWHERE {
            self.entry_mut(earlier).later = later;
        } else if later != NOWHERE {
            self.ending.insert(slice, later);
        } else {
            self.ending.remove(&slice);
        }
    }

    fn is(&self, place: Place, identity: &Identity) -> bool {
        let record = self.record(place);
        match identity {
            Identity::Address(address, format) => {
                !record.named
                    && record.format == *format
                    && record.target.address() == Some(*address)
            }
            Identity::Name(name) => {
                record.named
                    && self
                        .name(place)
                        .is_some_and(|known| known.identity == *name)
            }
        }
    }

    pub(super) fn hash(&self, identity: &Identity) -> u64 {
        match identity {
            Identity::Address(address, format) => hash_address(&self.hasher, *address, *format),
            Identity::Name(name) => self.hasher.hash_one(&**name),
        }
    }

    fn hash_of(&self, place: Place) -> u64 {
        hash_record(&self.hasher, self.record(place), self.name(place))
    }
}

fn hash_address(hasher: &DefaultHashBuilder, address: SocketAddr, format: Format) -> u64 {
    match address {
        // In one word: most are of this kind.
        SocketAddr::V4(v4) => {
            let end = u64::from(v4.ip().to_bits()) << 16 | u64::from(v4.port());
            hasher.hash_one(end << 1 | u64::from(format == Format::Text))
        }
        SocketAddr::V6(_) => hasher.hash_one((address, format)),
    }
}

/// Equal to [`Shelf::hash`] of the record's identity.
fn hash_record(hasher: &DefaultHashBuilder, record: &Record, name: Option<&Name>) -> u64 {
    match (name, record.target.address()) {
        (Some(name), _) => hasher.hash_one(&*name.identity),
        (None, Some(address)) => hash_address(hasher, address, record.format),
        (None, None) => unreachable!("a destination with state has a name"),
    }
}
