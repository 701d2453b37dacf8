//! Socket strings: what is listed is read back as the same.

use crate::Expire;
use crate::engine::{Config, Still};

/// A socket string of any scheme: refused with words, or subscribed; then what the listing
/// prints names the same subscription.
pub(super) fn socket(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let mut config = Config::default();
    // Nothing is opened here, only asked about.
    config.policy.files = Some("/".into());
    let still = Still::new(config);
    // A broker's client would connect by itself, to wherever the bytes say.
    let is_brokers = ["rabbitmq", "kafka", "sqs"]
        .iter()
        .any(|scheme| text.contains(scheme));
    if reads_again(&still, text) || is_brokers {
        return;
    }
    let handle = &still.handle;
    handle.declare("E").expect("a name");
    handle.route("handler", |_| {}).expect("a name");
    match handle.check_socket(text) {
        Err(error) => return assert!(!error.to_string().is_empty()),
        // Names are not looked up here, nor files opened: that would ask a name server or a disk.
        Ok(true) => return,
        Ok(false) => {}
    }
    if handle.subscribe("E", text, Expire::Never).is_err() {
        return;
    }
    let printed = |expected: usize| {
        let listed = handle.subscriptions(Some("E"));
        assert_eq!(listed.len(), expected, "{text:?}");
        listed.into_iter().next().map(|listed| listed.socket)
    };
    let first = printed(1).expect("one is listed");
    assert!(handle.subscription("E", text).is_some());
    assert!(handle.subscription("E", &first).is_some(), "{first:?}");
    // Once more, as it is printed: renewed, not a second one.
    handle
        .subscribe("E", &first, Expire::Never)
        .unwrap_or_else(|error| panic!("{text:?} is printed as {first:?}: {error}"));
    assert_eq!(printed(1).as_ref(), Some(&first));
    assert!(handle.unsubscribe("E", &first).expect("it was read before"));
    assert!(!handle.unsubscribe("E", text).expect("it was read before"));
    assert_eq!(printed(0), None);
}

/// What is printed of a socket that could be read, though it may lead nowhere, is read as the same.
/// Whether it has a secret, so that who has only read the listing cannot name it.
fn reads_again(still: &Still, text: &str) -> bool {
    let Ok((identity, printed)) = still.parse(text) else {
        return false;
    };
    let again = still.parse(&printed);
    let again = again.unwrap_or_else(|error| panic!("{text:?} is printed as {printed:?}: {error}"));
    assert_eq!(again.1, printed, "{text:?}");
    // What is printed lacks the secrets, by which sockets are told apart.
    let has_secret = identity != printed;
    assert!(has_secret || again.0 == identity, "{text:?}");
    has_secret
}
