//! `bellwire stats`: the counters, once or every second.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::{Duration, Instant};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::json;

use super::{print_json, read};
use crate::args;
use crate::failure::Failure;
use crate::table::Table;

const PERIOD: Duration = Duration::from_secs(1);
/// Puts the cursor of a terminal at the top and clears what is below (ECMA-48).
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Prints the counters, and with `--watch` prints them again every second.
pub(crate) fn stats(args: &args::Stats) -> Result<(), Failure> {
    let client = args.asking.client();
    let all = ["all".to_owned()];
    let names = if args.names.is_empty() {
        &all[..]
    } else {
        &args.names
    };
    let mut last: Option<(Instant, Counters)> = None;
    loop {
        let asked = Instant::now();
        let result = client.call("get_statistics", json!([names]))?;
        if args.asking.json {
            print_json(&result)?;
        } else {
            let counters: Counters = read(&result)?;
            let clear = args.watch && io::stdout().is_terminal();
            let mut out = io::stdout().lock();
            if clear {
                write!(out, "{CLEAR}")?;
            }
            table(&counters, args.watch.then_some((asked, last.as_ref()))).print(&mut out)?;
            out.flush()?;
            last = Some((asked, counters));
        }
        if !args.watch {
            return Ok(());
        }
        thread::sleep(PERIOD.saturating_sub(asked.elapsed()));
    }
}

/// The counters, with what was added a second if they are watched.
fn table(counters: &Counters, watched: Option<(Instant, Option<&(Instant, Counters)>)>) -> Table {
    let Some((now, last)) = watched else {
        let mut table = Table::new(&["COUNTER", "VALUE"]);
        for (name, value) in counters.shown() {
            table.row(vec![name.clone(), value.to_string()]);
        }
        return table;
    };
    let mut table = Table::new(&["COUNTER", "VALUE", "PER SECOND"]);
    for (name, value) in counters.shown() {
        let rate = last.and_then(|(then, last)| {
            let added = value.checked_sub(last.get(name)?)?;
            Some(format!(
                "{:.0}",
                added as f64 / now.duration_since(*then).as_secs_f64()
            ))
        });
        table.row(vec![
            name.clone(),
            value.to_string(),
            rate.unwrap_or_default(),
        ]);
    }
    table
}

/// Counters by name, in the order of the answer.
struct Counters(Vec<(String, u64)>);

impl Counters {
    fn get(&self, name: &str) -> Option<u64> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| *value)
    }

    /// Those worth a line: of the reasons for drops, the ones that there were.
    fn shown(&self) -> impl Iterator<Item = (&String, u64)> {
        let idle = |name: &str, value: u64| value == 0 && name.contains(":dropped_");
        let before = |name: &str| name.ends_with(":dropped_before");
        self.0
            .iter()
            .filter(move |(name, value)| before(name) || !idle(name, *value))
            .map(|(name, value)| (name, *value))
    }
}

impl<'de> Deserialize<'de> for Counters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Counters;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of counters")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Counters, A::Error> {
                let mut counters = Vec::new();
                while let Some(counter) = map.next_entry()? {
                    counters.push(counter);
                }
                Ok(Counters(counters))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(table: &Table) -> String {
        let mut out = Vec::new();
        table.print(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn idle_reasons_are_left_out_and_rates_are_per_second() {
        let text = r#"{"evi:raised":30,"evi:dropped":2,"evi:dropped_refused":0,
            "evi:dropped_policy":2,"evi:dropped_before":0}"#;
        let now: Counters = serde_json::from_str(text).unwrap();
        let once = printed(&table(&now, None));
        assert!(
            !once.contains("refused") && once.contains("dropped_before"),
            "{once}"
        );

        let then = Instant::now();
        let last = (
            then,
            Counters(vec![("evi:raised".into(), 10), ("evi:dropped".into(), 5)]),
        );
        let later = then + Duration::from_secs(2);
        let watched = printed(&table(&now, Some((later, Some(&last)))));
        let line = |start: &str| {
            watched
                .lines()
                .find(|line| line.starts_with(start))
                .unwrap()
        };
        assert!(line("evi:raised ").ends_with(" 10"), "{watched}");
        // A counter that fell is that of another daemon: no rate.
        assert!(line("evi:dropped ").ends_with(" 2"), "{watched}");
    }
}
