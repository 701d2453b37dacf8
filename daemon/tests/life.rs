//! The daemon's life: how it starts, what it refuses, how it ends.

mod support;

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use rustix::process::Signal;
use support::{Daemon, Home, PATIENCE, entries, eventually, next, receiver};

const PAYLOAD: &str = r#"{"jsonrpc":"2.0","method":"E_PIKE_BLOCKED","params":{"ip":"10.1.2.3"}}"#;

/// One of the totals of the last line.
#[track_caller]
fn total(last: &str, name: &str) -> u64 {
    let (_, after) = last.split_once(&format!("{name} ")).expect(last);
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect(last)
}

#[test]
fn a_stop_under_load_delivers_or_counts_every_event() {
    let daemon = Daemon::start();
    let (socket, udp) = receiver();
    let unix_path = daemon.dir.path("receiver.sock");
    let unix = UnixDatagram::bind(&unix_path).unwrap();
    for name in [udp, format!("unix:{}", unix_path.display())] {
        daemon.dir.succeed(&["subscribe", "E_PIKE_BLOCKED", &name]);
    }
    let ingest = daemon.dir.run().join("events.sock");
    let (stop, stopped) = mpsc::channel::<()>();
    let proxy = thread::spawn(move || {
        let socket = UnixDatagram::unbound().unwrap();
        socket.connect(ingest).unwrap();
        let mut sent = 0_u64;
        // Until the daemon has gone, or the test has.
        while socket.send(PAYLOAD.as_bytes()).is_ok() {
            sent += 1;
            if stopped.try_recv() == Err(mpsc::TryRecvError::Disconnected) {
                break;
            }
        }
        sent
    });
    for _ in 0..1000 {
        next(&socket);
    }
    let begun = Instant::now();
    let (status, last) = daemon.terminate();
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    assert!(status.success(), "{status}: {last}");
    drop(stop);
    let sent = proxy.join().unwrap();
    drop(unix);

    assert!(!last.contains("not accounted for"), "{last}");
    let [raised, fanned_out] = ["raised", "fanned out"].map(|name| total(&last, name));
    assert!(raised >= 1000 && raised <= sent, "{sent}: {last}");
    assert_eq!(raised, fanned_out + total(&last, "lost before"), "{last}");
    assert_eq!(total(&last, "matched"), 2 * fanned_out, "{last}");
    let ended = total(&last, "delivered") + total(&last, "dropped");
    assert_eq!(total(&last, "matched"), ended, "{last}");
}

#[test]
fn a_stop_waits_for_a_receiver_that_reads_slowly() {
    let daemon = Home::new().serve("limits = { drain_seconds = 60.0, unix_wait_seconds = 60.0 }");
    let path = daemon.dir.path("slow.sock");
    let slow = UnixDatagram::bind(&path).unwrap();
    slow.set_read_timeout(Some(PATIENCE)).unwrap();
    let name = format!("unix:{}", path.display());
    daemon.dir.succeed(&["subscribe", "E_PIKE_BLOCKED", &name]);
    // Many more than the kernel queues for it.
    let count = 500;
    let proxy = UnixDatagram::unbound().unwrap();
    proxy.connect(daemon.dir.run().join("events.sock")).unwrap();
    for _ in 0..count {
        proxy.send(PAYLOAD.as_bytes()).unwrap();
    }
    let raised = || {
        daemon
            .dir
            .succeed(&["stats", "evi:raised"])
            .contains(&format!(" {count}\n"))
    };
    eventually("all are raised", raised);
    daemon.signal(Signal::TERM);
    eventually("it takes no more", || proxy.send(b"x").is_err());
    for _ in 0..count {
        let mut buffer = [0; 1000];
        let length = slow.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], PAYLOAD.as_bytes());
    }
    let (status, last, _) = daemon.wait();
    assert!(status.success());
    assert!(
        last.contains(&format!("delivered {count}, dropped 0")),
        "{last}"
    );
}

#[test]
fn a_second_interrupt_ends_a_long_drain() {
    let daemon = Home::new().serve("limits = { drain_seconds = 600.0, unix_wait_seconds = 600.0 }");
    let path = daemon.dir.path("stuck.sock");
    let _stuck = UnixDatagram::bind(&path).unwrap();
    let name = format!("unix:{}", path.display());
    daemon.dir.succeed(&["subscribe", "E_PIKE_BLOCKED", &name]);
    let proxy = UnixDatagram::unbound().unwrap();
    proxy.connect(daemon.dir.run().join("events.sock")).unwrap();
    // More than the kernel queues for it (`net.unix.max_dgram_qlen`).
    for _ in 0..2000 {
        proxy.send(PAYLOAD.as_bytes()).unwrap();
    }
    daemon.signal(Signal::TERM);
    eventually("it takes no more", || proxy.send(b"x").is_err());
    daemon.signal(Signal::INT);
    let (status, last, _) = daemon.wait();
    assert_eq!((status.code(), last.as_str()), (Some(1), ""));
}

#[test]
fn either_signal_ends_it_and_leaves_the_directory_clean() {
    for signal in [Signal::INT, Signal::TERM] {
        // Whoever waited for anybody would wait longer than this test does.
        let daemon = Home::new().serve("limits.drain_seconds = 600.0");
        // One who says nothing, and one who listens for ever, hold nothing up.
        let _idle = TcpStream::connect(daemon.http()).unwrap();
        let (_socket, name) = receiver();
        daemon.dir.succeed(&["subscribe", "E_PIKE_BLOCKED", &name]);
        let begun = Instant::now();
        daemon.signal(signal);
        let (status, last, home) = daemon.wait();
        assert!(status.success(), "{status}");
        assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
        assert!(last.starts_with("bellwire stopped after "), "{last}");
        assert_eq!(entries(&home.run()), ["lock"]);
    }
}

#[test]
fn what_a_killed_daemon_left_is_no_obstacle() {
    let daemon = Daemon::start();
    daemon.signal(Signal::KILL);
    let (status, _, home) = daemon.wait();
    assert!(!status.success());
    assert_eq!(
        entries(&home.run()),
        ["events.sock", "lock", "mi.fifo", "mi.sock"]
    );
    drop(UnixDatagram::bind(home.run().join("listen-1.sock")).unwrap());

    let daemon = home.serve("");
    let (socket, name) = receiver();
    let fifo = daemon.place("fifo:");
    daemon
        .dir
        .succeed(&["subscribe", "E_PIKE_BLOCKED", &name, "--mi", &fifo]);
    let proxy = UnixDatagram::unbound().unwrap();
    proxy
        .send_to(PAYLOAD.as_bytes(), daemon.dir.run().join("events.sock"))
        .unwrap();
    assert_eq!(next(&socket), PAYLOAD);
    assert!(!daemon.dir.run().join("listen-1.sock").exists());
}

#[test]
fn a_second_daemon_is_refused_and_the_first_undisturbed() {
    let daemon = Daemon::start();
    let complaint = daemon.dir.fail(1, &["serve", "--http", "off"]);
    let holder = format!("another daemon runs here (process {})", daemon.child.id());
    assert!(complaint.contains(&holder), "{complaint}");
    assert!(complaint.contains("BELLWIRE_RUN_DIR"), "{complaint}");
    daemon.dir.succeed(&["events"]);
    assert!(daemon.terminate().0.success());
}

#[test]
fn a_port_that_is_taken_is_said_with_the_way_out() {
    let home = Home::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let complaint = home.fail(1, &["serve", "--http", &address]);
    assert!(
        complaint.contains(&format!("{address} is in use")),
        "{complaint}"
    );
    assert!(complaint.contains("--http off"), "{complaint}");
    assert_eq!(entries(&home.run()), ["lock"]);
}

#[test]
fn what_cannot_be_opened_is_named_and_nothing_is_left() {
    for (configuration, words) in [
        (
            "ingest.listen = [\"unix:no/such/dir/x.sock\"]",
            "no/such/dir/x.sock",
        ),
        (
            "mi.datagram.listen = [\"unix:/proc/x.sock\"]",
            "/proc/x.sock",
        ),
        ("mi.fifo.path = \"/no/such/fifo\"", "/no/such/fifo"),
        ("mi.fifo.reply_dir = \"/no/such/dir\"", "/no/such/dir"),
        (
            "[[subscribe]]\nevent = \"E_PIKE_BLOKED\"\nsocket = \"udp:127.0.0.1:9\"",
            "E_PIKE_BLOCKED?",
        ),
        (
            "[[subscribe]]\nevent = \"E_PIKE_BLOCKED\"\nsocket = \"udp:1.2.3.4:9\"",
            "toml:1: ",
        ),
        (
            "[[subscribe]]\nevent = \"E_PIKE_BLOCKED\"\nsocket = \"tcpp:1\"",
            "toml:1: ",
        ),
        (
            "ingest.listen = [\"udp:127.47.11.3:10471\"]\n[[subscribe]]\n\
             event = \"E_PIKE_BLOCKED\"\nsocket = \"udp:127.47.11.3:10471\"",
            "toml:2: ",
        ),
    ] {
        let home = Home::new();
        let file = home.configure(configuration);
        let arguments = ["serve", "--http", "off", "--config", file.to_str().unwrap()];
        let complaint = home.fail(1, &arguments);
        assert!(complaint.contains(words), "{configuration}: {complaint}");
        assert_eq!(entries(&home.run()), ["lock"], "{configuration}");
        if configuration.starts_with("[[subscribe]]") {
            let complaint = home.fail(1, &["config", "--config", file.to_str().unwrap()]);
            assert!(complaint.contains(words), "{configuration}: {complaint}");
        }
    }
}

#[test]
fn sockets_have_the_mode_of_the_configuration() {
    let home = Home::new();
    let daemon = home.serve("ingest.mode = \"0622\"\nmi.datagram.mode = \"0620\"\n");
    let mode = |name: &str| {
        let found = fs::metadata(daemon.dir.run().join(name)).unwrap();
        found.permissions().mode() & 0o777
    };
    assert_eq!(mode("events.sock"), 0o622);
    assert_eq!(mode("mi.sock"), 0o620);
    assert!(daemon.terminate().0.success());
}

#[test]
fn a_run_directory_that_is_not_ours_alone_is_refused() {
    let home = Home::new();
    let elsewhere = home.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    symlink(&elsewhere, home.run()).unwrap();
    let complaint = home.fail(1, &["serve", "--http", "off"]);
    assert!(complaint.contains("is a symbolic link"), "{complaint}");
    assert_eq!(entries(&elsewhere), [""; 0]);

    fs::remove_file(home.run()).unwrap();
    fs::create_dir(home.run()).unwrap();
    fs::set_permissions(home.run(), fs::Permissions::from_mode(0o777)).unwrap();
    let complaint = home.fail(1, &["serve", "--http", "off"]);
    assert!(
        complaint.contains("can be written by others"),
        "{complaint}"
    );

    // Somebody else's: another user's directory for root, root's for everybody else.
    let others = if rustix::process::getuid().is_root() {
        fs::set_permissions(home.run(), fs::Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::chown(home.run(), Some(65_534), None).unwrap();
        home.run()
    } else {
        "/".into()
    };
    let output = home
        .program(&["serve", "--http", "off"])
        .env("BELLWIRE_RUN_DIR", others)
        .output();
    let complaint = String::from_utf8(output.unwrap().stderr).unwrap();
    assert!(complaint.contains("belongs to user"), "{complaint}");
}

#[test]
fn without_a_file_it_runs_where_the_session_keeps_such_things() {
    let home = Home::new();
    let session = home.path("session");
    fs::create_dir(&session).unwrap();
    let mut command = home.program(&["serve", "--http", "off"]);
    command
        .env_remove("BELLWIRE_RUN_DIR")
        .env("XDG_RUNTIME_DIR", &session);
    let child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let child = support::Running(child);
    let dir = session.join("bellwire");
    let ask = || {
        let mut command = home.program(&["events"]);
        command
            .env_remove("BELLWIRE_RUN_DIR")
            .env("XDG_RUNTIME_DIR", &session);
        command.output().unwrap().status.success()
    };
    eventually("a command finds it", ask);
    let mode = |name: &str| fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(""), 0o700);
    for name in ["mi.sock", "mi.fifo", "events.sock", "lock"] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    child.signal(Signal::TERM);
}

#[test]
fn systemd_is_told() {
    let home = Home::new();
    let path = home.path("notify");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = || {
        let mut buffer = [0; 256];
        let length = systemd.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let mut command = home.program(&["serve", "--http", "off"]);
    command
        .env("NOTIFY_SOCKET", &path)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let child = support::Running(command.spawn().unwrap());
    assert_eq!(told(), "READY=1\n");
    home.succeed(&["events"]);
    child.signal(Signal::HUP);
    assert!(told().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(told(), "READY=1\n");
    child.signal(Signal::TERM);
    assert_eq!(told(), "STOPPING=1\n");
}

/// Any user can make the directory that we would look into, and listen there.
#[test]
fn a_run_directory_that_others_made_is_not_trusted() {
    let home = Home::new();
    let dir = home.path("bellwire");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    let _other = UnixDatagram::bind(dir.join("mi.sock")).unwrap();
    let mut program = home.program(&["events", "--timeout", "0.2"]);
    program
        .env_remove("BELLWIRE_RUN_DIR")
        .env("XDG_RUNTIME_DIR", home.path(""));
    let output = program.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("can be written by others"), "{said}");
}
