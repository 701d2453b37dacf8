//! `uptime`, `version` and `which`: what runs here, since when, and what it understands.

use std::time::Duration;
use std::time::SystemTime;

use super::answer::Answer;
use super::answer::Fact;
use super::commands;
use super::commands::Context;
use super::failure::Failure;
use super::recipe::Arguments;

/// `uptime`. Times are UTC, in the form of `ctime(3)`.
pub(super) fn uptime(context: &Context, _: &Arguments) -> Result<Answer, Failure> {
    let now = SystemTime::now();
    // The wall clock can be set back; the command must not fail for that.
    let up = now
        .duration_since(context.started)
        .unwrap_or(Duration::ZERO);
    Ok(Answer::Facts(vec![
        ("Now".into(), Fact::Text(ctime(now))),
        ("Up since".into(), Fact::Text(ctime(context.started))),
        (
            "Up time".into(),
            Fact::Text(format!("{} [sec]", up.as_secs())),
        ),
    ]))
}

/// `version`
pub(super) fn version(_: &Context, _: &Arguments) -> Result<Answer, Failure> {
    let server = format!(
        "Bellwire ({} ({}/{}))",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH,
        std::env::consts::OS
    );
    Ok(Answer::Facts(vec![("Server".into(), Fact::Text(server))]))
}

/// `which`: all commands, or the recipes of one.
pub(super) fn which(_: &Context, arguments: &Arguments) -> Result<Answer, Failure> {
    match arguments.text("command")? {
        None => Ok(Answer::Names(
            commands::COMMANDS
                .iter()
                .map(|command| command.name)
                .collect(),
        )),
        Some(name) => match commands::find(&name) {
            Ok(command) => Ok(Answer::Recipes(command.recipes)),
            Err(failure) if failure == Failure::method_not_found() => {
                Err(Failure::command(404, "unknown MI command"))
            }
            Err(failure) => Err(failure),
        },
    }
}

/// `Fri Nov 20 12:50:25 2026`, from `Fri, 20 Nov 2026 12:50:25 GMT`.
fn ctime(time: SystemTime) -> String {
    let http = httpdate::fmt_http_date(time);
    let mut parts = http.split([' ', ',']).filter(|part| !part.is_empty());
    let mut next = || parts.next().unwrap_or_default();
    let (weekday, day, month, year, clock) = (next(), next(), next(), next(), next());
    let day = day.trim_start_matches('0');
    format!("{weekday} {month} {day:>2} {clock} {year}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_look_like_ctime() {
        let at = |secs| ctime(SystemTime::UNIX_EPOCH + Duration::from_secs(secs));
        assert_eq!(at(1_795_179_025), "Fri Nov 20 12:50:25 2026");
        assert_eq!(at(0), "Thu Jan  1 00:00:00 1970");
    }
}
