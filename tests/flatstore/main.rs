//! `flatstore:` on real files.

mod file;
mod lines;
mod rotation;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bellwire::Config;
use bellwire::Engine;
use bellwire::Expire;
use bellwire::Reason;
use bellwire::State;
use bellwire::Subscription;
use bellwire::mi::Commands;
use bellwire::mi::Options;
use serde_json::json;
use support::TempDir;
use support::engine::settled;
use support::wait_for;

const HOUR: Expire = Expire::AfterSecs(3600);

/// An engine that may write below that directory, with two events.
fn engine(directory: &Path, change: impl FnOnce(&mut Config)) -> Engine {
    let mut config = Config::default();
    config.policy.files = Some(directory.to_owned());
    change(&mut config);
    let engine = Engine::start(config).unwrap();
    for event in ["E_G", "E_H", "E_FLATSTORE_ROTATION"] {
        engine.declare(event).unwrap();
    }
    engine
}

fn raise(engine: &Engine, values: &[&str]) {
    let event = engine.event("E_G").unwrap();
    event.raise(|p| {
        for value in values {
            p.str("", value);
        }
    });
}

fn only(engine: &Engine) -> Subscription {
    support::engine::only(engine, "E_G")
}

fn socket(path: &Path, options: &str) -> String {
    format!("flatstore:{}{options}", path.display())
}

fn subscribe(engine: &Engine, path: &Path, options: &str) {
    let socket = socket(path, options);
    engine.subscribe("E_G", &socket, HOUR).unwrap();
}

fn refusal(engine: &Engine, path: &Path, options: &str) -> String {
    let socket = socket(path, options);
    engine
        .subscribe("E_G", &socket, HOUR)
        .unwrap_err()
        .to_string()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn names(directory: &Path) -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    names
}
