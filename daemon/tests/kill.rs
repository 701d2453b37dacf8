//! kill -9 under load: what the daemon counted as written is in the file, and no line is half.

mod support;

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::Value;
use support::{Daemon, Home, PATIENCE};

/// How often it is killed.
const LIVES: usize = 6;

/// Sends numbered events until nobody takes them any more.
fn send(ingest: &Path, next: &AtomicU64) {
    let socket = UnixDatagram::unbound().unwrap();
    socket.connect(ingest).unwrap();
    let filler = "x".repeat(300);
    loop {
        let n = next.load(Ordering::Relaxed);
        let params = format!(r#"{{"n":{n},"filler":"{filler}"}}"#);
        let event = format!(r#"{{"jsonrpc":"2.0","method":"E_IN","params":{params}}}"#);
        if socket.send(event.as_bytes()).is_err() {
            return;
        }
        next.store(n + 1, Ordering::Relaxed);
    }
}

fn delivered(daemon: &Daemon) -> u64 {
    let answer = daemon.dir.succeed(&["stats", "evi:delivered", "--json"]);
    let answer: Value = serde_json::from_str(&answer).unwrap();
    answer["evi:delivered"].as_u64().unwrap()
}

/// The numbers of the whole lines, which rise; and what stands behind the last of them.
fn read(file: &Path) -> (Vec<u64>, String) {
    let text = fs::read_to_string(file).unwrap_or_default();
    let (lines, rest) = text.rsplit_once('\n').unwrap_or(("", &text));
    let number = |line: &str| {
        let columns: Vec<&str> = line.split(',').collect();
        assert!(
            columns.len() == 3 && columns[0] == "E_IN" && columns[2].len() == 300,
            "not a whole line: {line:?}"
        );
        columns[1].parse().unwrap()
    };
    let numbers: Vec<u64> = lines.lines().map(number).collect();
    assert!(
        numbers.is_sorted_by(|one, other| one < other),
        "each once, in order"
    );
    (numbers, rest.to_owned())
}

#[test]
fn a_killed_daemon_has_written_what_it_counted_and_leaves_no_half_line() {
    let mut home = Home::new();
    fs::create_dir(home.path("files")).unwrap();
    let file = home.path("files/log");
    let next = AtomicU64::new(0);
    let mut before = 0;
    for life in 0..LIVES {
        let configuration = format!(
            "events.declare = [\"E_IN\"]\npolicy.files = \"{}\"\n[[subscribe]]\nevent = \"E_IN\"\n\
             socket = \"flatstore:{}?sync=1\"\n",
            home.path("files").display(),
            file.display()
        );
        let daemon = home.serve(&configuration);
        let (numbers, half) = read(&file);
        assert_eq!(
            half, "",
            "life {life}: who opens the file takes a half line back"
        );
        assert!(
            numbers.len() as u64 >= before,
            "life {life}: nothing else is taken back"
        );
        let begin = numbers.len() as u64;
        let ingest = daemon.dir.run().join("events.sock");
        let counted = thread::scope(|scope| {
            scope.spawn(|| send(&ingest, &next));
            let begun = Instant::now();
            let mut counted = 0;
            // Some lives are short, some are longer.
            while counted < 200 + 300 * life as u64 {
                assert!(begun.elapsed() < PATIENCE, "life {life}: {counted}");
                counted = delivered(&daemon);
            }
            daemon.signal(Signal::KILL);
            counted
        });
        let (status, _, again) = daemon.wait();
        assert!(!status.success());
        home = again;
        let (numbers, _) = read(&file);
        let written = numbers.len() as u64 - begin;
        assert!(written >= counted, "life {life}: {written} of {counted}");
        before = numbers.len() as u64;
    }
    let (numbers, _) = read(&file);
    assert!(numbers.iter().all(|n| *n < next.load(Ordering::Relaxed)));
    assert!(numbers.len() > 200 * LIVES, "{}", numbers.len());
}
