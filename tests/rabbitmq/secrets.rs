//! The password, which nobody sees.

use super::*;

/// What this process logs, at the finest level.
mod captured {
    use std::fmt::Debug;
    use std::fmt::Write;
    use std::sync::Mutex;

    use tracing::Subscriber;
    use tracing::field::Field;
    use tracing::field::Visit;
    use tracing::span;

    pub(crate) static LOG: Mutex<String> = Mutex::new(String::new());

    pub(crate) struct Log;

    struct Text(String);

    impl Visit for Text {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            write!(self.0, " {field}={value:?}").unwrap();
        }
    }

    impl Subscriber for Log {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
            let mut text = Text(String::new());
            attributes.record(&mut text);
            LOG.lock().unwrap().push_str(&text.0);
            span::Id::from_u64(1)
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

        fn event(&self, event: &tracing::Event<'_>) {
            let mut text = Text(format!("\n{}", event.metadata().target()));
            event.record(&mut text);
            LOG.lock().unwrap().push_str(&text.0);
        }

        fn enter(&self, _: &span::Id) {}

        fn exit(&self, _: &span::Id) {}
    }
}

/// Whatever goes wrong, the password is told nobody but the broker.
#[test]
fn the_password_is_in_no_output() {
    const SECRET: &str = "hunter2-is-secret";
    tracing::subscriber::set_global_default(captured::Log).ok();
    let (host, mut peer) = place();
    peer.queue("q");
    broker().control(&["add_user", "bob", SECRET]);
    broker().control(&["set_permissions", "-p", &host, "bob", ".*", ".*", ".*"]);
    let port = broker().port;
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut shown = String::new();
    let (engine, event) = engine(|_| {});
    for (place, works) in [
        (format!("127.0.0.1:{port}/vhost={host}?q"), true),
        (
            format!("127.0.0.1:{port}/vhost={host};exchange=missing?q"),
            false,
        ),
        (format!("127.0.0.1:{port}/vhost=missing?q"), false),
        (format!("{nobody}/q"), false),
    ] {
        let socket = format!("rabbitmq:bob:{SECRET}@{place}");
        engine.subscribe("E_X", &socket, Expire::Never).unwrap();
        raise(&event, 1);
        match works {
            true => delivered(&engine, 1),
            false => trouble(&engine, ""),
        }
        shown += &format!("{:?}{engine:?}", only(&engine, "E_X"));
        engine.unsubscribe("E_X", &socket).unwrap();
    }
    for bad in [
        format!("rabbitmq:bob:{SECRET}/q"),
        format!("rabbitmq:bob:{SECRET}"),
        format!("rabbitmq:bob:x@{SECRET}@127.0.0.1/q"),
        format!("rabbitmq:bob:{SECRET}@127.0.0.1:x/q"),
        format!("rabbitmq:bob:{SECRET}%zz@127.0.0.1/q"),
        format!("rabbitmq:bob:{SECRET}@8.8.8.8/q"),
        format!("virtual:FAILOVER rabbitmq:bob:{SECRET}/q udp:127.0.0.1:9"),
        format!("virtual:FAILOVER rabbitmq:bob:{SECRET}@127.0.0.1 udp:127.0.0.1:9"),
    ] {
        let error = engine.subscribe("E_X", &bad, Expire::Never).unwrap_err();
        shown += &format!("{error}{error:?}");
    }
    let group =
        format!("virtual:FAILOVER rabbitmq:bob:{SECRET}@127.0.0.1:{port}/q udp:127.0.0.1:9");
    engine.subscribe("E_X", &group, Expire::Never).unwrap();
    shown += &format!("{:?}", engine.subscriptions(None));
    shown += &captured::LOG.lock().unwrap();
    assert!(shown.contains("bellwire::"), "the log was captured");
    assert!(!shown.contains(SECRET) && !shown.contains("hunter2"));
}
