//! Each rule finds what it is for.

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
