//! Orderings, the edges that they name, and the models that prove those.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::source::{Source, code, words};

/// The tags of the form `SYNC(module.edge)`, with their lines.
pub(super) fn tags(source: &Source) -> Vec<(usize, String)> {
    let in_line = |line: &str| -> Vec<String> {
        let starts = line.split("SYNC(").skip(1);
        starts
            .filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()))
            .collect()
    };
    source
        .lines_above_tests()
        .flat_map(|(number, line)| in_line(line).into_iter().map(move |tag| (number, tag)))
        .collect()
}

/// An ordering stronger than Relaxed says what it is for, on its line or just above.
pub(super) fn untagged_orderings(source: &Source) -> Vec<String> {
    const STRONG: &[&str] = &["Acquire", "Release", "AcqRel", "SeqCst", "full_fence"];
    if !source.is_product() || !source.path.starts_with("src/") {
        return Vec::new();
    }
    let lines: Vec<(usize, &str)> = source.lines_above_tests().collect();
    let mut findings = Vec::new();
    for (at, &(number, line)) in lines.iter().enumerate() {
        let code = code(line);
        let is_import = code.contains("use ") || code.contains("fn full_fence");
        if is_import || !words(code).any(|word| STRONG.contains(&word)) {
            continue;
        }
        let above = lines[..at].iter().rev().map(|(_, line)| line.trim_start());
        let mut above = above.take_while(|line| line.starts_with("//"));
        if source.path == "src/sync.rs" {
            // The one place that may say it: `full_fence`.
        } else if words(code).any(|word| word == "SeqCst") {
            findings.push(source.finding(number, "SeqCst, which only full_fence is"));
        } else if !line.contains("SYNC(") && !above.any(|line| line.contains("SYNC(")) {
            findings.push(source.finding(number, "an ordering that names no edge: SYNC(…)"));
        }
    }
    findings
}

/// The facade is the only way to atomics, so that loom sees them all.
pub(super) fn bypasses(source: &Source) -> Vec<String> {
    let is_facade = source.path == "src/sync.rs" || source.path.starts_with("src/sync/");
    if !source.is_product() || !source.path.starts_with("src/") || is_facade {
        return Vec::new();
    }
    let is_bypass = |line: &str| {
        [
            "std::sync::atomic",
            "core::sync::atomic",
            "arc_swap",
            "crossbeam::queue",
        ]
        .iter()
        .any(|path| code(line).contains(path))
    };
    let lines = source
        .lines_above_tests()
        .filter(|(_, line)| is_bypass(line));
    lines
        .map(|(number, _)| source.finding(number, "goes round crate::sync"))
        .collect()
}

/// A row of the table of orderings.
#[derive(Debug, PartialEq)]
pub(super) struct Row {
    pub(super) tag: String,
    pub(super) model: String,
    pub(super) mutants: Vec<String>,
}

/// The rows `| tag | writer | reader | what becomes visible | model | mutants |`.
pub(super) fn rows(page: &str) -> Vec<Row> {
    let quoted = |cell: &str| -> Vec<String> {
        cell.split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect()
    };
    let cells = |line: &str| -> Vec<Vec<String>> {
        let inside = line.trim().trim_matches('|');
        inside.split('|').map(quoted).collect()
    };
    let lines = page.lines().filter(|line| line.starts_with("| `"));
    lines
        .map(cells)
        .filter(|cells| cells.len() == 6)
        .map(|mut cells| Row {
            mutants: cells.remove(5),
            model: cells.remove(4).concat(),
            tag: cells.remove(0).concat(),
        })
        .collect()
}

/// The models a mutant must be rejected by: `file::test`.
pub(super) fn models_of(patch: &str) -> Vec<String> {
    let lines = patch.lines().map_while(|line| line.strip_prefix("Model: "));
    lines.map(|model| model.replace(' ', "::")).collect()
}

/// The tests in a file of models: `file::test`.
pub(super) fn models_in(source: &Source) -> Vec<String> {
    let name = Path::new(&source.path).file_stem().unwrap_or_default();
    let lines: Vec<&str> = source.text.lines().collect();
    let tests = lines.windows(2).filter(|pair| pair[0] == "#[test]");
    tests
        .filter_map(|pair| words(pair[1]).nth(1))
        .map(|test| format!("{}::{test}", name.display()))
        .collect()
}

/// Each edge has two sides and a row, each row a model, each model a mutant.
pub(super) fn unproved(
    tagged: &[(String, String)],
    rows: &[Row],
    models: &BTreeSet<String>,
    mutants: &BTreeMap<String, Vec<String>>,
) -> Vec<String> {
    let mut findings = Vec::new();
    let mut sides: BTreeMap<&str, usize> = BTreeMap::new();
    for (tag, _) in tagged {
        *sides.entry(tag).or_default() += 1;
    }
    for (tag, place) in tagged {
        if sides[&tag[..]] < 2 {
            findings.push(format!("{place}: {tag} has no other side"));
        }
        if !rows.iter().any(|row| row.tag == *tag) {
            findings.push(format!("{place}: {tag} is not in the table"));
        }
    }
    for row in rows {
        if !sides.contains_key(&row.tag[..]) {
            findings.push(format!("the table has {}, the code does not", row.tag));
        }
        if !models.contains(&row.model) {
            findings.push(format!("{}: there is no model {:?}", row.tag, row.model));
        }
        let rejects = |name: &String| mutants.get(name).is_some_and(|by| by.contains(&row.model));
        if row.mutants.is_empty() || !row.mutants.iter().all(rejects) {
            findings.push(format!(
                "{}: {} must reject its mutants",
                row.tag, row.model
            ));
        }
    }
    for (mutant, by) in mutants {
        if by.is_empty() || !by.iter().all(|model| models.contains(model)) {
            findings.push(format!("mutant {mutant} names no model there is"));
        }
    }
    for model in models {
        if !mutants.values().flatten().any(|by| by == model) {
            findings.push(format!("model {model} has no mutant to reject"));
        }
    }
    findings
}
