//! The style, executed: what `rustfmt` and the lints cannot say.
//!
//! Each rule is a function from a file to what is wrong in it, and has a test of its own at the
//! end, so that a rule which sees nothing any more is seen.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const LINE_CHARS: usize = 100;
const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;

/// Imports go only downward, or stay on their floor. Floor 1 has two towers that never meet.
const FLOORS: &[(&str, &[&str])] = &[
    ("4", &["engine", "mi", "source"]),
    ("3", &["transport"]),
    ("2", &["registry", "stats", "destination", "origin", "os"]),
    ("1a", &["event", "wire"]),
    ("1b", &["lane", "arena", "snapshot", "parker"]),
    ("0", &["sync", "limits"]),
];

/// What exists only for tests, models and fuzzers. It may see everything.
const SCAFFOLDS: &[&str] = &[
    "src/stress",
    "src/testing",
    "src/engine/rig.rs",
    "src/engine/simulation",
    "src/engine/still.rs",
    "src/registry/oracle.rs",
];

/// Said nowhere: what is unfinished, and what is left over.
const BANNED: &[&str] = &[
    "todo!",
    "unimplemented!",
    "dbg!",
    "FIXME",
    "XXX",
    "TODO",
    "#[ignore",
];

/// Folders of what is not ours to judge: built, or captured elsewhere.
const STRANGE: &[&str] = &["target", ".git", "golden", "corpus", "artifacts"];

/// A file of the repository.
struct Source {
    /// From the root, with `/`.
    path: String,
    text: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether it is part of the library or the daemon, and not only of their tests.
    fn is_product(&self) -> bool {
        let is_scaffold = SCAFFOLDS.iter().any(|path| self.path.starts_with(path));
        self.is_rust()
            && !is_scaffold
            && !self.path.contains("/tests")
            && (self.path.starts_with("src/") || self.path.starts_with("daemon/src/"))
    }

    /// The numbered lines, from 1.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    /// The lines above the tests that stand at the end of the file.
    fn lines_above_tests(&self) -> impl Iterator<Item = (usize, &str)> {
        let is_module =
            |line: &str| line.starts_with("mod ") || line.starts_with("pub(crate) mod ");
        let lines: Vec<&str> = self.text.lines().collect();
        let begin = lines.windows(2).position(|pair| {
            let is_test =
                pair[0].starts_with("#[cfg(test)]") || pair[0].starts_with("#[cfg(all(test");
            is_test && is_module(pair[1]) && pair[1].ends_with('{')
        });
        self.lines().take(begin.unwrap_or(lines.len()))
    }

    fn finding(&self, line: usize, what: impl std::fmt::Display) -> String {
        format!("{}:{line}: {what}", self.path)
    }
}

/// The line without its comment. A `//` in a string counts as one, which does no harm here.
fn code(line: &str) -> &str {
    match line.find("//") {
        // Part of an address, such as `http://`.
        Some(at) if !line[..at].ends_with(':') => &line[..at],
        _ => line,
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| !word.is_empty())
}

fn long_lines(source: &Source) -> Vec<String> {
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

fn long_file(source: &Source) -> Vec<String> {
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
fn long_functions(source: &Source) -> Vec<String> {
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

fn floor_of(module: &str) -> Option<&'static str> {
    let floor = FLOORS.iter().find(|(_, modules)| modules.contains(&module));
    floor.map(|(floor, _)| *floor)
}

/// The top-level modules that the text names after `crate::`, with their lines.
fn imports(source: &Source) -> Vec<(usize, String)> {
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

fn upward_imports(source: &Source) -> Vec<String> {
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

/// The tags of the form `SYNC(module.edge)`, with their lines.
fn tags(source: &Source) -> Vec<(usize, String)> {
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
fn untagged_orderings(source: &Source) -> Vec<String> {
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
fn bypasses(source: &Source) -> Vec<String> {
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

fn banned_words(source: &Source) -> Vec<String> {
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
fn machine_paths(source: &Source) -> Vec<String> {
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

/// A row of the table of orderings.
#[derive(Debug, PartialEq)]
struct Row {
    tag: String,
    model: String,
    mutants: Vec<String>,
}

/// The rows `| tag | writer | reader | what becomes visible | model | mutants |`.
fn rows(page: &str) -> Vec<Row> {
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
fn models_of(patch: &str) -> Vec<String> {
    let lines = patch.lines().map_while(|line| line.strip_prefix("Model: "));
    lines.map(|model| model.replace(' ', "::")).collect()
}

/// The tests in a file of models: `file::test`.
fn models_in(source: &Source) -> Vec<String> {
    let name = Path::new(&source.path).file_stem().unwrap_or_default();
    let lines: Vec<&str> = source.text.lines().collect();
    let tests = lines.windows(2).filter(|pair| pair[0] == "#[test]");
    tests
        .filter_map(|pair| words(pair[1]).nth(1))
        .map(|test| format!("{}::{test}", name.display()))
        .collect()
}

/// Each edge has two sides and a row, each row a model, each model a mutant.
fn unproved(
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

/// The text files of the repository.
fn repository() -> Vec<Source> {
    fn gather(folder: &Path, root: &Path, sources: &mut Vec<Source>) {
        let entries = fs::read_dir(folder).expect("a folder of the repository");
        for entry in entries {
            let path = entry.expect("an entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if STRANGE.contains(&&*name) || path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                gather(&path, root, sources);
                continue;
            }
            // What is not text has no style.
            let Ok(text) = fs::read_to_string(&path) else {
                continue;
            };
            let path = path.strip_prefix(root).expect("below the root");
            sources.push(Source::new(&path.to_string_lossy(), &text));
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    gather(root, root, &mut sources);
    assert!(sources.len() > 100, "found the repository");
    sources
}

/// What the rule says of the files. This one names what it forbids.
fn assert_tidy(rule: impl Fn(&Source) -> Vec<String>, is_meant: impl Fn(&Source) -> bool) {
    let sources = repository();
    let meant = sources
        .iter()
        .filter(|source| source.path != "tests/tidy.rs" && is_meant(source));
    let findings: Vec<String> = meant.flat_map(rule).collect();
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn lines_files_and_functions_are_short() {
    assert_tidy(long_lines, Source::is_rust);
    assert_tidy(long_file, Source::is_rust);
    assert_tidy(long_functions, Source::is_product);
}

#[test]
fn imports_go_downward() {
    assert_tidy(upward_imports, Source::is_rust);
}

#[test]
fn orderings_name_their_edges() {
    assert_tidy(untagged_orderings, Source::is_rust);
    assert_tidy(bypasses, Source::is_rust);
}

#[test]
fn nothing_is_unfinished_or_unsafe() {
    assert_tidy(banned_words, Source::is_rust);
}

#[test]
fn no_path_is_of_one_machine() {
    assert_tidy(machine_paths, |source| !source.path.ends_with(".lock"));
}

#[test]
fn each_edge_has_a_model_and_each_model_a_mutant() {
    let sources = repository();
    let product = sources.iter().filter(|source| source.is_product());
    let tagged: Vec<(String, String)> = product
        .flat_map(|source| {
            let found = tags(source).into_iter();
            found.map(|(line, tag)| (tag, format!("{}:{line}", source.path)))
        })
        .collect();
    let below = |folder: &'static str, end: &'static str| {
        sources
            .iter()
            .filter(move |source| source.path.starts_with(folder) && source.path.ends_with(end))
    };
    let page = below("src/manual/orderings", ".md")
        .next()
        .expect("the page");
    let models = below("loom-tests/tests/", ".rs")
        .flat_map(models_in)
        .collect();
    let mutants = below("loom-tests/patches/", ".patch")
        .map(|source| {
            let name = Path::new(&source.path).file_stem().unwrap_or_default();
            (name.to_string_lossy().into_owned(), models_of(&source.text))
        })
        .collect();
    let rows = rows(&page.text);
    assert!(rows.len() > 3 && tagged.len() > 6, "found the edges");
    let findings = unproved(&tagged, &rows, &models, &mutants);
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

mod rules {
    use super::*;

    fn find(rule: fn(&Source) -> Vec<String>, path: &str, text: &str) -> Vec<String> {
        rule(&Source::new(path, text))
    }

    fn says(rule: fn(&Source) -> Vec<String>, path: &str, text: &str) -> usize {
        find(rule, path, text).len()
    }

    #[test]
    fn a_long_line_is_found() {
        let fits = "é".repeat(100);
        assert_eq!(says(long_lines, "src/a.rs", &fits), 0);
        assert_eq!(says(long_lines, "src/a.rs", &format!("\n{fits}e")), 1);
        assert_eq!(says(long_lines, "src/a.rs", &format!("//! | {fits} |")), 0);
    }

    #[test]
    fn a_long_file_is_found_and_its_tests_do_not_count() {
        let full = "//\n".repeat(500);
        let tests = format!("{full}#[cfg(test)]\nmod tests {{\n{full}}}\n");
        let elsewhere = format!("{full}#[cfg(test)]\nmod tests;\n");
        assert_eq!(says(long_file, "src/a.rs", &full), 0);
        assert_eq!(says(long_file, "src/a.rs", &tests), 0);
        assert_eq!(says(long_file, "src/a.rs", &elsewhere), 1);
        assert_eq!(says(long_file, "src/a.rs", &(full.clone() + "//\n")), 1);
        assert_eq!(says(long_file, "tests/a.rs", &full.repeat(2)), 0);
    }

    #[test]
    fn a_long_function_is_found() {
        let of = |head: &str, lines: usize| {
            let body = "        x();\n".repeat(lines - 2);
            format!("impl A {{\n    {head} {{\n{body}    }}\n}}\n")
        };
        for head in [
            "fn a()",
            "pub(crate) const fn a<T>(b: T) -> C",
            "pub async fn a()",
        ] {
            assert_eq!(says(long_functions, "a.rs", &of(head, 70)), 0, "{head}");
            assert_eq!(says(long_functions, "a.rs", &of(head, 71)), 1, "{head}");
        }
        let declared = "    fn a(\n        b: C,\n    );\n".to_owned() + &of("fn a()", 70);
        assert_eq!(says(long_functions, "a.rs", &declared), 0);
        assert_eq!(says(long_functions, "a.rs", &of("let f = |fn_: A|", 90)), 0);
    }

    #[test]
    fn an_upward_import_is_found() {
        let up = [
            ("src/lane.rs", "use crate::engine::Core;"),
            ("src/registry/shelf.rs", "use crate::transport;"),
            ("src/lane.rs", "use crate::event::Name;"),
            ("src/wire/text.rs", "fn a() -> crate::parker::Nap {}"),
            (
                "src/stats.rs",
                "use crate::{\n    sync::{Mutex, fence},\n    mi::Mi,\n};",
            ),
            ("src/stats.rs", "use crate::Engine;"),
            ("src/brand_new.rs", ""),
        ];
        for (path, text) in up {
            assert_eq!(says(upward_imports, path, text), 1, "{path}: {text}");
        }
        let down = [
            (
                "src/engine/raise.rs",
                "use crate::lane::Lanes;\nuse crate::engine::Config;",
            ),
            (
                "src/registry/mod.rs",
                "use crate::stats::Page; // crate::engine",
            ),
            (
                "src/registry/mod.rs",
                "#[cfg(test)]\nmod tests {\n    use crate::engine::X;\n}",
            ),
            ("src/stats.rs", "use crate::{sync::{Mutex, fence}, limits};"),
            ("src/lib.rs", "pub use crate::engine::Engine;"),
            ("daemon/src/main.rs", "use crate::settings::Settings;"),
        ];
        for (path, text) in down {
            assert_eq!(find(upward_imports, path, text), [""; 0], "{path}: {text}");
        }
    }

    #[test]
    fn an_ordering_without_an_edge_is_found() {
        let bad = [
            "a.store(1, Release);",
            "// why not\na.load(Acquire);",
            "// SYNC(a.b)\nx();\na.load(Acquire);",
            "full_fence();",
            "a.load(SeqCst); // SYNC(a.b)",
        ];
        for text in bad {
            assert_eq!(says(untagged_orderings, "src/a.rs", text), 1, "{text}");
        }
        let good = [
            "a.store(1, Release); // SYNC(a.b): it is there",
            "// SYNC(a.b): it is\n// there\na.load(Acquire);",
            "use crate::sync::atomic::Ordering::{Acquire, Release};",
            "a.load(Relaxed); // no Acquire",
            "#[cfg(all(test, not(loom)))]\nmod tests {\n    a.load(SeqCst);\n}",
        ];
        for text in good {
            assert_eq!(
                find(untagged_orderings, "src/a.rs", text),
                [""; 0],
                "{text}"
            );
        }
        assert_eq!(says(untagged_orderings, "daemon/src/a.rs", bad[0]), 0);
    }

    #[test]
    fn a_way_round_the_facade_is_found() {
        assert_eq!(
            says(bypasses, "src/lane.rs", "use std::sync::atomic::AtomicU8;"),
            1
        );
        assert_eq!(
            says(bypasses, "src/lane.rs", "use crossbeam::queue::SegQueue;"),
            1
        );
        assert_eq!(says(bypasses, "src/sync.rs", "use std::sync::atomic;"), 0);
        assert_eq!(
            says(bypasses, "daemon/src/main.rs", "use std::sync::atomic;"),
            0
        );
    }

    #[test]
    fn a_banned_word_is_found() {
        for word in BANNED {
            let line = format!("x(); // {word}");
            assert_eq!(says(banned_words, "tests/a.rs", &line), 1, "{word}");
        }
        assert_eq!(says(banned_words, "src/a.rs", "unsafe { x() }"), 1);
        assert_eq!(
            says(
                banned_words,
                "src/a.rs",
                "#![forbid(unsafe_code)] // unsafe"
            ),
            0
        );
    }

    #[test]
    fn a_path_of_one_machine_is_found() {
        for top in ["work", "root", "home"] {
            let line = format!("see /{top}/me");
            assert_eq!(says(machine_paths, "README.md", &line), 1, "{top}");
        }
        assert_eq!(says(machine_paths, "README.md", "the work/home balance"), 0);
    }

    const PAGE: &str = "\
| edge | writer | reader | visible | model | mutants |
|---|---|---|---|---|---|
| `a.b` | `x` | `y` | all | `a::holds` | `a-broken`, `a-bent` |
| `c` | too short |
";

    fn unproved_with(tags: &[&str], models: &[&str], mutants: &[(&str, &[&str])]) -> Vec<String> {
        let tagged: Vec<_> = tags
            .iter()
            .map(|tag| (tag.to_string(), String::new()))
            .collect();
        let models = models.iter().map(|model| model.to_string()).collect();
        let owned = |by: &[&str]| by.iter().map(|model| model.to_string()).collect();
        let mutants = mutants
            .iter()
            .map(|(name, by)| (name.to_string(), owned(by)));
        unproved(&tagged, &rows(PAGE), &models, &mutants.collect())
    }

    #[test]
    fn an_edge_without_proof_is_found() {
        let mutants: &[(&str, &[&str])] = &[("a-broken", &["a::holds"]), ("a-bent", &["a::holds"])];
        let good = unproved_with(&["a.b", "a.b"], &["a::holds"], mutants);
        assert_eq!(good, [""; 0]);
        let bad = [
            unproved_with(&["a.b"], &["a::holds"], mutants),
            unproved_with(&["a.b", "a.b", "d.e", "d.e"], &["a::holds"], mutants),
            unproved_with(&[], &["a::holds"], mutants),
            unproved_with(&["a.b", "a.b"], &["b::holds"], mutants),
            unproved_with(&["a.b", "a.b"], &["a::holds"], &mutants[..1]),
            unproved_with(&["a.b", "a.b"], &["a::holds", "b::too"], mutants),
        ];
        for (case, findings) in bad.iter().enumerate() {
            assert!(!findings.is_empty(), "case {case}");
        }
    }

    #[test]
    fn tags_models_and_mutants_are_read() {
        let source = Source::new("src/a.rs", "x(); // SYNC(a.b) SYNC(c.d): both");
        let tags: Vec<String> = tags(&source).into_iter().map(|(_, tag)| tag).collect();
        assert_eq!(tags, ["a.b", "c.d"]);
        assert_eq!(
            models_of("Model: a holds\nModel: b too\nwhy\nModel: c"),
            ["a::holds", "b::too"]
        );
        let source = Source::new("loom-tests/tests/a.rs", "#[test]\nfn holds() {\n");
        assert_eq!(models_in(&source), ["a::holds"]);
        assert_eq!(rows(PAGE).len(), 1);
        assert_eq!(rows(PAGE)[0].mutants, ["a-broken", "a-bent"]);
    }
}
