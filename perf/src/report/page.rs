//! The report as one HTML page that needs nothing else: no script, no font, no other file.

use std::fmt::Write;

use anyhow::Result;

use super::{Chapter, Report, chart, table};
use crate::row::Target;

const STYLE: &str = "
body { font: 16px/1.45 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: #1a1a1a; background: #fff; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem;
         border-bottom: 1px solid #ddd; }
td.value { white-space: nowrap; font-variant-numeric: tabular-nums; text-align: right; }
.met { color: #00663f; font-weight: 600; } .missed { color: #a33b00; font-weight: 600; }
.plots { display: flex; flex-wrap: wrap; gap: 1rem; }
svg { max-width: 100%; height: auto; border: 1px solid #ddd; }
.note { color: #555; }
";

/// The page.
pub(super) fn render(report: &Report) -> Result<String> {
    let mut out = String::new();
    write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width\"/>\n\
         <title>Bellwire: measured</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <h1>Bellwire: measured</h1>\n"
    )?;
    if report.quick {
        out += "<p class=\"missed\">A quick run: it shows that everything works; its figures mean \
                little.</p>\n";
    }
    out += "<table>\n";
    for (title, text) in report.machine.lines() {
        row(&mut out, &[&escape(title), &escape(&text)])?;
    }
    row(&mut out, &["took", &format!("{:.0} s", report.seconds)])?;
    out += "</table>\n";
    targets(&mut out, &report.targets)?;
    for part in &report.scenarios {
        chapter(&mut out, part)?;
    }
    out += "</body>\n</html>\n";
    Ok(out)
}

fn row(out: &mut String, cells: &[&str]) -> Result<()> {
    let cells: String = cells
        .iter()
        .map(|cell| format!("<td>{cell}</td>"))
        .collect();
    writeln!(out, "<tr>{cells}</tr>")?;
    Ok(())
}

fn targets(out: &mut String, targets: &[Target]) -> Result<()> {
    let met = targets.iter().filter(|target| target.met).count();
    writeln!(out, "<h2>Targets: {met} of {} met</h2>", targets.len())?;
    *out += "<p class=\"note\">Ratios are medians over rounds in which subject and yardstick took \
             turns, with a bootstrap interval of 95 %.</p>\n<table>\n\
             <tr><th>what</th><th>target</th><th>figure</th><th>verdict</th></tr>\n";
    for target in targets {
        let verdict = match (target.met, target.close) {
            (true, false) => "<span class=\"met\">met</span>",
            (true, true) => "<span class=\"met\">met, closely</span>",
            (false, true) => "<span class=\"missed\">not met, closely</span>",
            (false, false) => "<span class=\"missed\">not met</span>",
        };
        let figures: Vec<String> = target.figure.split("; ").map(escape).collect();
        let figure = figures.join("<br/>");
        row(
            out,
            &[
                &escape(&target.name),
                &escape(&target.target),
                &figure,
                verdict,
            ],
        )?;
    }
    *out += "</table>\n";
    Ok(())
}

fn chapter(out: &mut String, chapter: &Chapter) -> Result<()> {
    writeln!(
        out,
        "<h2 id=\"{0}\">{0}: {1}</h2>",
        escape(&chapter.name),
        escape(&chapter.what)
    )?;
    if let Some(error) = &chapter.error {
        writeln!(out, "<p class=\"missed\">Failed: {}</p>", escape(error))?;
    }
    *out += "<div class=\"plots\">\n";
    for plot in &chapter.plots {
        *out += &chart::draw(plot)?;
    }
    *out += "</div>\n<table>\n";
    for figure in &chapter.figures {
        let value = escape(&table::value(figure));
        let name = escape(&figure.name);
        writeln!(
            out,
            "<tr><td>{name}</td><td class=\"value\">{value}</td></tr>"
        )?;
    }
    *out += "</table>\n";
    for note in &chapter.notes {
        writeln!(out, "<p class=\"note\">{}</p>", escape(note))?;
    }
    writeln!(out, "<p class=\"note\">{:.0} s</p>", chapter.seconds)?;
    Ok(())
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '&' => escaped += "&amp;",
            '"' => escaped += "&quot;",
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::tests::example;
    use super::*;
    use quick_xml::Reader;
    use quick_xml::events::Event;

    /// The page is written as XML, too, so an XML reader finds every open tag and stray `<`.
    #[test]
    fn the_page_is_well_formed_and_needs_nothing_else() {
        let page = render(&example()).expect("it can be drawn");
        let mut reader = Reader::from_str(&page);
        reader.config_mut().check_end_names = true;
        let (mut depth, mut plots, mut text) = (0, 0, String::new());
        loop {
            match reader.read_event().expect("well-formed") {
                Event::Start(tag) => {
                    depth += 1;
                    plots += usize::from(tag.name().as_ref() == "svg");
                    for attribute in tag.attributes() {
                        let attribute = attribute.expect("well-formed");
                        let key = attribute.key.as_ref();
                        assert!(!matches!(key, "src" | "href"), "another file");
                    }
                }
                Event::End(_) => depth -= 1,
                Event::Text(part) => text += &part,
                Event::Eof => break,
                _ => {}
            }
        }
        assert_eq!((depth, plots), (0, 2));
        assert!(!page.contains("<script") && !page.contains("url("));
        let all = crate::row::Row::ALL.len();
        assert!(text.contains(&format!("1 of {all} met")), "{text}");
        assert!(page.contains("no &lt;socket&gt;") && page.contains("&lt;note&gt;"));
    }
}
