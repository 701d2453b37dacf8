//! The style, executed: what `rustfmt` and the lints cannot say.
//!
//! Each rule is a function from a file to what is wrong in it, and has a test of its own in
//! `rules`, so that a rule which sees nothing any more is seen.

mod floors;
mod orderings;
mod rules;
mod source;
mod style;

use std::path::Path;

use floors::*;
use orderings::*;
use source::*;
use style::*;

/// What the rule says of the files. These here name what they forbid.
fn assert_tidy(rule: impl Fn(&Source) -> Vec<String>, is_meant: impl Fn(&Source) -> bool) {
    let sources = repository();
    let meant = sources
        .iter()
        .filter(|source| !source.path.starts_with("tests/tidy/") && is_meant(source));
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
