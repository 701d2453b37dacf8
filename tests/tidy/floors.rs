//! Which module imports which.

use super::source::{Source, code, words};

/// Imports go only downward, or stay on their floor. Floor 1 has two towers that never meet.
pub(super) const FLOORS: &[(&str, &[&str])] = &[
    ("4", &["engine", "mi", "source"]),
    ("3", &["transport"]),
    ("2", &["registry", "stats", "destination", "origin", "os"]),
    ("1a", &["event", "wire"]),
    ("1b", &["lane", "arena", "snapshot", "parker"]),
    ("0", &["sync", "limits"]),
];

fn floor_of(module: &str) -> Option<&'static str> {
    let floor = FLOORS.iter().find(|(_, modules)| modules.contains(&module));
    floor.map(|(floor, _)| *floor)
}

/// The top-level modules that the text names after `crate::`, with their lines.
pub(super) fn imports(source: &Source) -> Vec<(usize, String)> {
    let code: Vec<String> = source
        .lines_above_tests()
        .map(|(_, line)| code(line).to_owned() + "\n")
        .collect();
    let text = code.concat();
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let line = text[..at].matches('\n').count() + 1;
        let rest = &text[at + "crate::".len()..];
        let first = |path: &str| words(path).next().map(str::to_owned);
        let Some(list) = rest.strip_prefix('{') else {
            found.extend(first(rest).map(|module| (line, module)));
            continue;
        };
        let (mut depth, mut begin) = (0, 0);
        for (at, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' | '}' if depth == 0 => {
                    found.extend(first(&list[begin..at]).map(|module| (line, module)));
                    begin = at + 1;
                    if c == '}' {
                        break;
                    }
                }
                _ => {}
            }
        }
    }
    found
}

pub(super) fn upward_imports(source: &Source) -> Vec<String> {
    let Some(path) = source
        .path
        .strip_prefix("src/")
        .filter(|_| source.is_product())
    else {
        return Vec::new();
    };
    let own = path.split(['/', '.']).next().unwrap_or_default();
    if ["lib", "manual"].contains(&own) {
        return Vec::new();
    }
    let Some(floor) = floor_of(own) else {
        return vec![source.finding(1, format!("module {own} has no floor: give it one here"))];
    };
    let is_allowed = |module: &str| match floor_of(module) {
        Some(other) => other == floor || other.as_bytes()[0] < floor.as_bytes()[0],
        None => false,
    };
    let upward = imports(source).into_iter();
    upward
        .filter(|(_, module)| !is_allowed(module))
        .map(|(line, module)| source.finding(line, format!("{own} must not see {module}")))
        .collect()
}
