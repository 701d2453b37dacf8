//! `flatstore:` on real files.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::Mutex;
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

/// What the rotations told, as `reason old new`.
fn rotations(engine: &Engine) -> Arc<Mutex<Vec<[String; 4]>>> {
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    let heard = engine.on("E_FLATSTORE_ROTATION", move |event| {
        let param = |name| event.param(name).unwrap().as_str().unwrap().to_owned();
        let all = ["timestamp", "reason", "filename", "old_filename"].map(param);
        tell.lock().unwrap().push(all);
    });
    heard.unwrap();
    told
}

fn names(directory: &Path) -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    names
}

#[test]
fn lines_are_written_in_both_styles() {
    let directory = TempDir::new();
    let (plain, other) = (directory.file("a.log"), directory.file("b.log"));
    let engine = engine(directory.path(), |_| {});
    subscribe(&engine, &plain, "");
    subscribe(&engine, &other, "?delimiter=;&suppress_event_name=1");
    let event = engine.event("E_G").unwrap();
    event.raise(|p| {
        p.str("ip", "10.0.0.1")
            .int("port", -5060)
            .str("why", "a,b;c\nd");
    });
    event.raise(|_| {});
    event.raise(|p| {
        p.str("", "").str("", "x");
    });
    let stats = settled(&engine);
    assert_eq!(stats.delivered, 6);
    assert_eq!(read(&plain), "E_G,10.0.0.1,-5060,a b;c\\nd\nE_G\nE_G,,x\n");
    assert_eq!(read(&other), "10.0.0.1;-5060;a,b c\\nd\n\n;x\n");
}

#[test]
fn the_configuration_gives_the_defaults() {
    let directory = TempDir::new();
    let (one, two) = (directory.file("one"), directory.file("two"));
    let engine = engine(directory.path(), |config| {
        config.flatstore.delimiter = "|".to_owned();
        config.flatstore.escape_delimiter = Some("!".to_owned());
        config.flatstore.suppress_event_name = true;
    });
    subscribe(&engine, &one, "");
    subscribe(&engine, &two, "?suppress_event_name=0&escape_controls=1");
    raise(&engine, &["a|b", "\r\0\\"]);
    settled(&engine);
    assert_eq!(read(&one), "a!b|\r\0\\\n");
    assert_eq!(read(&two), "E_G|a!b|\\r\\0\\\\\n");
}

#[test]
fn the_file_is_made_when_it_is_subscribed() {
    let directory = TempDir::new();
    let (one, two) = (directory.file("one"), directory.file("two"));
    let engine = engine(directory.path(), |_| {});
    subscribe(&engine, &one, "");
    subscribe(&engine, &two, "?file_permissions=600");
    assert_eq!(read(&one), "");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let umask = mode(&one) ^ 0o644;
    assert_eq!(mode(&one) & !umask, 0o644 & !umask);
    assert_eq!(mode(&two), 0o600);
    // What is there is added to, and keeps its mode.
    fs::write(directory.file("three"), "before\n").unwrap();
    subscribe(&engine, &directory.file("three"), "?file_permissions=600");
    raise(&engine, &["x"]);
    settled(&engine);
    assert_eq!(read(&directory.file("three")), "before\nE_G,x\n");
    assert_eq!(mode(&directory.file("three")), 0o644 & !umask);
}

#[test]
fn no_file_is_written_unless_the_policy_names_a_directory() {
    let directory = TempDir::new();
    let engine = Engine::start(Config::default()).unwrap();
    engine.declare("E_G").unwrap();
    let error = refusal(&engine, &directory.file("a"), "");
    assert!(
        error.contains("no file may be written; see [policy] files"),
        "{error}"
    );
    assert!(engine.subscribe("E_G", "flatstore:a", HOUR).is_err());
    assert!(names(directory.path()).is_empty());
}

#[test]
fn paths_that_lead_elsewhere_or_to_no_file_are_refused() {
    let outside = TempDir::new();
    let directory = TempDir::new();
    let files = directory.file("files");
    fs::create_dir_all(files.join("inner")).unwrap();
    fs::write(outside.file("target"), "").unwrap();
    let link = |name: &str, to: &Path| std::os::unix::fs::symlink(to, files.join(name)).unwrap();
    link("link", &outside.file("target"));
    link("dangling", &outside.file("new"));
    link("directory", outside.path());
    link("inside", &files.join("inner"));
    support::make_fifo(&files.join("fifo"));
    let _listener = std::os::unix::net::UnixListener::bind(files.join("socket")).unwrap();
    let engine = engine(&files, |_| {});
    for (path, why) in [
        (outside.file("a"), "is not below"),
        (directory.file("files-not"), "is not below"),
        (files.clone(), "is not below"),
        ("/etc/passwd".into(), "is not below"),
        ("/dev/null".into(), "is not below"),
        (files.join("../a"), "holds \"..\""),
        (files.join("inner/../../a"), "holds \"..\""),
        (files.join("link"), "symbolic link"),
        (files.join("dangling"), "symbolic link"),
        (files.join("directory/a"), "symbolic link"),
        (files.join("inside/a"), "symbolic link"),
        (files.join("fifo"), "not a regular file"),
        (files.join("socket"), "not a regular file"),
        (files.join("inner"), "is a directory"),
        (files.join("inner/"), "names a directory"),
        (files.join("no/a"), "No such file or directory"),
        (files.join("a\nb"), "control character"),
        (files.join("x".repeat(300)), "File name too long"),
        ("".into(), "names a directory"),
    ] {
        let error = refusal(&engine, &path, "");
        assert!(error.contains(why), "{path:?}: {error}");
    }
    // A device, where the test may make one.
    let device = files.join("null");
    if Command::new("mknod")
        .arg(&device)
        .args(["c", "1", "3"])
        .status()
        .is_ok_and(|s| s.success())
    {
        let error = refusal(&engine, &device, "");
        assert!(error.contains("not a regular file"), "{error}");
    }
    assert_eq!(read(&outside.file("target")), "");
    assert!(!outside.file("new").exists() && !outside.file("a").exists());
    assert!(engine.subscriptions(None).is_empty());
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let directory = TempDir::new();
    let engine = engine(directory.path(), |_| {});
    let path = directory.file("a");
    for (options, why) in [
        ("?colour=red", "unknown option \"colour\""),
        ("?delimiter=", "delimiter is empty"),
        ("?delimiter=%0A", "newline"),
        ("?delimiter=%zz", "bad %"),
        ("?delimiter=%+9", "bad %"),
        ("?escape_delimiter=ab", "as long as the delimiter"),
        ("?file_permissions=777", "read and write bits"),
        ("?file_permissions=9", "octal"),
        ("?rotate_count=-1", "number of lines"),
        ("?rotate_count=x", "number of lines"),
        ("?rotate_size=1t", "k, m or g"),
        ("?rotate_size=99999999999999g", "k, m or g"),
        ("?rotate_period=+1", "number of seconds"),
        ("?sync=yes", "0 or 1"),
        ("?suffix=/x", "cannot end a file's name"),
        ("?suffix=%25Q!", "bad suffix"),
        ("?sync=1&sync", "bad sync"),
        ("?sync=1\n", "control character"),
    ] {
        let error = refusal(&engine, &path, options);
        assert!(error.contains(why), "{options}: {error}");
    }
    assert!(names(directory.path()).is_empty());
    // A question mark that begins no options is part of the name.
    subscribe(&engine, &directory.file("what?"), "");
    subscribe(&engine, &directory.file("a?b?1=2"), "");
    assert!(directory.file("what?").exists() && directory.file("a?b?1=2").exists());
}

#[test]
fn a_file_has_one_set_of_options_and_one_subscription_an_event() {
    let directory = TempDir::new();
    let path = directory.file("a");
    let engine = engine(directory.path(), |_| {});
    subscribe(&engine, &path, "?delimiter=;");
    let error = refusal(&engine, &path, "");
    assert!(error.contains("with other options already"), "{error}");
    let (odd, relative) = (
        format!("flatstore:{}/.//a?delimiter=;", directory.path().display()),
        "flatstore:a?delimiter=%3B",
    );
    for socket in [odd.as_str(), relative] {
        engine
            .subscribe("E_G", socket, Expire::AfterSecs(9))
            .unwrap();
        assert_eq!(only(&engine).expire, Expire::AfterSecs(9));
    }
    assert_eq!(only(&engine).socket, socket(&path, "?delimiter=;"));
    engine.subscribe("E_H", relative, HOUR).unwrap();
    raise(&engine, &["1"]);
    engine.event("E_H").unwrap().raise(|p| {
        p.int("", 2);
    });
    settled(&engine);
    assert_eq!(read(&path), "E_G;1\nE_H;2\n");
    // The path alone names it when it ends.
    assert!(engine.unsubscribe("E_G", &socket(&path, "")).unwrap());
    assert!(!engine.unsubscribe("E_G", &socket(&path, "")).unwrap());
    engine
        .subscribe("E_H", relative, Expire::AfterSecs(0))
        .unwrap();
    // Then it can be subscribed otherwise.
    wait_for("the file to be closed", || {
        engine.subscribe("E_G", &socket(&path, ""), HOUR).ok()
    });
    raise(&engine, &["3"]);
    settled(&engine);
    assert_eq!(read(&path), "E_G;1\nE_H;2\nE_G,3\n");
}

#[test]
fn the_number_of_open_files_is_limited() {
    let directory = TempDir::new();
    let engine = engine(directory.path(), |config| {
        config.flatstore.max_open_sockets = 2
    });
    for name in ["a", "b"] {
        subscribe(&engine, &directory.file(name), "");
        subscribe(&engine, &directory.file(name), "");
    }
    let error = refusal(&engine, &directory.file("c"), "");
    assert!(error.contains("2 files are open already"), "{error}");
    assert!(!directory.file("c").exists());
    engine
        .unsubscribe("E_G", &socket(&directory.file("a"), ""))
        .unwrap();
    wait_for("a place", || {
        engine
            .subscribe("E_G", &socket(&directory.file("c"), ""), HOUR)
            .ok()
    });
}

#[test]
fn a_subscription_ends_on_time_and_closes_its_file() {
    let directory = TempDir::new();
    let path = directory.file("a");
    let engine = engine(directory.path(), |_| {});
    engine
        .subscribe("E_G", &socket(&path, ""), Expire::AfterSecs(1))
        .unwrap();
    raise(&engine, &["1"]);
    settled(&engine);
    let is_open = || {
        fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
            .any(|target| target == path)
    };
    assert!(is_open());
    wait_for("the end", || {
        engine.subscriptions(None).is_empty().then_some(())
    });
    wait_for("the file to be closed", || (!is_open()).then_some(()));
    raise(&engine, &["2"]);
    settled(&engine);
    assert_eq!(read(&path), "E_G,1\n");
}

#[test]
fn a_file_is_rotated_when_it_has_so_many_lines() {
    let directory = TempDir::new();
    let path = directory.file("a");
    let engine = engine(directory.path(), |_| {});
    let told = rotations(&engine);
    subscribe(&engine, &path, "?rotate_count=3&suffix=.%25H%25M%25S%256f");
    for number in 0..8 {
        raise(&engine, &[&number.to_string()]);
    }
    wait_for("two rotations", || {
        (told.lock().unwrap().len() == 2).then_some(())
    });
    settled(&engine);
    let files = names(directory.path());
    let contents: Vec<String> = files.iter().map(|path| read(path)).collect();
    assert_eq!(
        contents,
        [
            "E_G,0\nE_G,1\nE_G,2\n",
            "E_G,3\nE_G,4\nE_G,5\n",
            "E_G,6\nE_G,7\n"
        ]
    );
    for (index, [timestamp, reason, new, old]) in told.lock().unwrap().iter().enumerate() {
        let age = seconds_now() - timestamp.parse::<i64>().unwrap();
        assert!((0..60).contains(&age), "{timestamp}");
        assert_eq!(reason, "count");
        assert_eq!(Path::new(old), files[index]);
        assert_eq!(Path::new(new), files[index + 1]);
    }
}

fn seconds_now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap().as_secs() as i64
}

#[test]
fn a_file_does_not_become_larger_than_it_may() {
    let directory = TempDir::new();
    let engine = engine(directory.path(), |_| {});
    let told = rotations(&engine);
    // What is there counts.
    let path = directory.file("a");
    fs::write(&path, "x".repeat(1000) + "\n").unwrap();
    subscribe(&engine, &path, "?rotate_size=1k");
    raise(&engine, &["small"]);
    settled(&engine);
    assert!(told.lock().unwrap().is_empty());
    raise(&engine, &["this one does not fit"]);
    wait_for("the rotation", || {
        (told.lock().unwrap().len() == 1).then_some(())
    });
    settled(&engine);
    // Without a suffix the name stays: nobody moved the file, so it goes on, counted anew.
    let [_, reason, new, old] = told.lock().unwrap()[0].clone();
    assert_eq!(
        (reason.as_str(), Path::new(&new), Path::new(&old)),
        ("size", &*path, &*path)
    );
    assert!(read(&path).ends_with("E_G,small\nE_G,this one does not fit\n"));
    // A line that is larger than a file may be has a file of its own.
    let path = directory.file("b");
    subscribe(&engine, &path, "?rotate_size=100&suffix=.%256f");
    for value in ["1", &"y".repeat(200), "2"] {
        raise(&engine, &[value]);
    }
    wait_for("the rotations", || {
        (told.lock().unwrap().len() >= 3).then_some(())
    });
    settled(&engine);
    let mut sizes: Vec<u64> = names(directory.path())
        .iter()
        .filter(|path| path.to_string_lossy().contains("/b."))
        .map(|path| fs::metadata(path).unwrap().len())
        .collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [6, 6, 205]);
}

#[test]
fn a_file_is_rotated_with_the_clock_even_if_nothing_comes() {
    let directory = TempDir::new();
    let engine = engine(directory.path(), |_| {});
    let told = rotations(&engine);
    subscribe(
        &engine,
        &directory.file("a"),
        "?rotate_period=1&suffix=.%25s",
    );
    wait_for("three rotations", || {
        (told.lock().unwrap().len() >= 3).then_some(())
    });
    for [timestamp, reason, new, _] in told.lock().unwrap().iter() {
        assert_eq!(reason, "period");
        assert!(
            new.ends_with(&format!("a.{timestamp}")),
            "{new} at {timestamp}"
        );
        assert!(Path::new(new).exists());
    }
}

#[test]
fn a_file_is_rotated_by_command() {
    let directory = TempDir::new();
    let path = directory.file("a");
    let engine = engine(directory.path(), |_| {});
    let told = rotations(&engine);
    subscribe(&engine, &path, "");
    raise(&engine, &["1"]);
    settled(&engine);
    let moved = directory.file("a.1");
    fs::rename(&path, &moved).unwrap();
    // Until the command comes, the moved file is the one.
    raise(&engine, &["2"]);
    settled(&engine);
    engine.rotate_flatstore(path.to_str().unwrap()).unwrap();
    assert_eq!(
        read(&path),
        "",
        "the successor is there when the command returns"
    );
    raise(&engine, &["3"]);
    settled(&engine);
    assert_eq!(
        (read(&moved), read(&path)),
        ("E_G,1\nE_G,2\n".into(), "E_G,3\n".into())
    );
    engine.rotate_flatstore("a").unwrap();
    wait_for("two rotations", || {
        (told.lock().unwrap().len() == 2).then_some(())
    });
    assert_eq!(told.lock().unwrap()[0][1], "mi");
    for unknown in ["/nowhere", "b", "", "../a"] {
        let error = engine.rotate_flatstore(unknown).unwrap_err();
        assert!(
            matches!(error, bellwire::RotateError::Unknown(_)),
            "{error}"
        );
    }
}

#[test]
fn files_are_subscribed_and_rotated_over_the_management_interface() {
    let directory = TempDir::new();
    let path = directory.file("a");
    let engine = engine(directory.path(), |_| {});
    let commands = Commands::new(engine.handle(), Options::default());
    let ask = |method: &str, params: serde_json::Value| {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let reply = commands.answer(request.to_string().as_bytes());
        let reply = String::from_utf8(reply.into_json().unwrap()).unwrap();
        let reply = reply.strip_prefix(r#"{"jsonrpc":"2.0","#).unwrap();
        reply.strip_suffix(r#","id":1}"#).unwrap().to_owned()
    };
    const OK: &str = r#""result":"OK""#;
    const NOT_FOUND: &str = r#""error":{"code":400,"message":"File not found"}"#;
    let flat = socket(&path, "");
    assert_eq!(ask("evi_flat_rotate", json!([path])), NOT_FOUND);
    assert_eq!(ask("event_subscribe", json!(["E_G", flat, 60])), OK);
    raise(&engine, &["1"]);
    settled(&engine);
    fs::rename(&path, directory.file("b")).unwrap();
    assert_eq!(ask("evi_flat_rotate", json!({"path_to_file": path})), OK);
    assert_eq!(ask("event_flatstore:rotate", json!([path])), OK);
    raise(&engine, &["2"]);
    settled(&engine);
    assert_eq!(
        (read(&directory.file("b")), read(&path)),
        ("E_G,1\n".into(), "E_G,2\n".into())
    );
    let listed = ask("subscribers_list", json!(["E_G"]));
    assert!(
        listed.contains(&format!(r#"{{"socket":"{flat}","expire":60,"ttl":"#)),
        "{listed}"
    );
    for bad in [
        directory.path().to_owned(),
        directory.file("no/a"),
        "/etc/passwd".into(),
    ] {
        let error = ask("event_subscribe", json!(["E_H", socket(&bad, "")]));
        let bad_value = r#""error":{"code":400,"message":"Bad parameter value","data":"#;
        assert!(error.starts_with(bad_value), "{error}");
    }
    assert_eq!(ask("event_subscribe", json!(["E_G", flat, 0])), OK);
    wait_for("the file to be closed", || {
        (ask("evi_flat_rotate", json!([path])) == NOT_FOUND).then_some(())
    });
}

#[test]
fn a_rotation_that_fails_leaves_the_old_file() {
    let directory = TempDir::new();
    let inner = directory.file("inner");
    fs::create_dir(&inner).unwrap();
    let path = inner.join("a");
    let engine = engine(directory.path(), |_| {});
    subscribe(&engine, &path, "");
    fs::rename(&inner, directory.file("moved")).unwrap();
    let error = engine.rotate_flatstore(path.to_str().unwrap()).unwrap_err();
    assert!(
        error.to_string().contains("No such file or directory"),
        "{error}"
    );
    raise(&engine, &["1"]);
    assert_eq!(settled(&engine).delivered, 1);
    assert_eq!(read(&directory.file("moved/a")), "E_G,1\n");
}

#[test]
fn lines_that_tell_of_rotations_do_not_rotate_for_ever() {
    let directory = TempDir::new();
    let path = directory.file("a");
    let engine = engine(directory.path(), |_| {});
    let options = "?rotate_count=1";
    subscribe(&engine, &path, options);
    engine
        .subscribe("E_FLATSTORE_ROTATION", &socket(&path, options), HOUR)
        .unwrap();
    let told = rotations(&engine);
    for number in 1..=3 {
        raise(&engine, &[&number.to_string()]);
        let lines = if number == 1 { 1 } else { 2 * number - 1 };
        wait_for("the lines", || {
            (read(&path).lines().count() == lines).then_some(())
        });
        settled(&engine);
    }
    assert_eq!(told.lock().unwrap().len(), 2);
    let text = read(&path);
    let first: Vec<&str> = text
        .lines()
        .map(|line| line.split(',').next().unwrap())
        .collect();
    let [g, r] = ["E_G", "E_FLATSTORE_ROTATION"];
    assert_eq!(first, [g, g, r, g, r]);
}

/// Each number of each raiser, exactly once and in order, whatever file it is in.
fn check_numbers(files: &[PathBuf], raisers: usize, count: usize) {
    let mut seen: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for file in files {
        for line in read(file).lines() {
            let [event, raiser, number] = line.split(',').collect::<Vec<_>>()[..] else {
                panic!("a broken line {line:?} in {file:?}");
            };
            assert_eq!(event, "E_G");
            seen.entry(raiser.parse().unwrap())
                .or_default()
                .push(number.parse().unwrap());
        }
    }
    assert_eq!(seen.len(), raisers);
    for (raiser, numbers) in seen {
        let missing = (0..count).find(|&number| numbers.get(number) != Some(&number));
        assert_eq!((missing, numbers.len()), (None, count), "raiser {raiser}");
    }
}

#[test]
fn rotation_at_full_speed_loses_and_doubles_nothing() {
    const RAISERS: usize = 2;
    const COUNT: usize = 30_000;
    let directory = TempDir::new();
    let path = directory.file("a");
    let engine = engine(directory.path(), |config| {
        config.queue.events = RAISERS * COUNT;
        config.queue.bytes = usize::MAX;
        config.queue.age = Duration::from_secs(600);
    });
    subscribe(
        &engine,
        &path,
        "?rotate_count=777&rotate_size=40k&suffix=.%25s%259f",
    );
    let moved = directory.file("b");
    subscribe(&engine, &moved, "");
    let raising = std::thread::scope(|scope| {
        let raisers: Vec<_> = (0..RAISERS)
            .map(|raiser| {
                let event = engine.event("E_G").unwrap();
                scope.spawn(move || {
                    for number in 0..COUNT {
                        let raised = || {
                            event.raise(|p| {
                                p.uint("", raiser as u64).uint("", number as u64);
                            })
                        };
                        while matches!(raised(), bellwire::Raised::Dropped(Reason::LaneFull)) {
                            std::thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        // The other file is moved away and rotated by command meanwhile.
        let mut times = 0;
        while raisers.iter().any(|raiser| !raiser.is_finished()) {
            fs::rename(&moved, directory.file(&format!("b.{times:06}"))).unwrap();
            engine.rotate_flatstore(moved.to_str().unwrap()).unwrap();
            times += 1;
        }
        times
    });
    let stats = settled(&engine);
    assert_eq!(stats.delivered as usize, 2 * RAISERS * COUNT);
    assert!(raising > 5, "{raising} moves");
    let files = names(directory.path());
    let (counted, mut moves): (Vec<_>, Vec<_>) = files
        .into_iter()
        .partition(|path| path.to_string_lossy().contains("/a."));
    assert!(counted.len() > RAISERS * COUNT / 777);
    for file in &counted {
        assert!(read(file).lines().count() <= 777, "{file:?}");
        assert!(fs::metadata(file).unwrap().len() <= 40 << 10, "{file:?}");
    }
    check_numbers(&counted, RAISERS, COUNT);
    moves.rotate_left(1);
    check_numbers(&moves, RAISERS, COUNT);
}

#[test]
fn a_file_that_was_removed_is_made_again_and_a_directory_is_waited_for() {
    let directory = TempDir::new();
    let inner = directory.file("inner");
    fs::create_dir(&inner).unwrap();
    let path = inner.join("a");
    let engine = engine(directory.path(), |_| {});
    subscribe(&engine, &path, "");
    raise(&engine, &["1"]);
    settled(&engine);
    fs::remove_file(&path).unwrap();
    raise(&engine, &["2"]);
    settled(&engine);
    assert_eq!(read(&path), "E_G,2\n");
    fs::remove_dir_all(&inner).unwrap();
    for number in 0..100 {
        raise(&engine, &[&number.to_string()]);
    }
    let stats = settled(&engine);
    assert_eq!(
        (stats.delivered, stats.dropped.of(Reason::Unreachable)),
        (2, 100)
    );
    let subscription = only(&engine);
    assert_eq!(subscription.last_errno, Some(2));
    let State::Down { error, .. } = &subscription.state else {
        panic!("{subscription:?}")
    };
    assert!(error.contains("No such file or directory"), "{error}");
    fs::create_dir(&inner).unwrap();
    raise(&engine, &["3"]);
    settled(&engine);
    assert_eq!(read(&path), "E_G,3\n");
    assert_eq!(only(&engine).state, State::Up);
}

#[test]
fn a_policy_that_changes_holds_from_the_next_opening() {
    let directory = TempDir::new();
    let path = directory.file("a");
    let engine = engine(directory.path(), |_| {});
    subscribe(&engine, &path, "");
    raise(&engine, &["1"]);
    settled(&engine);
    engine.set_policy(bellwire::transport::Policy::default());
    let error = engine.rotate_flatstore(path.to_str().unwrap()).unwrap_err();
    assert!(
        error.to_string().contains("no file may be written"),
        "{error}"
    );
    raise(&engine, &["2"]);
    let stats = settled(&engine);
    assert_eq!((stats.delivered, stats.dropped.of(Reason::Policy)), (1, 1));
    assert_eq!(read(&path), "E_G,1\n");
    assert_eq!(engine.enforce_policy().len(), 1);
    assert!(engine.subscriptions(None).is_empty());
    assert!(engine.check_socket(&socket(&path, "")).is_err());
}

#[test]
fn long_lines_are_written_whole() {
    let directory = TempDir::new();
    let path = directory.file("a");
    let engine = engine(directory.path(), |_| {});
    subscribe(&engine, &path, "?sync=1");
    let values: Vec<String> = [1, 4095, 4096, 70_000, 250_000]
        .map(|length| "z".repeat(length))
        .into();
    for value in &values {
        raise(&engine, &[value]);
    }
    assert_eq!(settled(&engine).delivered, 5);
    let expected: String = values
        .iter()
        .map(|value| format!("E_G,{value}\n"))
        .collect();
    assert_eq!(read(&path), expected);
}

#[test]
fn any_byte_anywhere_makes_one_line_with_its_columns() {
    let directory = TempDir::new();
    let sockets = [
        ("a", "", ","),
        ("b", "?delimiter=;&suppress_event_name=1", ";"),
        ("c", "?delimiter=::&escape_delimiter=%23%23", "::"),
        ("d", "?delimiter=%09&escape_controls=1", "\t"),
        ("e", "?delimiter=n", "n"),
    ];
    let engine = engine(directory.path(), |_| {});
    for (name, options, _) in sockets {
        subscribe(&engine, &directory.file(name), options);
    }
    let event = engine.event("E_G").unwrap();
    let mut raised = 0;
    for byte in 0..=255_u8 {
        for value in [
            vec![byte],
            vec![byte, b'x'],
            vec![b'x', byte],
            vec![b'x', byte, b'y'],
            vec![byte, byte],
        ] {
            event.raise(|p| {
                p.str("first", "1")
                    .bytes("second", &value)
                    .bytes("third", &value);
            });
            event.raise(|p| {
                // A name is never written.
                p.str(&String::from_utf8_lossy(&value), "1")
                    .str("b", "2")
                    .str("c", "3");
            });
            raised += 2;
        }
        settled(&engine);
    }
    for (name, options, delimiter) in sockets {
        let text = read(&directory.file(name));
        let lines: Vec<&str> = text.split_terminator('\n').collect();
        assert_eq!(lines.len(), raised, "{name}");
        let columns = if options.contains("suppress") { 3 } else { 4 };
        for line in lines {
            assert_eq!(line.split(delimiter).count(), columns, "{name}: {line:?}");
        }
    }
}

#[test]
fn what_is_left_at_a_shutdown_is_written_first() {
    let directory = TempDir::new();
    let path = directory.file("a");
    let engine = engine(directory.path(), |_| {});
    subscribe(&engine, &path, "?sync=1");
    for number in 0..3000 {
        raise(&engine, &[&number.to_string()]);
    }
    let stats = engine.shutdown(Duration::from_secs(20));
    assert_eq!(stats.delivered + stats.dropped_before.total(), 3000);
    assert_eq!(read(&path).lines().count() as u64, stats.delivered);
}
