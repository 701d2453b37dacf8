//! Which file is written, and for how long.

use super::*;

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
        .subscribe("E_G", &socket(&path, ""), Expire::AfterSecs(5))
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
