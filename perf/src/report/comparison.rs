//! What changed between two reports.

use std::collections::HashMap;

use super::Report;
use crate::findings::Figure;
use crate::row::brief;

/// A change below this is none, however narrow the intervals.
const SMALL: f64 = 0.03;

/// One figure that both reports have.
#[derive(Debug, PartialEq)]
struct Change {
    name: String,
    before: f64,
    after: f64,
    unit: &'static str,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Worse,
    Better,
    /// Within the intervals, or small.
    Same,
}

/// The text of `compare`.
pub(crate) fn compare(before: &Report, after: &Report) -> String {
    let mut out = String::new();
    for (title, report) in [("before", before), ("after", after)] {
        let machine = &report.machine;
        out += &format!(
            "{title:>7}  {}  {}  {}\n",
            machine.commit, machine.date, machine.kernel
        );
    }
    if (&before.machine.cpu, before.machine.cpus) != (&after.machine.cpu, after.machine.cpus) {
        out += "the machines differ: only ratios can be compared\n";
    }
    if before.quick || after.quick {
        out += "one is a quick run: its figures mean little\n";
    }
    let mut changes = changes(before, after);
    changes.sort_by_key(|change| change.verdict);
    let width = changes
        .iter()
        .map(|change| change.name.chars().count())
        .max()
        .unwrap_or(0);
    for (verdict, title) in [(Verdict::Worse, "worse"), (Verdict::Better, "better")] {
        let these: Vec<&Change> = changes
            .iter()
            .filter(|change| change.verdict == verdict)
            .collect();
        out += &format!("\n{title}: {}\n", these.len());
        for change in these {
            let percent = 100.0 * (change.after / change.before - 1.0);
            let (before, after) = (brief(change.before), brief(change.after));
            let (name, unit) = (&change.name, change.unit);
            out +=
                &format!("  {name:<width$}  {before:>9} -> {after:>9} {unit}  {percent:+.0} %\n");
        }
    }
    let same = changes
        .iter()
        .filter(|change| change.verdict == Verdict::Same)
        .count();
    out += &format!("\nwithin the noise: {same}\n");
    out += &targets(before, after);
    out
}

fn changes(before: &Report, after: &Report) -> Vec<Change> {
    let old: HashMap<(&str, &str), &Figure> = figures(before).collect();
    let changes = figures(after).filter_map(|(key, figure)| {
        let old = old.get(&key)?;
        Some(Change {
            name: format!("{}: {}", key.0, key.1),
            before: old.value.median,
            after: figure.value.median,
            unit: figure.unit.text(),
            verdict: judge(old, figure),
        })
    });
    changes.collect()
}

fn figures(report: &Report) -> impl Iterator<Item = ((&str, &str), &Figure)> {
    report.scenarios.iter().flat_map(|chapter| {
        let figures = chapter.figures.iter();
        figures.map(|figure| ((chapter.name.as_str(), figure.name.as_str()), figure))
    })
}

fn judge(old: &Figure, new: &Figure) -> Verdict {
    let (before, after) = (old.value.median, new.value.median);
    let is_small = (after - before).abs() <= SMALL * before.abs();
    if is_small || !new.value.differs_from(&old.value) {
        Verdict::Same
    } else if (after > before) == new.unit.more_is_better() {
        Verdict::Better
    } else {
        Verdict::Worse
    }
}

fn targets(before: &Report, after: &Report) -> String {
    let mut out = String::new();
    for new in &after.targets {
        let old = before.targets.iter().find(|old| old.name == new.name);
        let Some(old) = old.filter(|old| old.met != new.met) else {
            continue;
        };
        let verdict = if new.met { "now met" } else { "NO LONGER MET" };
        out += &format!(
            "{verdict}: {}\n  {}\n  {}\n",
            new.name, old.figure, new.figure
        );
    }
    match out.is_empty() {
        true => "no target changed its verdict\n".to_owned(),
        false => out,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::example;
    use super::*;
    use crate::findings::Unit;
    use crate::interval::Interval;

    fn figure(median: f64, unit: Unit) -> Figure {
        let value = Interval {
            median,
            low: median * 0.99,
            high: median * 1.01,
        };
        Figure {
            name: "f".to_owned(),
            value,
            unit,
        }
    }

    #[test]
    fn a_change_beyond_the_intervals_is_told_in_its_direction() {
        let of = |before, after, unit| judge(&figure(before, unit), &figure(after, unit));
        assert_eq!(of(100.0, 110.0, Unit::Nanoseconds), Verdict::Worse);
        assert_eq!(of(100.0, 90.0, Unit::Nanoseconds), Verdict::Better);
        assert_eq!(of(100.0, 110.0, Unit::PerSecond), Verdict::Better);
        assert_eq!(of(100.0, 90.0, Unit::Share), Verdict::Worse);
        assert_eq!(of(100.0, 101.5, Unit::Nanoseconds), Verdict::Same);
        assert_eq!(of(100.0, 102.5, Unit::Nanoseconds), Verdict::Same, "small");
    }

    #[test]
    fn what_changed_is_named_and_what_did_not_is_counted() {
        let before = example();
        let mut after = before.clone();
        assert!(compare(&before, &after).contains("within the noise: 1"));
        after.scenarios[0].figures[0].value = Interval::exact(50.0);
        after.targets[0].met = false;
        let text = compare(&before, &after);
        assert!(
            text.contains("worse: 1") && text.contains("raise: unheard & co"),
            "{text}"
        );
        assert!(
            text.contains("NO LONGER MET: raise, nobody listens"),
            "{text}"
        );
        after.scenarios.clear();
        assert!(compare(&before, &after).contains("within the noise: 0"));
    }
}
