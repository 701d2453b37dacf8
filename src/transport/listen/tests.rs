use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::testing::TempDir;

fn options() -> ListenOptions {
    ListenOptions {
        mode: 0o600,
        remote: false,
        receive_buffer: None,
    }
}

fn refused(text: &str) -> String {
    Listener::bind(text, &options()).unwrap_err().to_string()
}

#[test]
fn udp_takes_and_answers_over_both_families() {
    for host in ["127.0.0.1", "[::1]"] {
        let listener = Listener::bind(&format!("udp:{host}:0"), &options()).unwrap();
        let address: SocketAddr = listener
            .name()
            .strip_prefix("udp:")
            .unwrap()
            .parse()
            .unwrap();
        assert_ne!(address.port(), 0);
        let client = UdpSocket::bind((address.ip(), 0)).unwrap();
        let mut buffer = [0; 16];
        let empty = listener.receive(&mut buffer).unwrap_err();
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
        client.send_to(b"ping", address).unwrap();
        let (length, peer) = crate::testing::wait_for(|| listener.receive(&mut buffer).ok());
        assert_eq!(&buffer[..length], b"ping");
        assert!(peer.is_named());
        listener.send(b"pong", &peer).unwrap();
        assert_eq!(client.recv(&mut buffer).unwrap(), 4);
    }
}

#[test]
fn unix_takes_and_answers_and_is_removed() {
    let directory = TempDir::new();
    let path = directory.file("socket");
    let listener = Listener::bind(&format!("unix:{}", path.display()), &options()).unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let client = UnixDatagram::bind(directory.file("client")).unwrap();
    client.send_to(b"ping", &path).unwrap();
    let mut buffer = [0; 16];
    let (length, peer) = listener.receive(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"ping");
    listener.send(b"pong", &peer).unwrap();
    assert_eq!(client.recv(&mut buffer).unwrap(), 4);
    let nameless = UnixDatagram::unbound().unwrap();
    nameless.send_to(b"x", &path).unwrap();
    assert!(!listener.receive(&mut buffer).unwrap().1.is_named());
    drop(listener);
    assert!(!path.exists());
}

#[test]
fn the_mode_of_what_took_the_sockets_place_is_left_alone() {
    let directory = TempDir::new();
    let path = directory.file("socket");
    let secret = directory.file("secret");
    fs::write(&secret, "").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let _socket = UnixDatagram::bind(&path).unwrap();
    let file = OwnFile::of(&path).unwrap();
    restore_mode(&file, Mode::from_raw_mode(0o606)).unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o606
    );
    fs::rename(&path, directory.file("elsewhere")).unwrap();
    std::os::unix::fs::symlink(&secret, &path).unwrap();
    let refusal = restore_mode(&file, Mode::from_raw_mode(0o666)).unwrap_err();
    assert!(refusal.contains("replaced"), "{refusal}");
    assert_eq!(
        fs::metadata(&secret).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn the_mode_of_a_socket_is_what_was_asked_for_whatever_the_umask() {
    let directory = TempDir::new();
    let path = directory.file("socket");
    let wide = ListenOptions {
        mode: 0o666,
        ..options()
    };
    let _listener = Listener::bind(path.to_str().unwrap(), &wide).unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o666
    );
}

#[test]
fn a_stale_socket_is_replaced_and_nothing_else_is() {
    let directory = TempDir::new();
    let path = directory.file("socket");
    let text = format!("unix:{}", path.display());
    drop(UnixDatagram::bind(&path).unwrap());
    assert!(path.exists(), "std leaves the file behind");
    let listener = Listener::bind(&text, &options()).unwrap();
    assert!(refused(&text).contains("another process serves this socket"));
    assert!(path.exists());
    drop(listener);

    let stream = std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert!(refused(&text).contains("another process serves this socket"));
    drop(stream);
    fs::remove_file(&path).unwrap();

    fs::write(&path, "precious").unwrap();
    assert!(refused(&text).contains("no socket"));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn one_that_was_replaced_is_not_removed() {
    let directory = TempDir::new();
    let path = directory.file("socket");
    let listener = Listener::bind(path.to_str().unwrap(), &options()).unwrap();
    fs::rename(&path, directory.file("away")).unwrap();
    fs::write(&path, "precious").unwrap();
    drop(listener);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn errors_say_what_would_be_right() {
    for text in ["", "tcp:127.0.0.1:1", "relative/path", "udp"] {
        assert!(
            refused(text).contains("expected udp:<host>:<port> or unix:<path>"),
            "{text}"
        );
    }
    for text in [
        "udp:",
        "udp:127.0.0.1",
        "udp:127.0.0.1:x",
        "udp:127.0.0.1:65536",
        "udp::1",
    ] {
        assert!(
            refused(text).contains("expected udp:<host>:<port>"),
            "{text}"
        );
    }
    assert!(refused("unix:relative").contains("expected an absolute path"));
    assert!(refused(&format!("unix:/{}", "x".repeat(107))).contains("at most 107 bytes, got 108"));
    assert!(refused("unix:/no/such/directory/s").contains("/no/such/directory"));
    assert!(refused("udp:0.0.0.0:0").contains("allow remote senders"));
    assert!(refused("udp:[::]:0").contains("allow remote senders"));
    let remote = ListenOptions {
        remote: true,
        ..options()
    };
    Listener::bind("udp:0.0.0.0:0", &remote).unwrap();
    let taken = Listener::bind("udp:127.0.0.1:0", &options()).unwrap();
    assert!(refused(taken.name()).contains("cannot bind"));
}

#[test]
fn a_large_receive_queue_is_asked_for() {
    let size = |receive_buffer| {
        let options = ListenOptions {
            receive_buffer,
            ..options()
        };
        let listener = Listener::bind("udp:127.0.0.1:0", &options).unwrap();
        let Bound::Udp(socket) = &listener.socket else {
            panic!()
        };
        socket2::SockRef::from(socket).recv_buffer_size().unwrap()
    };
    assert_eq!(size(Some(4096)), 8192, "the kernel doubles it");
    assert!(size(Some(8 << 20)) >= size(None));
}
