//! What a line looks like.

use super::*;

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
