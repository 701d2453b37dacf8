//! What a scenario found out.

use serde::{Deserialize, Serialize};

use crate::histogram::{Latencies, PERCENTILES};
use crate::interval::Interval;
use crate::row::{Part, Row};

/// Figures, plots, and parts of the table of targets.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) figures: Vec<Figure>,
    pub(crate) plots: Vec<Plot>,
    pub(crate) notes: Vec<String>,
    pub(crate) parts: Vec<(Row, Part)>,
}

/// One measured figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) value: Interval,
    pub(crate) unit: Unit,
}

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Unit {
    #[serde(rename = "ns")]
    Nanoseconds,
    #[serde(rename = "us")]
    Microseconds,
    #[serde(rename = "ms")]
    Milliseconds,
    #[serde(rename = "1/s")]
    PerSecond,
    /// A cost in costs of the yardstick: less is better.
    #[serde(rename = "x")]
    Times,
    /// A part of what there could be: more is better.
    #[serde(rename = "share")]
    Share,
    #[serde(rename = "B")]
    Bytes,
    /// Of something unwanted: less is better.
    #[serde(rename = "")]
    Count,
}

impl Unit {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Nanoseconds => "ns",
            Self::Microseconds => "us",
            Self::Milliseconds => "ms",
            Self::PerSecond => "1/s",
            Self::Times => "x",
            Self::Share => "of 1",
            Self::Bytes => "B",
            Self::Count => "",
        }
    }

    pub(crate) fn more_is_better(self) -> bool {
        matches!(self, Self::PerSecond | Self::Share)
    }
}

/// Lines over two axes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plot {
    pub(crate) title: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) lines: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Axis {
    pub(crate) title: String,
    pub(crate) scale: Scale,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Scale {
    Linear,
    Log,
    /// Of percentiles: each nine takes as much room as the one before.
    Nines,
}

impl Axis {
    pub(crate) fn linear(title: &str) -> Self {
        Self::new(title, Scale::Linear)
    }

    pub(crate) fn log(title: &str) -> Self {
        Self::new(title, Scale::Log)
    }

    fn new(title: &str, scale: Scale) -> Self {
        Self {
            title: title.to_owned(),
            scale,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

impl Plot {
    pub(crate) fn new(title: &str, x: Axis, y: Axis) -> Self {
        Self {
            title: title.to_owned(),
            x,
            y,
            lines: Vec::new(),
        }
    }

    /// Latency by percentile.
    pub(crate) fn of_latencies(title: &str) -> Self {
        let x = Axis::new("percentile", Scale::Nines);
        Self::new(title, x, Axis::log("microseconds"))
    }

    pub(crate) fn line(&mut self, name: &str, points: Vec<(f64, f64)>) {
        self.lines.push(Line {
            name: name.to_owned(),
            points,
        });
    }

    pub(crate) fn latencies(&mut self, name: &str, latencies: &Latencies) {
        let points = PERCENTILES
            .iter()
            .filter(|&&percentile| percentile < 100.0)
            .map(|&percentile| (percentile, latencies.percentile(percentile) / 1000.0))
            .collect();
        self.line(name, points);
    }
}

impl Findings {
    pub(crate) fn figure(&mut self, name: impl Into<String>, value: Interval, unit: Unit) {
        self.figures.push(Figure {
            name: name.into(),
            value,
            unit,
        });
    }

    pub(crate) fn count(&mut self, name: impl Into<String>, value: f64, unit: Unit) {
        self.figure(name, Interval::exact(value), unit);
    }

    /// p50, p99, p99.9 and the largest, in microseconds.
    pub(crate) fn latencies(&mut self, name: &str, latencies: &Latencies) {
        for percentile in [50.0, 99.0, 99.9, 100.0] {
            let title = match percentile {
                100.0 => format!("{name}, max"),
                _ => format!("{name}, p{percentile}"),
            };
            let value = latencies.percentile(percentile) / 1000.0;
            self.count(title, value, Unit::Microseconds);
        }
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    pub(crate) fn part(&mut self, row: Row, part: Part) {
        self.parts.push((row, part));
    }

    pub(crate) fn plot(&mut self, plot: Plot) {
        self.plots.push(plot);
    }
}
