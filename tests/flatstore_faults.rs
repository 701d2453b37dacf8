//! `flatstore:` when the disk is full or read-only, and when the process is killed.
//!
//! Some of it happens in a child: this program again, with only the test `child`.

mod support;

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::net::UdpSocket;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use bellwire::Config;
use bellwire::Engine;
use bellwire::Event;
use bellwire::Expire;
use bellwire::Raised;
use bellwire::Reason;
use bellwire::State;
use bellwire::Stats;
use support::Random;
use support::TempDir;
use support::wait_for;

const HOUR: Expire = Expire::AfterSecs(3600);
const ROLE: &str = "BELLWIRE_TEST_ROLE";
const PLACE: &str = "BELLWIRE_TEST_PLACE";

fn engine(directory: &Path) -> Engine {
    let mut config = Config::default();
    config.policy.files = Some(directory.to_owned());
    let engine = Engine::start(config).unwrap();
    engine.declare("E_G").unwrap();
    engine.declare("E_H").unwrap();
    engine
}

/// Raises, again if there was no room.
fn raise(event: &Event, value: &str) {
    while event.raise(|p| {
        p.str("", value);
    }) == Raised::Dropped(Reason::LaneFull)
    {
        std::thread::yield_now();
    }
}

fn settled(engine: &Engine) -> Stats {
    wait_for("all outcomes", || {
        let stats = engine.stats();
        let is_settled = stats.in_lanes == 0
            && stats.in_flight == 0
            && stats.raised == stats.fanned_out + stats.dropped_before.total();
        is_settled.then_some(stats)
    })
}

fn subscribe(engine: &Engine, path: &Path, options: &str) {
    let socket = format!("flatstore:{}{options}", path.display());
    engine.subscribe("E_G", &socket, HOUR).unwrap();
}

/// How the first file subscribed to E_G does.
fn state(engine: &Engine) -> State {
    let all = engine.subscriptions(Some("E_G"));
    let file = all
        .iter()
        .find(|one| one.socket.starts_with("flatstore:"))
        .unwrap();
    file.state.clone()
}

/// This program as a child that plays that role.
fn start(role: &str, place: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env(PLACE, place);
    command
}

/// Nothing, unless it is run by another test.
#[test]
fn child() {
    let place = || PathBuf::from(std::env::var(PLACE).unwrap());
    match std::env::var(ROLE).as_deref() {
        Ok("writer") => write_until_killed(&place()),
        Ok("limited") => fill_a_limited_file(&place()),
        _ => {}
    }
}

/// Raises two events in two threads, and says how many of each were delivered.
fn write_until_killed(place: &Path) {
    let round = std::env::var("ROUND").unwrap();
    // What the kernel has survives the process, synced or not.
    let options = ["?sync=1", "?sync=0"][usize::from(round.ends_with(['1', '3', '5', '7', '9']))];
    let engine = engine(place);
    subscribe(&engine, &place.join("a"), options);
    let socket = format!("flatstore:{}{options}", place.join("a").display());
    engine.subscribe("E_H", &socket, HOUR).unwrap();
    std::thread::scope(|scope| {
        for name in ["E_G", "E_H"] {
            let (engine, round) = (&engine, &round);
            scope.spawn(move || {
                let event = engine.event(name).unwrap();
                for number in 0_u64.. {
                    // Nothing may be dropped: then what was delivered is what was raised first.
                    while number % 64 == 0 && {
                        let stats = engine.event_stats(name).unwrap();
                        stats.raised - stats.delivered > 2000
                    } {
                        std::thread::yield_now();
                    }
                    raise(
                        &event,
                        &format!("{round} {number} {}", "x".repeat(number as usize % 97)),
                    );
                }
            });
        }
        let delivered = |name| {
            let stats = engine.event_stats(name).unwrap();
            if stats.dropped.total() > 0 {
                eprintln!("dropped: {stats:?}");
                std::process::abort();
            }
            stats.delivered
        };
        let mut out = std::io::stdout();
        let mut told = [0; 2];
        loop {
            let counts = [delivered("E_G"), delivered("E_H")];
            if counts != told {
                writeln!(out, "on disk {} {}", counts[0], counts[1]).unwrap();
                told = counts;
            }
        }
    });
}

/// The counts that a writer told before it was killed: when both had reached that many.
fn told_until_killed(mut writer: Child, enough: u64) -> [u64; 2] {
    let mut last = [0; 2];
    for line in BufReader::new(writer.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let Some((_, counts)) = line.split_once("on disk ") else {
            continue;
        };
        let counts: Vec<u64> = counts.split(' ').filter_map(|n| n.parse().ok()).collect();
        // The last one can be cut.
        if let [g, h] = counts[..]
            && g >= last[0]
            && h >= last[1]
        {
            last = [g, h];
        }
        if last[0].min(last[1]) >= enough {
            writer.kill().unwrap();
        }
    }
    let status = writer.wait().unwrap();
    assert_eq!(status.signal(), Some(9), "{status}");
    last
}

#[test]
fn no_line_that_was_counted_is_lost_when_the_process_is_killed() {
    const ROUNDS: usize = 16;
    let directory = TempDir::new();
    let path = directory.file("a");
    let mut random = Random(0x5eed);
    let mut torn = 0;
    let mut on_disk = Vec::new();
    for round in 0..ROUNDS {
        let writer = start("writer", directory.path())
            .env("ROUND", round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let counts = told_until_killed(writer, 1 + random.next() % 4000);
        on_disk.push(counts);
        // A killed process can leave half a line at the very end. The next to open it, such as
        // the writer of the next round, takes it back.
        let text = fs::read(&path).unwrap();
        if !text.ends_with(b"\n") {
            torn += 1;
            let engine = engine(directory.path());
            subscribe(&engine, &path, "?sync=1");
            let whole = text.len() - text.rsplit(|&byte| byte == b'\n').next().unwrap().len();
            assert_eq!(fs::read(&path).unwrap(), text[..whole]);
        }
    }
    println!("{torn} of {ROUNDS} kills left half a line");
    let text = fs::read_to_string(&path).unwrap();
    let mut next = vec![[0_u64; 2]; ROUNDS];
    for line in text.lines() {
        let (event, rest) = line.split_once(',').unwrap_or_else(|| panic!("{line:?}"));
        let parts: Vec<&str> = rest.split(' ').collect();
        let [round, number, filler] = parts[..] else {
            panic!("{line:?}");
        };
        let number: u64 = number.parse().unwrap();
        assert_eq!(filler.len() as u64, number % 97, "{line:?}");
        let next = &mut next[round.parse::<usize>().unwrap()][usize::from(event == "E_H")];
        assert_eq!(number, *next, "{line:?}");
        *next += 1;
    }
    assert!(
        on_disk
            .iter()
            .any(|counts| counts[0] > 100 && counts[1] > 100),
        "{on_disk:?}"
    );
    for (there, told) in next.iter().zip(&on_disk) {
        assert!(
            there[0] >= told[0] && there[1] >= told[1],
            "{there:?} of {told:?}"
        );
    }
}

/// A small file system in memory, if this process may mount one.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(path: PathBuf, options: &str) -> Option<Self> {
        fs::create_dir(&path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(&path)
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(path)),
            output => {
                println!("cannot mount a small file system, the rest is not tested: {output:?}");
                None
            }
        }
    }

    fn remount(&self, options: &str) {
        let status = Command::new("mount")
            .args(["-o", &format!("remount,{options}")])
            .arg(&self.0)
            .status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

#[test]
fn a_full_disk_drops_whole_lines_and_recovers() {
    let directory = TempDir::new();
    let Some(small) = Tmpfs::mount(directory.file("small"), "size=256k") else {
        return;
    };
    let path = small.0.join("a");
    let ballast = small.0.join("ballast");
    let engine = engine(&small.0);
    subscribe(&engine, &path, "");
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let udp = format!("udp:{}", receiver.local_addr().unwrap());
    engine.subscribe("E_G", &udp, HOUR).unwrap();
    receiver.set_nonblocking(true).unwrap();
    let event = engine.event("E_G").unwrap();
    let mut lines: Vec<String> = Vec::new();
    for round in 0..40_u64 {
        // Room for some pages; the line that does not fit is cut at another byte each time.
        let mut file = fs::File::create(&ballast).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        let pages = fs::metadata(&ballast).unwrap().len() / 4096;
        file.set_len((pages - round % 3) * 4096).unwrap();
        drop(file);
        let before = settled(&engine);
        let mut texts = Vec::new();
        for number in 0..60 {
            let length = 100 + (number * 37 + round * 11) % 300;
            let text = format!("{round} {number} {}", "x".repeat(length as usize));
            raise(&event, &text);
            texts.push(format!("E_G,{text}\n"));
            // In half of the rounds one by one, so that no two are written together.
            if round % 2 == 0 {
                settled(&engine);
            }
        }
        let stats = settled(&engine);
        let failed = stats.dropped.of(Reason::Other) - before.dropped.of(Reason::Other);
        assert!(failed > 0, "round {round}: the disk did not fill");
        let State::Down { error, .. } = state(&engine) else {
            panic!("{:?}", state(&engine));
        };
        assert_eq!(error, "cannot write: No space left on device");
        // Whatever was counted as delivered is there whole, in order, and nothing else.
        let text = fs::read_to_string(&path).unwrap();
        let known = lines.concat();
        let mut expected = texts.iter();
        for line in text.strip_prefix(&known).unwrap().split_inclusive('\n') {
            assert!(expected.any(|expected| expected == line), "{line:?}");
            lines.push(line.to_owned());
        }
        let written = lines.len() - known.lines().count();
        assert_eq!(written as u64 + failed, 60);
        // Two matches an event: the datagram, which always arrives, and the line.
        assert_eq!(stats.delivered - before.delivered, 60 + written as u64);
        let mut buffer = [0; 2048];
        let received = std::iter::from_fn(|| receiver.recv(&mut buffer).ok()).count();
        assert_eq!(received, 60);
        // Room again: it recovers with the next event.
        fs::remove_file(&ballast).unwrap();
        if known.len() > 100_000 {
            fs::remove_file(&path).unwrap();
            lines.clear();
        }
        raise(&event, "again");
        settled(&engine);
        assert!(receiver.recv(&mut buffer).is_ok());
        assert_eq!(state(&engine), State::Up);
        lines.push("E_G,again\n".to_owned());
        assert_eq!(fs::read_to_string(&path).unwrap(), lines.concat());
    }
}

#[test]
fn a_read_only_disk_is_refused_and_taken_when_it_is_not() {
    let directory = TempDir::new();
    let Some(small) = Tmpfs::mount(directory.file("small"), "size=1m") else {
        return;
    };
    fs::write(small.0.join("old"), "").unwrap();
    small.remount("ro");
    let engine = engine(&small.0);
    for name in ["old", "new"] {
        let socket = format!("flatstore:{}", small.0.join(name).display());
        let error = engine.subscribe("E_G", &socket, HOUR).unwrap_err();
        assert!(
            error.to_string().contains("Read-only file system"),
            "{error}"
        );
    }
    small.remount("rw");
    subscribe(&engine, &small.0.join("new"), "");
    raise(&engine.event("E_G").unwrap(), "1");
    settled(&engine);
    assert_eq!(fs::read_to_string(small.0.join("new")).unwrap(), "E_G,1\n");
}

/// In a child whose files can have 16 KiB: stands for a quota.
fn fill_a_limited_file(place: &Path) {
    let path = place.join("a");
    let engine = engine(place);
    subscribe(&engine, &path, "?sync=1");
    let event = engine.event("E_G").unwrap();
    for number in 0..300 {
        raise(&event, &format!("{number} {}", "x".repeat(100)));
    }
    let stats = settled(&engine);
    assert!(
        stats.delivered > 100 && stats.dropped.of(Reason::Other) > 100,
        "{stats:?}"
    );
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.ends_with('\n') && text.len() <= 16 << 10);
    assert_eq!(text.lines().count() as u64, stats.delivered);
    let State::Down { error, .. } = state(&engine) else {
        panic!()
    };
    assert_eq!(error, "cannot write: File too large");
    // Another file has room.
    fs::rename(&path, place.join("a.1")).unwrap();
    engine.rotate_flatstore(path.to_str().unwrap()).unwrap();
    raise(&event, "again");
    assert_eq!(settled(&engine).delivered, stats.delivered + 1);
    assert_eq!(state(&engine), State::Up);
    assert_eq!(fs::read_to_string(&path).unwrap(), "E_G,again\n");
}

#[test]
fn a_file_that_may_not_grow_drops_whole_lines_and_recovers_in_the_next() {
    let directory = TempDir::new();
    let limited = start("limited", directory.path());
    // 32 blocks of 512 bytes; without the signal, which would end the process.
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 32; exec \"$0\" \"$@\""])
        .arg(limited.get_program())
        .args(limited.get_args())
        .env(ROLE, "limited")
        .env(PLACE, directory.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(directory.file("a.1").exists());
}
