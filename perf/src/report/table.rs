//! The report on a terminal.

use super::{Chapter, Report};
use crate::findings::Figure;
use crate::machine::Machine;
use crate::row::brief;

pub(super) fn machine(machine: &Machine) {
    for (title, text) in machine.lines() {
        println!("{title:>17}  {text}");
    }
}

pub(super) fn chapter(chapter: &Chapter) {
    println!(
        "\n{}: {} ({:.0} s)",
        chapter.name, chapter.what, chapter.seconds
    );
    let width = chapter
        .figures
        .iter()
        .map(|figure| figure.name.chars().count())
        .max();
    let width = width.unwrap_or(0);
    for figure in &chapter.figures {
        println!("  {:<width$}  {}", figure.name, value(figure));
    }
    for note in &chapter.notes {
        println!("  ({note})");
    }
    if let Some(error) = &chapter.error {
        println!("  FAILED: {error}");
    }
}

/// The figure with its unit and, if it has one, its interval.
pub(super) fn value(figure: &Figure) -> String {
    let (interval, unit) = (figure.value, figure.unit.text());
    let mut text = format!("{:>9} {unit}", brief(interval.median));
    if interval.low != interval.high {
        text += &format!("  [{}, {}]", brief(interval.low), brief(interval.high));
    }
    text
}

pub(super) fn targets(report: &Report) {
    println!("\ntargets ({:.0} s in all)", report.seconds);
    for target in &report.targets {
        let verdict = match (target.met, target.close) {
            (true, false) => "met",
            (true, true) => "met, closely",
            (false, true) => "NOT MET, closely",
            (false, false) => "NOT MET",
        };
        println!("\n  {verdict:<16}  {}", target.name);
        println!("  {:<16}  {}", "target", target.target);
        println!("  {:<16}  {}", "figure", target.figure);
    }
    let met = report.targets.iter().filter(|target| target.met).count();
    println!("\n{met} of {} targets met", report.targets.len());
}
