//! `get_statistics` and `list_statistics`: the counters, by name and group.

use std::borrow::Cow;

use super::answer::Answer;
use super::answer::Fact;
use super::commands::Context;
use super::commands::Provider;
use super::failure::Failure;
use super::recipe::Arguments;
use crate::stats::Drops;
use crate::stats::Reason;
use crate::stats::Stats;
use crate::sync::MutexGuard;

/// Counters that can go down.
const GAUGES: [&str; 3] = ["evi:events", "evi:in_lanes", "evi:in_flight"];

/// `get_statistics`: the values of what was asked for, by full name (`evi:raised`), by name
/// without its group (`raised`), by group (`evi:`), or `all`.
pub(super) fn get(context: &Context, arguments: &Arguments) -> Result<Answer, Failure> {
    let wanted = arguments.texts("statistics")?;
    let facts = selected(context, &wanted)?.map(|(name, value)| (name, Fact::Number(value)));
    Ok(Answer::Facts(facts.collect()))
}

/// `list_statistics`: the names, and whether they only rise.
pub(super) fn list(context: &Context, arguments: &Arguments) -> Result<Answer, Failure> {
    let mut wanted = arguments.texts("statistics")?;
    if wanted.is_empty() {
        wanted.push(Cow::Borrowed("all"));
    }
    let facts = selected(context, &wanted)?.map(|(name, _)| {
        let is_gauge = GAUGES.contains(&name.as_str());
        let kind = if is_gauge {
            "non-incremental"
        } else {
            "incremental"
        };
        (name, Fact::Text(kind.into()))
    });
    Ok(Answer::Facts(facts.collect()))
}

fn selected(
    context: &Context,
    wanted: &[Cow<'_, str>],
) -> Result<impl Iterator<Item = (String, u64)>, Failure> {
    let mut all = engine(
        &context.handle.stats(),
        context.handle.events().len() as u64,
    );
    // A provider may take its time, or ask for statistics itself: not under the lock.
    let providers: Vec<Provider> = context.providers().clone();
    for provider in providers {
        all.extend(provider());
    }
    all.retain(|(name, _)| wanted.iter().any(|wanted| matches(name, wanted)));
    if all.is_empty() {
        return Err(Failure::command(404, "Statistics Not Found"));
    }
    Ok(all.into_iter())
}

fn matches(name: &str, wanted: &str) -> bool {
    if wanted == "all" || wanted == name {
        return true;
    }
    match wanted.strip_suffix(':') {
        Some(group) => name.split_once(':').is_some_and(|(have, _)| have == group),
        None => name
            .split_once(':')
            .is_some_and(|(_, local)| local == wanted),
    }
}

/// The engine's counters. `dropped_before_…` counts events that were lost before fan-out,
/// `dropped_…` counts pairs of event and subscription.
fn engine(stats: &Stats, events: u64) -> Vec<(String, u64)> {
    let mut list = vec![
        ("evi:events".to_owned(), events),
        ("evi:raised".to_owned(), stats.raised),
    ];
    drops(&mut list, "evi:dropped_before", &stats.dropped_before);
    list.push(("evi:in_lanes".into(), stats.in_lanes));
    list.push(("evi:fanned_out".into(), stats.fanned_out));
    list.push(("evi:matched".into(), stats.matched));
    list.push(("evi:delivered".into(), stats.delivered));
    drops(&mut list, "evi:dropped", &stats.dropped);
    list.push(("evi:in_flight".into(), stats.in_flight));
    list
}

fn drops(list: &mut Vec<(String, u64)>, name: &str, drops: &Drops) {
    list.push((name.to_owned(), drops.total()));
    for reason in Reason::ALL {
        list.push((format!("{name}_{}", reason.name()), drops.of(reason)));
    }
}

impl Context {
    pub(super) fn providers(&self) -> MutexGuard<'_, Vec<Provider>> {
        // A list of pointers cannot be left half-changed.
        self.statistics
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_found_by_name_and_group() {
        for (wanted, found) in [
            ("all", true),
            ("evi:raised", true),
            ("raised", true),
            ("evi:", true),
            ("evi", false),
            ("ingest:", false),
            ("evi:rais", false),
            ("", false),
            (":", false),
        ] {
            assert_eq!(matches("evi:raised", wanted), found, "{wanted:?}");
        }
    }

    #[test]
    fn each_counter_has_one_name() {
        let mut names: Vec<_> = engine(&Stats::default(), 0)
            .into_iter()
            .map(|s| s.0)
            .collect();
        assert!(names.iter().all(|name| name.starts_with("evi:")));
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
        assert_eq!(all, 7 + 2 * (1 + Reason::ALL.len()));
        assert!(
            GAUGES
                .iter()
                .all(|gauge| names.iter().any(|name| name == gauge))
        );
    }
}
