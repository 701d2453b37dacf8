//! Socket strings that cannot be meant: an error each, and nothing changes.

use bellwire::engine::SubscribeError;
use bellwire::{Config, Engine, Expire};

const SCHEMES: [&str; 11] = [
    "",
    "udp",
    "unix",
    "tcp",
    "route",
    "virtual",
    "flatstore",
    "UDP",
    "udp ",
    "nope",
    "rabbitmq",
];

/// What may follow a scheme and names nothing that can be sent to.
const RESTS: [&str; 48] = [
    "",
    ":",
    "::",
    ":::",
    ":/",
    "://",
    ":?",
    ":127.0.0.1",
    ":127.0.0.1:",
    ":127.0.0.1:0",
    ":127.0.0.1:65536",
    ":127.0.0.1:-1",
    ":127.0.0.1:+9",
    ":127.0.0.1: 9",
    ":127.0.0.1:9x",
    ":127.0.0.1:9?format=xml",
    ":127.0.0.1:9?format=",
    ":127.0.0.1:9\n",
    ":127.0.0.1\0:9",
    ":127.1:9",
    ":0x7f.0.0.1:9",
    ":2130706433:9",
    ":1.2.3.4.5:9",
    ":256.0.0.1:9",
    ":::1:9",
    ":[::1]",
    ":[::1:9",
    ":[::1%lo]:9",
    ":[]:9",
    ":[127.0.0.1]:9",
    ":a b:9",
    ":-\u{e9}-:9",
    ":8.8.8.8:53",
    ":0.0.0.0:9",
    ":224.0.0.1:9",
    ":255.255.255.255:9",
    ":169.254.169.254:80",
    ":[::]:9",
    ":[ff02::1]:9",
    ":[::ffff:8.8.8.8]:53",
    ":relative/path",
    ":./here",
    ":/tmp/\0",
    ":/ends/with/",
    ":SOMETIMES udp:127.0.0.1:9",
    ":FAILOVER",
    ":FAILOVER virtual:PARALLEL udp:127.0.0.1:9",
    ":E_NO_SUCH_ROUTE",
];

#[test]
fn five_hundred_malformed_sockets_get_an_error_each_and_change_nothing() {
    let engine = Engine::start(Config::default()).unwrap();
    engine.declare("E_X").unwrap();
    let long = [
        format!("unix:/{}", "a".repeat(107)),
        format!("udp:{}:9", "a".repeat(254)),
        format!("udp:{}", "9".repeat(100_000)),
    ];
    let pairs = SCHEMES
        .iter()
        .flat_map(|scheme| RESTS.iter().map(move |rest| format!("{scheme}{rest}")));
    let mut tried = 0;
    for socket in pairs.chain(long) {
        let outcome = engine.subscribe("E_X", &socket, Expire::Never);
        let Err(SubscribeError::Socket(error)) = outcome else {
            panic!("{socket:?} was taken: {outcome:?}");
        };
        assert!(
            !error.problem().is_empty() && error.to_string().len() < 1000,
            "{error}"
        );
        tried += 1;
    }
    assert!(tried >= 500, "{tried}");
    assert!(engine.subscriptions(None).is_empty());
    assert!(!engine.event("E_X").unwrap().has_subscribers());
}
