use super::*;

fn encoded(write: impl FnOnce(&mut Params<'_>)) -> String {
    let mut out = BytesMut::new();
    let length = encode(&mut out, &prefix(&EventName::new("E_X").unwrap()), write);
    String::from_utf8(out[..length].to_vec()).unwrap()
}

fn with(params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","method":"E_X"{params}}}"#)
}

#[test]
fn no_parameters_means_no_params() {
    assert_eq!(encoded(|_| {}), with(""));
}

#[test]
fn the_first_parameter_decides_the_form() {
    let named = encoded(|p| {
        p.str("a", "x").int("", -4).item("y").bool("a", true);
    });
    assert_eq!(named, with(r#","params":{"a":"x","":-4,"":"y","a":true}"#));
    let positional = encoded(|p| {
        p.item("x").int("b", -4).null("c").uint("", u64::MAX);
    });
    assert_eq!(
        positional,
        with(r#","params":["x",-4,null,18446744073709551615]"#)
    );
}

#[test]
fn a_number_that_is_not_finite_is_null() {
    let written = encoded(|p| {
        p.float("a", f64::NAN)
            .float("b", f64::INFINITY)
            .float("c", -0.5)
            .float("d", 1e300);
    });
    assert_eq!(
        written,
        with(r#","params":{"a":null,"b":null,"c":-0.5,"d":1e+300}"#)
    );
}

#[test]
fn bytes_and_names_are_escaped_and_repaired() {
    let written = encoded(|p| {
        p.bytes("q\"\n", b"a\0\xff\"").value("v", Some("\\"));
    });
    assert_eq!(
        written,
        with(",\"params\":{\"q\\\"\\n\":\"a\\u0000\u{fffd}\\\"\",\"v\":\"\\\\\"}")
    );
}

#[test]
fn what_a_panic_leaves_is_written_over() {
    let mut block = BytesMut::new();
    let prefix = prefix(&EventName::new("E_X").unwrap());
    let raise = std::panic::AssertUnwindSafe(|| {
        encode(&mut block, &prefix, |p| {
            p.str("a", &"x".repeat(1000));
            std::panic::resume_unwind(Box::new(()));
        })
    });
    assert!(std::panic::catch_unwind(raise).is_err());
    let length = encode(&mut block, &prefix, |_| {});
    assert_eq!(block[..length], *with("").as_bytes());
}

/// Each way through the draft, at each place of a block that must grow for it.
#[test]
fn a_block_grows_wherever_it_ends() {
    let write = |p: &mut Params<'_>| {
        p.str("a", "0123456789abcdef")
            .str("name of more than sixteen", "\"");
        p.float("f", -1.5e-300)
            .int("", i64::MIN)
            .bytes("b", b"\xff1234567");
    };
    let expected = encoded(write);
    let prefix = prefix(&EventName::new("E_X").unwrap());
    for length in 0..expected.len() {
        let mut block = BytesMut::zeroed(length);
        let length = encode(&mut block, &prefix, write);
        assert_eq!(block[..length], *expected.as_bytes());
    }
}
