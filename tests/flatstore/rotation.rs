//! When a file gives way to the next.

use super::*;

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
    const MOVES: usize = 6;
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
    let times = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let raisers: Vec<_> = (0..RAISERS)
            .map(|raiser| {
                let event = engine.event("E_G").unwrap();
                let times = &times;
                scope.spawn(move || {
                    for number in 0..COUNT {
                        // The last come when the file was moved some times.
                        if number == COUNT - 1000 {
                            wait_for("the moves", || (times.load(Relaxed) >= MOVES).then_some(()));
                        }
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
        while raisers.iter().any(|raiser| !raiser.is_finished()) {
            let time = times.load(Relaxed);
            fs::rename(&moved, directory.file(&format!("b.{time:06}"))).unwrap();
            engine.rotate_flatstore(moved.to_str().unwrap()).unwrap();
            times.store(time + 1, Relaxed);
        }
    });
    let stats = settled(&engine);
    assert_eq!(stats.delivered as usize, 2 * RAISERS * COUNT);
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
