use std::io::Write;

use super::*;
use crate::settings::{HttpListen, Listen, OnUnknown};

fn problem(text: &str) -> (usize, String) {
    let Problem { line, text } = parse(text).expect_err(text);
    (line, text)
}

#[test]
fn an_empty_file_means_the_defaults() {
    assert_eq!(parse("").unwrap(), Settings::default());
    assert_eq!(load(None).unwrap(), Settings::default());
}

#[test]
fn the_example_file_spells_out_the_defaults() {
    let example = include_str!("../../../bellwire.toml");
    assert_eq!(parse(example).unwrap(), Settings::default());

    // What is commented out as an example must be right, too.
    let uncommented: String = example
        .lines()
        .map(|line| line.strip_prefix("#: ").unwrap_or(line).to_owned() + "\n")
        .collect();
    let settings = parse(&uncommented).unwrap();
    assert_eq!(settings.subscribe.len(), 2);
    assert!(settings.policy.files.is_some());

    // Every key there is stands in the file, so that it can be read as the reference.
    let printed = print(&settings).unwrap();
    for key in printed
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .map(|(key, _)| key)
    {
        assert!(
            example.contains(&format!("{key} = ")),
            "{key} is not in the example file"
        );
    }
}

#[test]
fn what_is_printed_reads_back_the_same() {
    let text = r#"
        node = "edge-1"
        mi.http = { listen = "off" }
        mi.fifo = { path = "/run/x/mi.fifo", mode = "0660", reply_dir = "/tmp" }
        ingest.listen = []
        mi.datagram = { listen = ["udp:0.0.0.0:9999", "unix:a b"], allow_remote = true }
        events = { declare = ["E_A"], on_unknown = "declare" }
        policy = { allow = ["10.0.0.0/8"], files = "/var/log/x" }
        limits = { drain_seconds = 0.5 }
        [[subscribe]]
        event = "E_A"
        socket = "udp:127.0.0.1:1"
        [[subscribe]]
        event = "E_A"
        socket = "unix:/x"
        expire = 60
    "#;
    let settings = parse(text).unwrap();
    assert_eq!(settings.node.as_ref().unwrap().0.as_str(), "edge-1");
    assert_eq!(settings.mi.http.listen, HttpListen(None));
    assert_eq!(settings.mi.fifo.mode.0, 0o660);
    assert_eq!(settings.mi.datagram.listen[1], Listen::Unix("a b".into()));
    assert_eq!(settings.events.on_unknown, OnUnknown::Declare);
    assert_eq!(settings.subscribe[1].expire, Some(60));
    let again = parse(&print(&settings).unwrap()).unwrap();
    // Where a subscription stood differs, what it says does not.
    let plain = |settings: &Settings| print(settings).unwrap();
    assert_eq!(plain(&again), plain(&settings));
}

#[test]
fn an_unknown_key_names_its_line_and_the_likeliest_one() {
    let cases = [
        (
            "[mi.http]\n\nlisen = \"off\"\n",
            3,
            "unknown key `lisen`; did you mean `listen`?",
        ),
        (
            "[mi.htp]\nlisten = \"off\"",
            1,
            "unknown key `htp`; did you mean `http`?",
        ),
        ("\n[ingset]\n", 2, "did you mean `ingest`?"),
        (
            "[limits]\nworkers = 1\nlane_event = 5\n",
            3,
            "did you mean `lane_events`?",
        ),
        ("[[subscribe]]\nevnt = \"E\"", 2, "did you mean `event`?"),
        (
            "[events]\non_unknown = \"rejekt\"",
            2,
            "unknown value `rejekt`; did you mean `reject`?",
        ),
        (
            "[ingest]\nliste = []",
            2,
            "ingest: unknown key `liste`; did you mean `listen`?",
        ),
        ("\"a`b\" = 1", 1, "unknown key `a`b` (known here: node, "),
    ];
    for (text, line, words) in cases {
        let (found_line, found) = problem(text);
        assert!(found.contains(words), "{text:?}: {found}");
        assert_eq!(found_line, line, "{text:?}: {found}");
    }
    let (_, found) = problem("zzz = 1");
    assert!(
        found.contains("(known here: node, mi, ingest") && !found.contains("did you mean"),
        "{found}"
    );
}

#[test]
fn a_wrong_value_names_its_line_and_what_would_be_right() {
    let cases = [
        ("node = \"a,b\"", 1, "A-Z a-z 0-9 _ . - :"),
        (
            "[mi.http]\nlisten = \"127.0.0.1\"",
            2,
            "write `127.0.0.1:8888`",
        ),
        ("[mi.http]\nlisten = \"::1\"", 2, "write `[::1]:8888`"),
        ("[mi.http]\nlisten = \"\"", 2, "is not an address and port"),
        (
            "[mi.http]\nlisten = \"127.0.0.1:65536\"",
            2,
            "is not an address and port",
        ),
        (
            "[mi.http]\nlisten = \"0.0.0.0:8888\"",
            1,
            "allow_remote = true",
        ),
        (
            "\n[mi.http]\nlisten = \"[::ffff:10.0.0.1]:8888\"",
            2,
            "can be reached by others",
        ),
        (
            "[ingest]\nlisten = [\"udp:192.168.0.1:99\"]",
            1,
            "allow_remote = true",
        ),
        ("[mi.fifo]\nmode = \"0999\"", 2, "looks like \"0600\""),
        ("[mi.fifo]\nmode = \"+600\"", 2, "looks like \"0600\""),
        ("[mi.fifo]\npath = \"\"", 2, "means no FIFO"),
        ("[mi.datagram]\nlisten = [\n\"unix:\"]", 2, "is empty"),
        (
            "[mi.datagram]\nlisten = [\"tcp:127.0.0.1:1\"]",
            2,
            "names no transport",
        ),
        ("[events]\ndeclare = [\"E_OK\",\n\"\"]", 2, ""),
        (
            "[policy]\nallow = [\"10.0.0.1\",\n\"10.0.0.0/33\"]",
            2,
            "is not a network",
        ),
        (
            "[limits]\nworkers = 0",
            2,
            "limits.workers: 0 is out of range; 1 to 64 is taken",
        ),
        (
            "[limits]\nworkers = \"a\"",
            2,
            "limits.workers: invalid type: string \"a\", expected a whole",
        ),
        (
            "[mi.fifo]\nmode = 600",
            2,
            "mi.fifo.mode: invalid type: integer `600`, expected a string, in",
        ),
        (
            "[mi]\nhttp = 7",
            2,
            "mi.http: invalid type: integer `7`, expected a table",
        ),
        ("subscribe = 8", 1, "expected a list"),
        ("[limits]\ndrain_seconds = nan", 2, "NaN is out of range"),
        ("[limits]\ndrain_seconds = -1.0", 2, "0 to 3600 is taken"),
        ("[limits]\nlane_events = -1", 2, ""),
        ("[[subscribe]]\nevent = \"E\"", 1, "missing field `socket`"),
        (
            "[[subscribe]]\nevent = \"E\"\nsocket = \"udp:x:1\"\nexpire = -1",
            4,
            "",
        ),
        ("# é\n[mi\n", 2, ""),
        ("a = 1\na = 2", 2, ""),
    ];
    for (text, line, words) in cases {
        let (found_line, found) = problem(text);
        assert!(found.contains(words), "{text:?}: {found}");
        assert_eq!(found_line, line, "{text:?}: {found}");
        assert!(!found.contains('\n'), "{found:?}");
    }
}

#[test]
fn a_wrong_value_of_flatstore_names_its_line_and_what_would_be_right() {
    let cases = [
        (
            "max_open_sockets = 0",
            2,
            "max_open_sockets: 0 is out of range; 1 to 65535 is taken",
        ),
        ("max_open_sockets = \"5\"", 2, "expected a whole number"),
        (
            "delimiter = \"\"",
            1,
            "the delimiter is empty; the default is \",\"",
        ),
        ("delimiter = \"\\n\"", 1, "cannot hold a newline"),
        ("delimiter = \"12345678901234567\"", 1, "16 bytes"),
        (
            "delimiter = 5",
            2,
            "flatstore.delimiter: invalid type: integer `5`, expected a string",
        ),
        ("escape_delimiter = \"\"", 1, "as long as the delimiter"),
        ("delimiter = \"|\"\nescape_delimiter = \"|\"", 1, "escape"),
        ("suppress_event_name = \"yes\"", 2, "expected true or false"),
        ("file_permissions = 644", 2, "expected a string, in \" \""),
        (
            "file_permissions = \"0888\"",
            2,
            "is not a file mode; one looks like \"0600\"",
        ),
        (
            "file_permissions = \"0755\"",
            1,
            "is not made of read and write bits",
        ),
        ("suffix = \"%\"", 1, "bad suffix \"%\": "),
        ("suffix = \"%Q\"", 1, "cannot end a file"),
        ("suffix = \"/%Y\"", 1, "cannot end a file"),
        (
            "rotate_count = -1",
            2,
            "expected a whole number that is not negative",
        ),
        ("rotate_count = 1.5", 2, "expected"),
        ("rotate_size = -1", 2, "-1 is not a number of bytes"),
        (
            "rotate_size = \"10x\"",
            2,
            "\"10x\" is not a number of bytes, such as \"1m\"",
        ),
        (
            "rotate_size = \"20000000000g\"",
            2,
            "is not a number of bytes",
        ),
        (
            "rotate_size = true",
            2,
            "expected a number of bytes, such as 1048576 or \"1m\"",
        ),
        (
            "rotate_period = 4294967296",
            2,
            "expected a whole number from 0 to 4294967295",
        ),
        ("escape_controls = 1", 2, "expected true or false"),
        (
            "sync = \"1\"",
            2,
            "flatstore.sync: invalid type: string \"1\", expected true or false",
        ),
        (
            "rotate_siz = 1",
            2,
            "unknown key `rotate_siz`; did you mean `rotate_size`?",
        ),
    ];
    for (text, line, words) in cases {
        let (found_line, found) = problem(&format!("[flatstore]\n{text}"));
        assert!(found.contains(words), "{text:?}: {found}");
        assert_eq!(found_line, line, "{text:?}: {found}");
        assert!(
            found.contains("flatstore") && !found.contains('\n'),
            "{found:?}"
        );
    }
    let good = "[flatstore]\ndelimiter = \";\"\nrotate_size = \"10m\"\nsuffix = \".%Y\"\n";
    let settings = parse(good).unwrap();
    assert_eq!(settings.flatstore.0.rotate_size, 10 << 20);
    assert_eq!(parse(&print(&settings).unwrap()).unwrap(), settings);
}

#[test]
fn the_same_subscription_twice_is_refused() {
    let one = "[[subscribe]]\nevent = \"E\"\nsocket = \"udp:127.0.0.1:1\"\n";
    let (line, text) = problem(&format!("{one}{one}"));
    assert_eq!(
        (line, text.as_str()),
        (4, "\"udp:127.0.0.1:1\" stands twice for E")
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let missing = load(Some(Path::new("/nonexistent/b.toml")))
        .unwrap_err()
        .to_string();
    assert!(
        missing.starts_with("/nonexistent/b.toml: No such file"),
        "{missing}"
    );
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"# fine\n\xff = 1\n").unwrap();
    let binary = load(Some(file.path())).unwrap_err().to_string();
    assert!(binary.ends_with(":2: is not UTF-8"), "{binary}");
}
