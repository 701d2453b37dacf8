use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::Instant;

use super::*;

/// Longest wait for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

fn start_with(
    limits: Limits,
    answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync + 'static,
) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    Server::start_with(listener, Arc::new(answer), limits).unwrap()
}

/// Answers with the body backwards, and to `quiet` nothing.
fn mirror(body: &[u8]) -> Option<Vec<u8>> {
    (body != b"quiet").then(|| body.iter().rev().copied().collect())
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends the bytes and reads until the server closes.
fn exchange(server: &Server, request: impl AsRef<[u8]>) -> String {
    let mut stream = connect(server);
    stream.write_all(request.as_ref()).unwrap();
    let mut response = Vec::new();
    // A server that refuses to read on may reset the connection after it answered.
    stream.read_to_end(&mut response).ok();
    String::from_utf8(response).unwrap()
}

fn post(body: &str) -> String {
    let length = body.len();
    format!(
        "POST /mi HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
}

#[track_caller]
fn assert_status(response: &str, status: u16) {
    assert!(
        response.starts_with(&format!("HTTP/1.1 {status} ")),
        "{status}: {response}"
    );
}

#[test]
fn a_request_is_answered_and_a_notification_accepted() {
    let server = start_with(Limits::default(), mirror);
    let response = exchange(&server, post("abc"));
    assert_status(&response, 200);
    assert!(response.ends_with("\r\n\r\ncba"), "{response}");
    assert!(
        response
            .to_lowercase()
            .contains("content-type: application/json\r\n"),
        "{response}"
    );

    let response = exchange(&server, post("quiet"));
    assert_status(&response, 202);
    assert!(response.ends_with("\r\n\r\n"), "{response}");

    let mut done = connect(&server);
    done.write_all(post("abc").as_bytes()).unwrap();
    done.shutdown(std::net::Shutdown::Write).unwrap();
    let mut response = String::new();
    done.read_to_string(&mut response).unwrap();
    assert!(response.ends_with("cba"), "{response}");

    let chunked = "POST /mi HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                   Transfer-Encoding: chunked\r\n\r\n\
                   1\r\na\r\n2\r\nbc\r\n0\r\n\r\n";
    assert!(exchange(&server, chunked).ends_with("cba"));
    server.stop();
}

#[test]
fn what_is_no_request_of_ours_gets_its_status() {
    let server = start_with(Limits::default(), mirror);
    let length =
        |length: usize| format!("POST /mi HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
    let cases = [
        (
            "GET /mi HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(),
            405,
        ),
        (
            "PUT /mi HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(),
            405,
        ),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(),
            400,
        ),
        (post(""), 400),
        (
            post("abc").replace("Host: x", "Host: x\r\nOrigin: http://evil.example"),
            403,
        ),
        (length(65_537), 413),
        (length(99_999_999_999), 413),
        ("nonsense\r\n\r\n".to_owned(), 400),
        (
            format!(
                "POST /mi HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
                "x".repeat(9_000)
            ),
            431,
        ),
    ];
    for (request, status) in cases {
        assert_status(&exchange(&server, request), status);
    }
    let chunks = format!(
        "10000\r\n{0}\r\n10000\r\n{0}\r\n0\r\n\r\n",
        "x".repeat(65_536)
    );
    let head = "POST /mi HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_status(&exchange(&server, format!("{head}{chunks}")), 413);
    assert_status(&exchange(&server, post(&"x".repeat(65_536))), 200);
    server.stop();
}

#[test]
fn slow_headers_and_slow_bodies_end() {
    let serve = |header_time| {
        let limits = Limits {
            header_time,
            body_time: Duration::from_millis(100),
            ..Limits::default()
        };
        start_with(limits, mirror)
    };
    // One that gives up soon, and one that waits longer than a client of good will stands still.
    let (hasty, server) = (serve(Duration::from_millis(100)), serve(PATIENCE / 4));
    let begun = Instant::now();
    let response = exchange(&hasty, "POST /mi HTTP/1.1\r\nHost:");
    assert!(
        response.is_empty() || response.starts_with("HTTP/1.1 408"),
        "{response}"
    );
    let response = exchange(
        &server,
        "POST /mi HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab",
    );
    assert_status(&response, 408);
    // Nothing at all, and nothing after an answer.
    assert_eq!(exchange(&hasty, ""), "");
    let kept = exchange(&server, post("abc").replace("Connection: close\r\n", ""));
    assert!(kept.ends_with("cba"), "{kept}");
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    hasty.stop();
    server.stop();
}

#[test]
fn silent_connections_make_room_for_one_that_asks() {
    // Nobody is closed for being slow here, only to make room.
    let limits = Limits {
        connections: 4,
        header_time: 3 * PATIENCE,
        ..Limits::default()
    };
    let server = start_with(limits, mirror);
    let silent: Vec<_> = (0..20).map(|_| connect(&server)).collect();
    // It is answered while its client still reads, long before any would be closed for slowness.
    assert_status(&exchange(&server, post("abc")), 200);
    // Those that had to go were closed, not left hanging.
    let mut first = &silent[0];
    assert!(
        !matches!(first.read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    );
    server.stop();
}

#[test]
fn a_command_that_waits_holds_up_nobody_and_a_stop_lets_it_end() {
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let (begin, begun) = mpsc::channel();
    let limits = Limits {
        stop_time: PATIENCE,
        ..Limits::default()
    };
    let server = start_with(limits, move |body| {
        if body == b"wait" {
            begin.send(()).unwrap();
            released.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        }
        mirror(body)
    });
    let mut waiting = connect(&server);
    waiting.write_all(post("wait").as_bytes()).unwrap();
    begun.recv().unwrap();
    assert_status(&exchange(&server, post("abc")), 200);

    let address = server.address();
    let stopping = thread::spawn(move || server.stop());
    while TcpStream::connect(address).is_ok() {
        thread::yield_now();
    }
    release.send(()).unwrap();
    let mut response = String::new();
    waiting.read_to_string(&mut response).unwrap();
    assert!(response.ends_with("tiaw"), "{response}");
    stopping.join().unwrap();
}

#[test]
fn a_command_that_panics_is_an_error_and_no_more() {
    let server = start_with(Limits::default(), |body| {
        assert_ne!(body, b"bad", "as the test wants");
        mirror(body)
    });
    assert_status(&exchange(&server, post("bad")), 500);
    assert_status(&exchange(&server, post("abc")), 200);
    server.stop();
}
