//! `event_subscribe`: makes, refreshes and ends subscriptions.

use super::answer::Answer;
use super::commands;
use super::commands::Context;
use super::failure::Failure;
use super::json::Json;
use super::recipe::Arguments;
use super::recipe::Given;
use crate::engine::SubscribeError;
use crate::limits;
use crate::registry::Expire;

/// Longest lifetime, in seconds: what a C `int` holds, as in OpenSIPS. There is no way to ask for
/// a subscription that never ends.
const EXPIRE_MAX_SECS: u32 = i32::MAX as u32;

/// `event_subscribe`
pub(super) fn subscribe(context: &Context, arguments: &Arguments) -> Result<Answer, Failure> {
    let event = arguments.required_text("event")?;
    let socket = arguments.required_text("socket")?;
    let expire = expire_secs(arguments.whole("expire")?)?;
    match attempt(context, &event, &socket, expire) {
        Err(SubscribeError::UnknownEvent(_)) if context.options.declare_unknown => {
            let expire = Expire::after_secs(expire);
            context.handle.subscribe_declaring(&event, &socket, expire)
        }
        outcome => outcome,
    }
    .map_err(|error| Failure::bad_value(error.to_string()))?;
    Ok(Answer::Ok)
}

fn attempt(
    context: &Context,
    event: &str,
    socket: &str,
    expire_secs: u32,
) -> Result<(), SubscribeError> {
    match expire_secs {
        // Ending what is not there is no error, as in OpenSIPS.
        0 => context.handle.unsubscribe(event, socket).map(|_| ()),
        secs => context
            .handle
            .subscribe(event, socket, Expire::after_secs(secs)),
    }
}

fn expire_secs(expire: Option<i64>) -> Result<u32, Failure> {
    match expire {
        None => Ok(limits::DEFAULT_EXPIRE_SECS),
        Some(secs) if secs < 0 => Err(Failure::params("Negative expire value")),
        Some(secs) => u32::try_from(secs)
            .ok()
            .filter(|secs| *secs <= EXPIRE_MAX_SECS)
            .ok_or_else(|| {
                Failure::params(format!(
                    "expire is {secs}, at most {EXPIRE_MAX_SECS} is taken"
                ))
            }),
    }
}

impl Context {
    /// Declares an event that nobody declared, where the options say so.
    pub(super) fn declare(&self, event: &str) -> Result<crate::engine::Event, Failure> {
        self.handle
            .declare(event)
            .map_err(|error| Failure::bad_value(error.to_string()))
    }
}

impl Context {
    /// Whether that command with these parameters looks a host name up, and so may wait.
    pub(super) fn may_wait(&self, method: &str, params: &Given) -> bool {
        let is_subscribe = commands::find(method).is_ok_and(|found| found.name == "evi:subscribe");
        if !is_subscribe {
            return false;
        }
        let socket = match params {
            Given::Nothing => None,
            Given::Positional(values) => values.get(1),
            Given::Named(members) => members
                .iter()
                .find(|(name, _)| name == "socket")
                .map(|(_, value)| value),
        };
        matches!(socket, Some(Json::Text(socket)) if self.handle.check_socket(socket) == Ok(true))
    }
}

#[cfg(test)]
mod tests {
    use super::super::commands::Commands;
    use super::super::commands::Options;
    use super::*;
    use crate::engine::Config;
    use crate::engine::Engine;

    #[test]
    fn lifetimes_are_bounded() {
        assert_eq!(expire_secs(None), Ok(3600));
        assert_eq!(expire_secs(Some(0)), Ok(0));
        assert_eq!(expire_secs(Some(2_147_483_647)), Ok(2_147_483_647));
        let negative = expire_secs(Some(-1)).unwrap_err();
        assert_eq!(negative.data.unwrap(), "Negative expire value");
        for secs in [2_147_483_648, i64::MAX] {
            let failure = expire_secs(Some(secs)).unwrap_err();
            assert_eq!(failure.code, -32602);
            assert!(
                failure
                    .data
                    .unwrap()
                    .ends_with("at most 2147483647 is taken")
            );
        }
    }

    #[test]
    fn only_subscribing_a_host_name_may_wait() {
        let engine = Engine::start(Config::default()).unwrap();
        let commands = Commands::new(engine.handle(), Options::default());
        let text = |text: &str| Json::Text(text.into());
        let params = |socket: &str| Given::Positional(vec![text("E"), text(socket)]);
        let may_wait = |method: &str, params: &Given| commands.context.may_wait(method, params);
        for name in ["event_subscribe", "evi:subscribe", "subscribe"] {
            assert!(may_wait(name, &params("udp:host.invalid:9")), "{name}");
        }
        let named = Given::Named(vec![("socket".into(), text("udp:host.invalid:9"))]);
        assert!(may_wait("event_subscribe", &named));
        for socket in [
            "udp:127.0.0.1:9",
            "udp:[::1]:9",
            "unix:/tmp/host.invalid:9",
            "zzz",
            "udp:h",
        ] {
            assert!(!may_wait("event_subscribe", &params(socket)), "{socket}");
        }
        assert!(!may_wait("subscribers_list", &params("udp:host.invalid:9")));
        assert!(!may_wait("no_such_cmd", &params("udp:host.invalid:9")));
        assert!(!may_wait("event_subscribe", &Given::Nothing));
    }
}
