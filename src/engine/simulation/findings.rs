//! What runs have found, each in its shortest form.

use super::oracle::Key;
use super::random::Random;
use super::run::Simulation;
use super::world::{RECEIVERS, V4, V6, World};
use crate::engine::Config;
use crate::registry::State;

/// An engine on a network where nothing goes wrong.
fn calm() -> Simulation {
    Simulation::new(Random::new(0), World::calm(), Config::default(), false).expect("it starts")
}

fn key(event: usize, receiver: usize) -> Key {
    Key {
        event,
        receiver,
        text: false,
    }
}

fn settle(simulation: &mut Simulation) {
    while simulation.turn() {}
    simulation.check_all();
}

/// The turn cleared its batch though it had fanned out only a part of it.
#[test]
fn events_that_a_turn_had_no_time_for_are_not_lost() {
    let mut simulation = calm();
    for receiver in 0..RECEIVERS {
        simulation.subscribe(key(0, receiver), None);
    }
    for _ in 0..12 {
        simulation.raise(0, 3);
    }
    assert!(simulation.turn());
    assert!(
        simulation.core.unserved() > 0,
        "too short a turn for twelve events"
    );
    settle(&mut simulation);
    assert_eq!(simulation.handle.stats().delivered, 12 * RECEIVERS as u64);
}

/// A segment larger than the path's MTU was dropped as too big, though it can go by itself.
#[test]
fn what_a_path_does_not_take_in_one_buffer_is_sent_one_by_one() {
    let mut simulation = calm();
    simulation.world.net().hosts[0].mtu = 576;
    simulation.subscribe(key(0, 0), None);
    for _ in 0..20 {
        simulation.raise(0, 1300);
    }
    settle(&mut simulation);
    assert_eq!(simulation.handle.stats().delivered, 20);
}

/// The state stayed `Blocked` for as long as the receiver read nothing.
#[test]
fn a_receiver_is_not_blocked_when_nothing_waits_for_it_any_more() {
    let mut simulation = calm();
    let receiver = V4 + V6;
    simulation.world.net().hosts[receiver].queue_max = 10;
    simulation.subscribe(key(0, receiver), None);
    simulation.subscribe(key(1, receiver), None);
    for _ in 0..11 {
        simulation.raise(0, 3);
    }
    settle(&mut simulation);
    let state = |simulation: &Simulation| {
        let listed = simulation.handle.subscriptions(Some("E_1"));
        listed[0].state.clone()
    };
    assert_eq!(state(&simulation), State::Blocked);
    simulation.unsubscribe(key(0, receiver));
    settle(&mut simulation);
    assert_eq!(state(&simulation), State::Up);
}
