use super::*;

fn encoded(write: impl FnOnce(&mut Params<'_>)) -> String {
    let mut out = BytesMut::new();
    encode(&mut out, &prefix(&EventName::new("E_X").unwrap()), write);
    String::from_utf8(out.to_vec()).unwrap()
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
fn a_panic_in_the_closure_leaves_no_torn_payload() {
    let mut out = BytesMut::from("before");
    let prefix = prefix(&EventName::new("E_X").unwrap());
    let raise = std::panic::AssertUnwindSafe(|| {
        encode(&mut out, &prefix, |p| {
            p.str("a", "x");
            std::panic::resume_unwind(Box::new(()));
        });
    });
    assert!(std::panic::catch_unwind(raise).is_err());
    assert_eq!(out, "before");
}
