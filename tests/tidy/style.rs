//! How long things are, and what is said nowhere.

use super::source::{Source, code, words};

const LINE_CHARS: usize = 100;

const FILE_LINES: usize = 500;

const FUNCTION_LINES: usize = 70;

/// Said nowhere: what is unfinished, and what is left over.
pub(super) const BANNED: &[&str] = &[
    "todo!",
    "unimplemented!",
    "dbg!",
    "FIXME",
    "XXX",
    "TODO",
    "#[ignore",
];

pub(super) fn long_lines(source: &Source) -> Vec<String> {
    let is_row = |line: &str| {
        line.trim_start()
            .trim_start_matches(['/', '!'])
            .starts_with(" |")
    };
    let is_long = |line: &str| line.chars().count() > LINE_CHARS;
    let lines = source.lines();
    lines
        // A row of a table cannot be broken.
        .filter(|(_, line)| is_long(line) && !is_row(line))
        .map(|(number, _)| source.finding(number, "a line of more than 100 characters"))
        .collect()
}

pub(super) fn long_file(source: &Source) -> Vec<String> {
    match source.lines_above_tests().count() {
        lines if source.is_product() && lines > FILE_LINES => {
            vec![source.finding(lines, "a file of more than 500 lines")]
        }
        _ => Vec::new(),
    }
}

fn begins_function(line: &str) -> bool {
    let visible = line.trim_start().strip_prefix("pub").unwrap_or(line);
    let words: Vec<&str> = words(visible).collect();
    let before = words
        .iter()
        .position(|&word| word == "fn")
        .unwrap_or(usize::MAX);
    let known = [
        "crate", "super", "self", "in", "const", "async", "unsafe", "extern", "C", "engine",
    ];
    before < words.len() && words[..before].iter().all(|word| known.contains(word))
}

/// A function ends where a line of its own indentation closes it: `rustfmt` sees to that.
pub(super) fn long_functions(source: &Source) -> Vec<String> {
    let lines: Vec<&str> = source.text.lines().collect();
    let mut findings = Vec::new();
    for (at, line) in lines
        .iter()
        .enumerate()
        .filter(|(_, line)| begins_function(line))
    {
        let indent = &line[..line.len() - line.trim_start().len()];
        let ends = |line: &&str| {
            let own = line.strip_prefix(indent);
            own.is_some_and(|own| {
                own.starts_with('}') || (own.starts_with(')') && own.ends_with(';'))
            })
        };
        let is_short = line.ends_with(';') || line.ends_with('}');
        let length = match lines[at + 1..].iter().position(ends) {
            Some(more) if !is_short => more + 2,
            _ => 1,
        };
        if length > FUNCTION_LINES {
            findings.push(source.finding(at + 1, format!("a function of {length} lines")));
        }
    }
    findings
}

pub(super) fn banned_words(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    for (number, line) in source.lines() {
        for word in BANNED.iter().filter(|&&word| line.contains(word)) {
            findings.push(source.finding(number, format!("{word} is not for keeping")));
        }
        if source.is_product() && words(code(line)).any(|word| word == "unsafe") {
            findings.push(source.finding(number, "there is nothing unsafe here"));
        }
    }
    findings
}

/// Paths of the machine it was written on.
pub(super) fn machine_paths(source: &Source) -> Vec<String> {
    let is_path = |line: &str| {
        ["work", "root", "home", "farm"]
            .iter()
            .any(|top| line.contains(&format!("/{top}/")))
    };
    let lines = source.lines().filter(|(_, line)| is_path(line));
    lines
        .map(|(number, _)| source.finding(number, "a path of one machine"))
        .collect()
}
