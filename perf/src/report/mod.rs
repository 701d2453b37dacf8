//! The report: what was measured, where, and what that says about the targets.
//!
//! | module | noun |
//! |---|---|
//! | `table` | its form on a terminal |
//! | `page` | its form as one HTML page |
//! | `chart` | the page's plots, as SVG |
//! | `comparison` | what changed between two reports |

mod chart;
mod comparison;
mod page;
mod table;

pub(crate) use comparison::compare;

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::findings::{Figure, Plot};
use crate::machine::Machine;
use crate::progress::Progress;
use crate::row::{Part, Row, Target};
use crate::scenario::{self, Bench, Scenario};

/// A finished run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) seconds: f64,
    /// A quick run shows that everything works; its figures mean little.
    pub(crate) quick: bool,
    /// One entry a row of the table of targets, in its order.
    pub(crate) targets: Vec<Target>,
    pub(crate) scenarios: Vec<Chapter>,
}

/// One scenario's part of the report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Chapter {
    pub(crate) name: String,
    pub(crate) what: String,
    pub(crate) seconds: f64,
    pub(crate) figures: Vec<Figure>,
    pub(crate) plots: Vec<Plot>,
    pub(crate) notes: Vec<String>,
    /// Why it has no figures, if it failed.
    pub(crate) error: Option<String>,
}

impl Report {
    /// Runs the scenarios; prints each one's figures when it is done, and the targets in the end.
    pub(crate) fn run(scenarios: &[Scenario], quick: bool) -> Self {
        let machine = Machine::look();
        let progress = Progress::new();
        let begun = Instant::now();
        let (mut chapters, mut parts) = (Vec::new(), Vec::new());
        table::machine(&machine);
        for (number, scenario) in scenarios.iter().enumerate() {
            progress.begin(number + 1, scenarios.len(), scenario.name);
            let bench = Bench {
                quick,
                progress: &progress,
            };
            let (chapter, mut found) = Chapter::run(scenario, &bench);
            progress.end();
            table::chapter(&chapter);
            chapters.push(chapter);
            parts.append(&mut found);
        }
        let report = Self {
            machine,
            seconds: begun.elapsed().as_secs_f64(),
            quick,
            targets: judge(&parts, scenarios.len() == scenario::ALL.len()),
            scenarios: chapters,
        };
        table::targets(&report);
        report
    }

    pub(crate) fn load(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} is not a report of this program", file.display()))
    }

    pub(crate) fn save_json(&self, file: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        fs::write(file, text).with_context(|| file.display().to_string())
    }

    pub(crate) fn save_page(&self, file: &Path) -> Result<()> {
        fs::write(file, page::render(self)?).with_context(|| file.display().to_string())
    }

    /// Whether every scenario ran to its end.
    pub(crate) fn is_whole(&self) -> bool {
        self.scenarios.iter().all(|chapter| chapter.error.is_none())
    }
}

/// Every row if the run was of everything, else those that were measured.
fn judge(parts: &[(Row, Part)], everything: bool) -> Vec<Target> {
    let of = |row| {
        let parts = parts.iter().filter(|(of, _)| *of == row);
        let parts: Vec<Part> = parts.map(|(_, part)| part.clone()).collect();
        (everything || !parts.is_empty()).then(|| Target::judge(row, parts))
    };
    Row::ALL.into_iter().filter_map(of).collect()
}

impl Chapter {
    fn run(scenario: &Scenario, bench: &Bench<'_>) -> (Self, Vec<(Row, Part)>) {
        let begun = Instant::now();
        let (findings, error) = match (scenario.run)(bench) {
            Ok(findings) => (findings, None),
            Err(error) => (Default::default(), Some(format!("{error:#}"))),
        };
        let chapter = Self {
            name: scenario.name.to_owned(),
            what: scenario.what.to_owned(),
            seconds: begun.elapsed().as_secs_f64(),
            figures: findings.figures,
            plots: findings.plots,
            notes: findings.notes,
            error,
        };
        (chapter, findings.parts)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::findings::{Axis, Unit};
    use crate::interval::Interval;

    /// A report with something of everything, and characters that HTML must not see.
    pub(super) fn example() -> Report {
        let mut latencies = Plot::of_latencies("a < b & \"c\"");
        latencies.line("idle", vec![(1.0, 5.0), (50.0, 10.0), (99.9, 200.0)]);
        let mut linear = Plot::new("empty", Axis::log("n"), Axis::linear("ns"));
        linear.line("flat", vec![(1.0, 3.0), (100_000.0, 3.0)]);
        linear.line("nothing", Vec::new());
        let part = Part::at_most("x <load>", Interval::exact(1.5), 2.0);
        Report {
            machine: Machine::look(),
            seconds: 12.0,
            quick: true,
            targets: judge(&[(Row::Unheard, part)], true),
            scenarios: vec![Chapter {
                name: "raise".to_owned(),
                what: "a < b".to_owned(),
                seconds: 3.0,
                figures: vec![Figure {
                    name: "unheard & co".to_owned(),
                    value: Interval::of(&[1.0, 2.0, 3.0]),
                    unit: Unit::Nanoseconds,
                }],
                plots: vec![latencies, linear],
                notes: vec!["<note>".to_owned()],
                error: Some("no <socket>".to_owned()),
            }],
        }
    }

    #[test]
    fn a_report_survives_its_file() {
        let report = example();
        let text = serde_json::to_string(&report).expect("memory does not fail");
        let read: Report = serde_json::from_str(&text).expect("what was written");
        assert_eq!(read, report);
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let targets = json["targets"].as_array().expect("a list");
        assert_eq!(targets.len(), Row::ALL.len());
        for target in targets {
            assert!(target["name"].is_string() && target["figure"].is_string());
            assert!(target["target"].is_string() && target["met"].is_boolean());
        }
    }

    #[test]
    fn what_did_not_run_is_not_met() {
        let report = example();
        assert!(report.targets[0].met);
        assert!(report.targets[1..].iter().all(|target| !target.met));
        assert!(!report.is_whole());
    }
}
