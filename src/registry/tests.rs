//! Properties of the registry.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::destination::{Format, Manner, Route};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Subscribing, renewing, ending, expiring and listing, in any order, with places used again
    /// and destinations shared: never early, never more than a tick late, never one too many.
    #[test]
    fn any_changes_leave_what_the_oracle_has(bytes in vec(any::<u8>(), 0..600)) {
        oracle::run(&bytes);
    }
}

/// A registry with one event.
fn registry() -> (Registry, Arc<EventCell>) {
    let registry = Registry::new(10_000);
    let name = EventName::new("E").unwrap();
    let cell = registry.declare(name, Box::default()).unwrap();
    (registry, cell)
}

fn socket(port: u16, format: Format) -> Socket {
    Socket {
        route: Route::Udp(([127, 0, 0, 1], port).into()),
        format,
        form: None,
        manner: Manner::default(),
        name: None,
    }
}

fn subscribe(registry: &Registry, port: u16, format: Format) -> Changed {
    let change = Change::Subscribe {
        event: 0,
        socket: socket(port, format),
        expire: Expire::Never,
    };
    registry.apply(0, [change])[0]
}

/// In many small tables: there two of them are often told apart by nothing but a comparison.
#[test]
fn a_socket_is_known_by_its_format_too() {
    let registry = Registry::new(10_000);
    for event in 0..1500 {
        let name = EventName::new(&format!("E_{event}")).unwrap();
        registry.declare(name, Box::default()).unwrap();
        let changed = [Format::Json, Format::Text, Format::Json].map(|format| {
            let socket = socket(1, format);
            let expire = Expire::Never;
            let change = Change::Subscribe {
                event,
                socket,
                expire,
            };
            registry.apply(0, [change])[0]
        });
        let [first, other, again] = changed;
        assert_eq!([first, other], [Changed::Subscribed; 2]);
        assert_eq!(again, Changed::Renewed);
    }
}

#[test]
fn there_are_so_many_events_and_no_more() {
    let registry = Registry::new(1);
    for number in 0..limits::EVENTS {
        let name = EventName::new(&format!("E_{number}")).unwrap();
        assert!(registry.declare(name, Box::default()).is_some());
    }
    let more = EventName::new("E_MORE").unwrap();
    assert!(registry.declare(more, Box::default()).is_none());
    let known = EventName::new("E_0").unwrap();
    assert_eq!(registry.declare(known, Box::default()).unwrap().id, 0);
}

#[test]
fn a_replaced_table_is_freed_when_nobody_reads_it_and_nobody_wakes_for_nothing() {
    let (registry, cell) = registry();
    assert_eq!(registry.due_in(0), None);
    subscribe(&registry, 1, Format::Json);
    assert!(!registry.was_called(), "nothing ends, nothing is read");
    let read = cell.table.load();
    subscribe(&registry, 2, Format::Json);
    assert!(registry.was_called(), "one is read");
    assert_eq!(registry.due_in(0), Some(SWEEP_MS));
    registry.sweep();
    assert_eq!(registry.due_in(0), Some(SWEEP_MS), "it is still read");
    let freed = Arc::downgrade(&read);
    drop(read);
    registry.sweep();
    assert_eq!(freed.strong_count(), 0);
    assert_eq!(registry.due_in(0), None);
}

#[test]
fn a_replaced_list_of_events_is_freed_with_the_tables() {
    let (registry, cell) = registry();
    let (list, table) = (registry.cells(), cell.table.load());
    let other = EventName::new("E_OTHER").unwrap();
    registry.declare(other, Box::default()).unwrap();
    subscribe(&registry, 1, Format::Json);
    let freed = Arc::downgrade(&list);
    drop((list, table));
    registry.sweep();
    assert_eq!(freed.strong_count(), 0);
}

#[test]
fn what_is_forbidden_ends_and_is_named() {
    let (registry, cell) = registry();
    for port in 1..=4 {
        subscribe(&registry, port, Format::Json);
    }
    let odd = |target: &Target| target.address().unwrap().port() % 2 == 1;
    let mut ended: Vec<String> = registry
        .end_forbidden(0, odd)
        .into_iter()
        .map(|ended| ended.socket)
        .collect();
    ended.sort();
    assert_eq!(ended, ["udp:127.0.0.1:2", "udp:127.0.0.1:4"]);
    assert_eq!((registry.len(), cell.table.load().subscriptions), (2, 2));
    assert!(cell.is_heard());
    registry.end_forbidden(0, |_| false);
    assert!(!cell.is_heard());
    assert_eq!(std::iter::from_fn(|| registry.retirements.pop()).count(), 4);
}
