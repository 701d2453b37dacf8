use std::time::Duration;

use super::*;

fn all(bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Frames::default();
    frames.push(bytes, Instant::now());
    drain(&mut frames)
}

fn drain(frames: &mut Frames) -> Vec<Frame> {
    std::iter::from_fn(|| frames.next()).collect()
}

/// What is left when nothing more comes.
fn expired(frames: &mut Frames) -> Vec<Frame> {
    let mut found = Vec::new();
    while frames.deadline().is_some() {
        found.push(frames.expire());
        found.extend(drain(frames));
    }
    found
}

fn json(reply: &str, body: &str) -> Frame {
    Frame::Json {
        reply: reply.into(),
        body: body.into(),
    }
}

fn plain(command: &str, reply: &str, body: &str) -> Frame {
    Frame::Text {
        command: command.into(),
        reply: reply.into(),
        body: body.into(),
    }
}

fn not_json(reply: &str) -> Frame {
    Frame::NotJson {
        reply: reply.into(),
    }
}

#[test]
fn the_two_forms_are_told_apart() {
    assert_eq!(all(b":pyreply:{\"a\":1}"), [json("pyreply", "{\"a\":1}")]);
    assert_eq!(all(b":r: [1]"), [json("r", "[1]")]);
    assert_eq!(all(b"::{}"), [json("", "{}")]);
    let request = b":event_subscribe:/tmp/reply_fifo\nE\nudp:127.0.0.1:1\n\n";
    let frame = plain(
        "event_subscribe",
        "/tmp/reply_fifo",
        "E\nudp:127.0.0.1:1\n\n",
    );
    assert_eq!(all(request), [frame]);
    assert_eq!(all(b":which:\n\n"), [plain("which", "", "\n")]);
    assert_eq!(all(b":which:r\r\n\r\n"), [plain("which", "r", "\r\n")]);
    assert_eq!(all(b":evi:list:r\n\n"), [plain("evi:list", "r", "\n")]);
    assert_eq!(all(b":bad/name:{}"), [json("bad/name", "{}")]);
}

#[test]
fn several_requests_in_one_read_are_cut() {
    let bytes = b":a:{\"x\":\":b:{}\"}:b:[]\n:which:r\n\n\n :uptime:r\nv\n\n::{}";
    let expected = [
        json("a", "{\"x\":\":b:{}\"}"),
        json("b", "[]"),
        plain("which", "r", "\n"),
        plain("uptime", "r", "v\n\n"),
        json("", "{}"),
    ];
    assert_eq!(all(bytes), expected);
}

/// Whatever the reads, the frames are the same.
#[test]
fn a_split_at_any_byte_changes_nothing() {
    let bytes = concat!(
        ":first:{\"k\": \"}{\\\"\\\\ é\", \"l\": [1, {}]}\n",
        ":event_subscribe:/tmp/r\nE\nname::\"quoted \\\" \n\nvalue\"\n\n",
        ":evi:list:reply\n\n",
        "::[1]\n:last:{}"
    )
    .as_bytes();
    let whole = all(bytes);
    assert_eq!(whole.len(), 5);
    for first in 0..=bytes.len() {
        for second in [first, (first + 7).min(bytes.len()), bytes.len()] {
            let mut frames = Frames::default();
            let mut found = Vec::new();
            for part in [&bytes[..first], &bytes[first..second], &bytes[second..]] {
                frames.push(part, Instant::now());
                found.extend(drain(&mut frames));
            }
            assert_eq!(found, whole, "split at {first} and {second}");
            assert_eq!(frames.deadline(), None);
        }
    }
    let mut frames = Frames::default();
    let mut found = Vec::new();
    for byte in bytes {
        frames.push(&[*byte], Instant::now());
        found.extend(drain(&mut frames));
    }
    assert_eq!(found, whole, "byte by byte");
}

#[test]
fn what_does_not_end_is_given_up_at_its_deadline() {
    for (bytes, frame) in [
        (":pyreply:hello", not_json("pyreply")),
        (":pyreply: ", not_json("pyreply")),
        (":pyreply:", not_json("pyreply")),
        (
            ":pyreply:{\"jsonrpc\":\"2.0\",\"method\":\"upt",
            not_json("pyreply"),
        ),
        (":pyre", Frame::Noise),
        (":", Frame::Noise),
        (
            ":which:r\nno end\n",
            Frame::BadText {
                command: "which".into(),
                reply: "r".into(),
            },
        ),
    ] {
        let mut frames = Frames::default();
        let start = Instant::now();
        frames.push(bytes.as_bytes(), start);
        assert_eq!(frames.next(), None, "{bytes}");
        assert_eq!(frames.deadline(), Some(start + limits::FIFO_SPLIT_TIME));
        // More bytes do not buy more time.
        frames.push(b"", start + Duration::from_millis(500));
        assert_eq!(frames.next(), None);
        assert_eq!(frames.deadline(), Some(start + limits::FIFO_SPLIT_TIME));
        assert_eq!(expired(&mut frames), [frame], "{bytes}");
        frames.push(b":next:{}", Instant::now());
        assert_eq!(drain(&mut frames), [json("next", "{}")]);
    }
}

/// A row of halves must not hold up a whole request for a second each.
#[test]
fn what_came_together_is_given_up_together() {
    let mut frames = Frames::default();
    let start = Instant::now();
    frames.push(
        b":which:r\n\"a\n:which:r\n\"\n:which:r\nb\n:which:r\nc\n",
        start,
    );
    assert_eq!(drain(&mut frames), []);
    frames.expire();
    while frames.next().is_some() {}
    assert_eq!(frames.deadline(), Some(start + limits::FIFO_SPLIT_TIME));
}

#[test]
fn what_is_not_json_is_told_at_once_if_it_can_be() {
    for bytes in [
        ":r:{]",
        ":r:{\"a\" 1}",
        ":r:\"x\"",
        ":r:hello world",
        ":r:{\"a\":\u{1}}",
        ":r:(\n",
    ] {
        assert_eq!(all(bytes.as_bytes())[0], not_json("r"), "{bytes}");
    }
}

#[test]
fn reading_goes_on_behind_what_cannot_be_read() {
    assert_eq!(all(b"noise:a:{}"), [Frame::Noise, json("a", "{}")]);
    assert_eq!(
        all(b"{\"jsonrpc\":\"2.0\"}\n:a:{}"),
        [Frame::Noise, json("a", "{}")]
    );
    assert_eq!(
        all(b"noise\n:which:r\n\n"),
        [Frame::Noise, plain("which", "r", "\n")]
    );
    assert_eq!(all(b":a:{broken}:b:{}"), [not_json("a"), json("b", "{}")]);
    // Cut off in a string, the text before seems to go on into the next request.
    let cut = b":a:{\"m\":\"upt:b:{\"n\":1}";
    assert_eq!(all(cut), [not_json("a"), json("b", "{\"n\":1}")]);
    let mut frames = Frames::default();
    frames.push(b"no", Instant::now());
    assert_eq!(drain(&mut frames), [Frame::Noise]);
    frames.push(b":a", Instant::now());
    frames.push(b":{}", Instant::now());
    assert_eq!(drain(&mut frames), [json("a", "{}")]);
}

/// A request inside a string of a request that cannot be read must not run: in JSON its quotes are
/// escaped, which is no JSON.
#[test]
fn an_escaped_request_is_no_request() {
    let found = all(br#":a:{"v":":b:{\"method\":\"x\"}" oops}"#);
    assert_eq!(found[0], not_json("a"));
    assert!(
        found[1..]
            .iter()
            .all(|frame| !matches!(frame, Frame::Json { .. })),
        "{found:?}"
    );
}

#[test]
fn what_is_too_long_passes_by_and_the_next_request_is_found() {
    let long = format!(
        ":r:{{\"x\":\"{}\\\"}}\"}}",
        "y".repeat(3 * limits::MI_REQUEST_BYTES)
    );
    let bytes = [long.as_bytes(), b":next:{}"].concat();
    for size in [1000, 4096, limits::MI_REQUEST_BYTES, bytes.len()] {
        let mut frames = Frames::default();
        let mut found = Vec::new();
        let mut held = 0;
        for part in bytes.chunks(size) {
            frames.push(part, Instant::now());
            found.extend(drain(&mut frames));
            held = held.max(frames.buffer.len());
        }
        let expected = [Frame::TooLong { reply: "r".into() }, json("next", "{}")];
        assert_eq!(found, expected, "in parts of {size}");
        assert!(
            held <= limits::MI_REQUEST_BYTES + NAME_BYTES + size,
            "{held}"
        );
    }
    let endless = format!(":which:r\n{}", "x\n".repeat(limits::MI_REQUEST_BYTES));
    let bad = Frame::BadText {
        command: "which".into(),
        reply: "r".into(),
    };
    assert_eq!(all(endless.as_bytes())[0], bad);
}

#[test]
fn the_longest_request_is_taken() {
    let body = format!("{{\"x\":\"{}\"}}", "y".repeat(limits::MI_REQUEST_BYTES - 8));
    assert_eq!(body.len(), limits::MI_REQUEST_BYTES);
    assert_eq!(all(format!(":r:{body}").as_bytes()), [json("r", &body)]);
    let longer = format!(
        ":r: {{\"x\":\"{}\"}}",
        "y".repeat(limits::MI_REQUEST_BYTES - 7)
    );
    assert_eq!(
        all(longer.as_bytes()),
        [Frame::TooLong { reply: "r".into() }]
    );
}

/// Colons, newlines and brackets in every order: always an end, never a panic, and no bytes are
/// kept beyond the bound.
#[test]
fn noise_never_stops_the_reading() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let alphabet = b":::{}[]\"\\\n\n ab/_\x00\xff";
    for _ in 0..3000 {
        let mut frames = Frames::default();
        for _ in 0..random() % 6 {
            let length = random() % 80;
            let bytes: Vec<u8> = (0..length)
                .map(|_| alphabet[random() as usize % alphabet.len()])
                .collect();
            frames.push(&bytes, Instant::now());
            drain(&mut frames);
        }
        let left = frames.buffer.len();
        let found = expired(&mut frames);
        assert!(found.len() <= left + 1);
        frames.push(b"\n:next:{\"done\":1}", Instant::now());
        assert_eq!(
            drain(&mut frames).last(),
            Some(&json("next", "{\"done\":1}"))
        );
    }
}

#[test]
fn a_flood_of_colons_is_read_in_good_time() {
    let start = Instant::now();
    for bytes in [
        ":".repeat(1 << 16),
        ": ".repeat(1 << 15),
        ":a".repeat(1 << 15),
    ] {
        let mut frames = Frames::default();
        frames.push(bytes.as_bytes(), Instant::now());
        drain(&mut frames);
        expired(&mut frames);
    }
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "{:?}",
        start.elapsed()
    );
}
