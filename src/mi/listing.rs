//! `events_list` and `subscribers_list`.

use super::answer::Answer;
use super::answer::Listed;
use super::commands::Context;
use super::failure::Failure;
use super::recipe::Arguments;
use crate::registry::Subscription;

/// `events_list`: all declared events, by number.
pub(super) fn events(context: &Context, _: &Arguments) -> Result<Answer, Failure> {
    let events = context.handle.events().into_iter().map(|event| Listed {
        name: event.name().to_string(),
        id: event.id(),
        subscriptions: Vec::new(),
        counted: false,
    });
    Ok(Answer::Events(events.collect()))
}

/// `subscribers_list`: of all events that have any, of one event, or one of one event.
pub(super) fn subscribers(context: &Context, arguments: &Arguments) -> Result<Answer, Failure> {
    list(context, arguments, false)
}

/// `subscriptions_list`, which is ours: the same, and what became of each one's events.
pub(super) fn subscriptions(context: &Context, arguments: &Arguments) -> Result<Answer, Failure> {
    list(context, arguments, true)
}

fn list(context: &Context, arguments: &Arguments, counted: bool) -> Result<Answer, Failure> {
    let Some(name) = arguments.text("event")? else {
        return Ok(Answer::Subscribers(by_event(
            context.handle.subscriptions(None),
            counted,
        )));
    };
    let socket = arguments.text("socket")?;
    let Some(event) = context.handle.event(&name) else {
        return Err(Failure::command(404, "Event not published"));
    };
    let listed = |subscriptions: Vec<Subscription>| Listed {
        name: event.name().to_string(),
        id: event.id(),
        subscriptions,
        counted,
    };
    let Some(socket) = socket else {
        let subscriptions = context.handle.subscriptions(Some(&name));
        let anybody = !subscriptions.is_empty();
        return Ok(Answer::SubscribersOf(
            anybody.then(|| listed(subscriptions)),
        ));
    };
    match context.handle.subscription(&name, &socket) {
        Some(subscription) => Ok(Answer::Subscriber(listed(vec![subscription]))),
        None => Err(Failure::command(404, "Subscriber does not exist")),
    }
}

/// Sorts subscriptions to their events, by number; each event's keep their order.
fn by_event(mut subscriptions: Vec<Subscription>, counted: bool) -> Vec<Listed> {
    subscriptions.sort_by_key(|subscription| subscription.event_id);
    let mut events: Vec<Listed> = Vec::new();
    for subscription in subscriptions {
        match events.last_mut() {
            Some(event) if event.id == subscription.event_id => {
                event.subscriptions.push(subscription);
            }
            _ => events.push(Listed {
                name: subscription.event.clone(),
                id: subscription.event_id,
                subscriptions: vec![subscription],
                counted,
            }),
        }
    }
    events
}
