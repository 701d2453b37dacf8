//! Plots as SVG.

use std::ops::Range;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::prelude::*;

use crate::findings::{Axis, Line, Plot, Scale};
use crate::row::brief;

const SIZE: (u32, u32) = (720, 400);
/// Told apart by most eyes, and in grey (Okabe and Ito).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(80, 80, 80),
];

/// The plot as an `svg` element.
pub(super) fn draw(plot: &Plot) -> Result<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(problem)?;
        let lines: Vec<Line> = plot.lines.iter().map(|line| placed(plot, line)).collect();
        chart(&area, plot, &lines)?;
        area.present().map_err(problem)?;
    }
    Ok(svg)
}

fn problem(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw: {error}")
}

fn chart(area: &DrawingArea<SVGBackend<'_>, Shift>, plot: &Plot, lines: &[Line]) -> Result<()> {
    let x = extent(&plot.x, lines, |point| point.0);
    let y = extent(&plot.y, lines, |point| point.1);
    let (x, y) = (Marked::new(&plot.x, x), Marked::new(&plot.y, y));
    let mut chart = ChartBuilder::on(area)
        .caption(&plot.title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d(x, y)
        .map_err(problem)?;
    chart
        .configure_mesh()
        .x_desc(&plot.x.title)
        .y_desc(&plot.y.title)
        .x_label_formatter(&|at| label(&plot.x, *at))
        .y_label_formatter(&|at| label(&plot.y, *at))
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .label_style(("sans-serif", 13))
        .draw()
        .map_err(problem)?;
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let style = colour.stroke_width(2);
        let drawn = chart.draw_series(LineSeries::new(line.points.iter().copied(), style));
        drawn
            .map_err(problem)?
            .label(&line.name)
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], style));
        let dots = line
            .points
            .iter()
            .map(|&at| Circle::new(at, 3, colour.filled()));
        chart.draw_series(dots).map_err(problem)?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 13))
        .draw()
        .map_err(problem)?;
    Ok(())
}

/// A stretch of an axis that has its labels where we want them.
struct Marked {
    extent: Range<f64>,
    keys: Vec<f64>,
}

impl Marked {
    fn new(axis: &Axis, extent: Range<f64>) -> Self {
        let keys = keys(axis, &extent);
        Self { extent, keys }
    }
}

impl Ranged for Marked {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (low, high): (i32, i32)) -> i32 {
        let share = (value - self.extent.start) / (self.extent.end - self.extent.start);
        low + (share * f64::from(high - low)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.keys.clone()
    }

    fn range(&self) -> Range<f64> {
        self.extent.clone()
    }
}

/// The line in the places of its axes.
fn placed(plot: &Plot, line: &Line) -> Line {
    let points = line.points.iter();
    let points = points.map(|&(x, y)| (place(&plot.x, x), place(&plot.y, y)));
    Line {
        name: line.name.clone(),
        points: points
            .filter(|(x, y)| x.is_finite() && y.is_finite())
            .collect(),
    }
}

/// Where a value stands on its axis.
fn place(axis: &Axis, value: f64) -> f64 {
    match axis.scale {
        Scale::Linear => value,
        Scale::Log => value.log10(),
        Scale::Nines => -(1.0 - value / 100.0).log10(),
    }
}

/// The text at a place of the axis.
fn label(axis: &Axis, place: f64) -> String {
    match axis.scale {
        Scale::Linear if place >= 1e6 => format!("{} M", brief(place / 1e6)),
        Scale::Linear => brief(place),
        Scale::Log => match place {
            thousands if thousands >= 3.0 => format!("{:.0},000", 10_f64.powf(place - 3.0)),
            _ => brief(10_f64.powf(place)),
        },
        Scale::Nines => match place.round() as usize {
            0 => "0%".to_owned(),
            1 => "90%".to_owned(),
            2 => "99%".to_owned(),
            nines => format!("99.{}%", "9".repeat(nines - 2)),
        },
    }
}

/// The part of the axis that is shown.
fn extent(axis: &Axis, lines: &[Line], of: fn(&(f64, f64)) -> f64) -> Range<f64> {
    let values = || lines.iter().flat_map(|line| &line.points).map(of);
    let (low, high) = (
        values().fold(f64::MAX, f64::min),
        values().fold(f64::MIN, f64::max),
    );
    if low > high {
        return 0.0..1.0;
    }
    match axis.scale {
        Scale::Linear => 0.0_f64.min(low)..if high > 0.0 { high * 1.15 } else { 1.0 },
        Scale::Log => low.floor()..(high + 0.02).ceil(),
        Scale::Nines => 0.0..high.ceil().max(1.0),
    }
}

/// Where the axis has its labels.
fn keys(axis: &Axis, extent: &Range<f64>) -> Vec<f64> {
    let step = match axis.scale {
        Scale::Log | Scale::Nines => 1.0,
        Scale::Linear => {
            let rough = (extent.end - extent.start) / 6.0;
            let power = 10_f64.powf(rough.log10().floor());
            let step = [1.0, 2.0, 5.0]
                .into_iter()
                .find(|step| step * power >= rough);
            step.unwrap_or(10.0) * power
        }
    };
    let first = (extent.start / step).ceil() as i64;
    let last = (extent.end / step).floor() as i64;
    (first..=last).map(|index| index as f64 * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_nine_takes_one_step() {
        let axis = Plot::of_latencies("").x;
        for (percentile, at) in [(0.0, 0.0), (90.0, 1.0), (99.0, 2.0), (99.9, 3.0)] {
            assert!((place(&axis, percentile) - at).abs() < 1e-6);
        }
        let labels: Vec<String> = (0..5).map(|at| label(&axis, f64::from(at))).collect();
        assert_eq!(labels, ["0%", "90%", "99%", "99.9%", "99.99%"]);
    }

    #[test]
    fn labels_are_round() {
        let axis = Axis::linear("");
        assert_eq!(keys(&axis, &(0.0..11.5)), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(label(&axis, 2_500_000.0), "2.50 M");
        let axis = Axis::log("");
        assert_eq!(label(&axis, 5.0), "100,000");
        assert_eq!(label(&axis, 0.0), "1");
    }

    #[test]
    fn nothing_and_one_value_can_be_drawn() {
        let mut plot = Plot::new("t", Axis::log("x"), Axis::linear("y"));
        assert!(draw(&plot).is_ok_and(|svg| svg.starts_with("<svg")));
        plot.line("one", vec![(1.0, 0.0)]);
        plot.line("bad", vec![(0.0, f64::NAN)]);
        assert!(draw(&plot).is_ok_and(|svg| !svg.contains("NaN")));
    }
}
