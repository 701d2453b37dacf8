//! UDP: what arrives, byte for byte, and what becomes of what cannot.

mod support;

use std::net::SocketAddr;

use bellwire::Engine;
use bellwire::Event;
use bellwire::Expire;
use bellwire::Raised;
use bellwire::Reason;
use bellwire::State;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::UdpGroSegment;
use support::child;
use support::child::Child;
use support::engine::*;
use support::eventually;
use support::receiver::Receive;
use support::receiver::Udp;
use support::unique;
use support::wait_for;

/// An engine with one event, subscribed by these sockets.
fn heard_by(sockets: &[&str]) -> (Engine, Event) {
    let (engine, event) = engine_with("E_X", config(|_| ()));
    for socket in sockets {
        engine.subscribe("E_X", socket, Expire::Never).unwrap();
    }
    (engine, event)
}

/// Raises the event with a payload of that length, which begins with the number.
fn raise_sized(event: &Event, n: u64, length: usize) -> Raised {
    let bare = r#"{"jsonrpc":"2.0","method":"E_X","params":{"n":0000000,"v":""}}"#.len();
    let filler = "x".repeat(length - bare);
    event.raise(|p| {
        p.uint("n", 1_000_000 + n).str("v", &filler);
    })
}

/// The same from the receiver's side: number and length.
fn sized(datagram: &[u8]) -> (u64, usize) {
    let json: serde_json::Value = serde_json::from_slice(datagram).expect("one whole JSON text");
    let n = json["params"]["n"].as_u64().unwrap() - 1_000_000;
    (n, datagram.len())
}

#[test]
fn the_payload_arrives_byte_for_byte() {
    let receiver = Udp::new();
    let (engine, event) = heard_by(&[&receiver.socket()]);
    event.raise(|p| {
        p.str("ip", "192.168.2.11\n\u{7f}é").int("port", -5060);
    });
    event.raise(|_| ());
    event.raise(|p| {
        p.item("a").item(1.5).item(true).item(None::<&str>);
    });
    let expected = [
        "{\"jsonrpc\":\"2.0\",\"method\":\"E_X\",\"params\":\
         {\"ip\":\"192.168.2.11\\n\u{7f}é\",\"port\":-5060}}",
        r#"{"jsonrpc":"2.0","method":"E_X"}"#,
        r#"{"jsonrpc":"2.0","method":"E_X","params":["a",1.5,true,null]}"#,
    ];
    for expected in expected {
        assert_eq!(String::from_utf8(receiver.next()).unwrap(), expected);
    }
    let stats = settled(&engine);
    assert_eq!((stats.raised, stats.delivered), (3, 3));
    receiver.assert_silent();
}

#[test]
fn ipv6_is_sent_to() {
    let Ok(receiver) = Udp::try_at("[::1]:0".parse().unwrap()) else {
        return eprintln!("this host has no IPv6: nothing was tested");
    };
    let (engine, event) = heard_by(&[&receiver.socket()]);
    assert_eq!(only(&engine, "E_X").socket, receiver.socket());
    raise_all(&event, 0..100);
    assert_eq!(receiver.numbers(100), Vec::from_iter(0..100));
    assert_eq!(settled(&engine).delivered, 100);
}

#[test]
fn a_mapped_address_is_the_ipv4_address() {
    let receiver = Udp::new();
    let mapped = format!("udp:[::ffff:127.0.0.1]:{}", receiver.address().port());
    let (engine, event) = heard_by(&[&mapped, &receiver.socket()]);
    assert_eq!(only(&engine, "E_X").socket, receiver.socket());
    raise(&event, 1);
    assert_eq!(receiver.numbers(1), [1]);
    settled(&engine);
    receiver.assert_silent();
}

#[test]
fn a_name_is_looked_up_and_listed_as_given() {
    let receiver = Udp::new();
    let socket = format!("udp:localhost:{}", receiver.address().port());
    let (engine, event) = heard_by(&[&socket, &socket.to_uppercase().replace("UDP", "udp")]);
    assert_eq!(
        only(&engine, "E_X").socket,
        socket,
        "a host name has no case"
    );
    raise(&event, 1);
    assert_eq!(receiver.numbers(1), [1]);
    assert!(engine.unsubscribe("E_X", &socket).unwrap());
    assert_eq!(event.raise(|_| ()), Raised::Unheard);
}

#[test]
fn both_forms_go_to_one_socket() {
    let receiver = Udp::new();
    let text = format!("{}?format=text", receiver.socket());
    let (engine, event) = heard_by(&[&receiver.socket(), &text]);
    let sockets: Vec<String> = engine
        .subscriptions(Some("E_X"))
        .into_iter()
        .map(|subscription| subscription.socket)
        .collect();
    assert_eq!(sockets, [text.clone(), receiver.socket()]);
    event.raise(|p| {
        p.str("ip", "1.2.3.4").int("n", -7);
    });
    let mut got = [receiver.next(), receiver.next()].map(|d| String::from_utf8(d).unwrap());
    got.sort();
    assert_eq!(got[0], "E_X\nip::1.2.3.4\nn::-7\n\n");
    assert_eq!(
        got[1],
        r#"{"jsonrpc":"2.0","method":"E_X","params":{"ip":"1.2.3.4","n":-7}}"#
    );
    assert!(engine.unsubscribe("E_X", &receiver.socket()).unwrap());
    assert_eq!(only(&engine, "E_X").socket, text, "the other form stays");
    raise_all(&event, 0..50);
    let texts: Vec<String> = (0..50).map(|n| format!("E_X\nn::{n}\n\n")).collect();
    let got: Vec<Vec<u8>> = texts.iter().map(|_| receiver.next()).collect();
    assert!(
        got.iter()
            .zip(&texts)
            .all(|(got, text)| got == text.as_bytes())
    );
    settled(&engine);
    receiver.assert_silent();
}

#[test]
fn the_largest_datagram_goes_and_one_byte_more_is_dropped_whole() {
    let receiver = Udp::new();
    let (engine, event) = heard_by(&[&receiver.socket()]);
    for (n, length) in [(0, 65_507), (1, 65_508), (2, 200_000), (3, 100)] {
        assert_eq!(raise_sized(&event, n, length), Raised::Queued);
    }
    assert_eq!(sized(&receiver.next()), (0, 65_507));
    assert_eq!(sized(&receiver.next()), (3, 100));
    let stats = settled(&engine);
    assert_eq!((stats.matched, stats.delivered), (4, 2));
    assert_eq!(stats.dropped.of(Reason::TooBig), 2);
    assert_eq!(only(&engine, "E_X").dropped.of(Reason::TooBig), 2);
    receiver.assert_silent();
}

#[test]
fn a_payload_beyond_the_engines_limit_is_dropped_before_anything() {
    let receiver = Udp::new();
    let (engine, event) = heard_by(&[&receiver.socket()]);
    let limit = bellwire::limits::PAYLOAD_BYTES;
    assert_eq!(raise_sized(&event, 0, limit), Raised::Queued);
    let dropped = Raised::Dropped(Reason::TooBig);
    assert_eq!(raise_sized(&event, 1, limit + 1), dropped);
    assert_eq!(raise_sized(&event, 2, 100), Raised::Queued);
    assert_eq!(sized(&receiver.next()), (2, 100));
    let stats = settled(&engine);
    assert_eq!((stats.raised, stats.fanned_out), (3, 2));
    assert_eq!(stats.dropped_before.of(Reason::TooBig), 1);
    assert_eq!(stats.dropped.of(Reason::TooBig), 1);
}

/// Bursts that lie in the lane together make runs to one destination, which leave through a
/// connected socket and, where they are equal, cut from one buffer.
#[test]
fn runs_arrive_whole_in_order_and_unmerged() {
    send_runs();
}

/// Gives the loopback interface a small MTU, and becomes the program that is named.
const SMALL_MTU: &str = "
import fcntl, os, socket, struct, sys
s = socket.socket()
fcntl.ioctl(s, 0x8922, struct.pack('16si', b'lo', 1300))  # SIOCSIFMTU
fcntl.ioctl(s, 0x8914, struct.pack('16sh', b'lo', 1))  # SIOCSIFFLAGS, IFF_UP
os.execv(sys.argv[1], sys.argv[1:])
";

/// Where the MTU is small, the kernel fragments a datagram, but not one that it cuts itself.
#[test]
fn runs_arrive_over_a_path_of_small_mtu() {
    let namespace = ["unshare", "--net", "--map-root-user"];
    let allowed = std::process::Command::new(namespace[0])
        .args([&namespace[1..], &["true"]].concat())
        .status();
    if !allowed.is_ok_and(|status| status.success()) {
        return eprintln!("no network namespace may be made here: nothing was tested");
    }
    let wrapper = [&namespace[..], &["python3", "-c", SMALL_MTU]].concat();
    let mut child = Child::start_under(&wrapper, "sender_over_a_small_mtu", "yes");
    assert_eq!(child.hear(), "done");
    child.finish();
}

/// Not a test of its own: runs where the MTU is small.
#[test]
fn sender_over_a_small_mtu() {
    if child::argument().is_some() {
        send_runs();
        child::tell("done");
    }
}

fn send_runs() {
    let receiver = Udp::new();
    let (engine, event) = heard_by(&[&receiver.socket()]);
    let equal = |length| vec![length; 100];
    let shorter_last = [vec![200; 40], vec![150], vec![200; 9], vec![80]].concat();
    let pairs = [100, 101].repeat(40);
    let sizes = (0..100).map(|n| 100 + n * 37 % 1500).collect();
    let around_the_cut = [vec![1400; 30], vec![1401; 30], vec![1399; 30]].concat();
    let with_huge = [vec![300; 20], vec![65_508], vec![300; 20]].concat();
    let growing = (1..12).flat_map(|run| vec![100 + run; run]).collect();
    let bursts = [
        equal(100),
        equal(1400),
        shorter_last,
        pairs,
        sizes,
        around_the_cut,
        with_huge,
        growing,
        vec![9000; 8],
    ];
    for round in 0..5 {
        for (number, burst) in bursts.iter().enumerate() {
            for (n, &length) in burst.iter().enumerate() {
                assert_eq!(raise_sized(&event, n as u64, length), Raised::Queued);
            }
            for (n, &length) in burst.iter().enumerate() {
                if length <= 65_507 {
                    let got = sized(&receiver.next());
                    assert_eq!(got, (n as u64, length), "burst {number} of round {round}");
                }
            }
        }
    }
    let stats = settled(&engine);
    assert_eq!(stats.dropped.total(), 5, "only what was too big");
    receiver.assert_silent();
}

/// A receiver that asks for merged datagrams gets them only if they left as one buffer.
#[test]
fn equal_runs_leave_as_one_buffer() {
    let receiver = Udp::new();
    setsockopt(&receiver.0, UdpGroSegment, &true).unwrap();
    let (_engine, event) = heard_by(&[&receiver.socket()]);
    let mut n = 0;
    eventually("merged datagrams", || {
        for _ in 0..64 {
            raise_sized(&event, n, 100);
        }
        n += 64;
        let mut lengths = Vec::new();
        while lengths.iter().sum::<usize>() < 64 * 100 {
            lengths.push(receiver.next().len());
        }
        assert!(
            lengths.iter().all(|length| length % 100 == 0),
            "{lengths:?}"
        );
        lengths.iter().any(|&length| length >= 800)
    });
}

/// An address that the system gives to nobody else: the port is not one it chooses by itself.
fn own_address() -> SocketAddr {
    let id = std::process::id();
    let [_, _, high, low] = id.to_be_bytes();
    let ip = format!("127.77.{high}.{}", low.max(1));
    let port = 20_000 + unique() as u16;
    SocketAddr::new(ip.parse().unwrap(), port)
}

#[test]
fn nothing_is_lost_after_the_receiver_came_back() {
    let address = own_address();
    let (engine, event) = heard_by(&[&format!("udp:{address}")]);
    let mut sent = 0;
    for round in 0..30 {
        // Nobody is there; what comes back makes the next sends fail.
        let absent = [0, 1, 7, 8, 64, 200][round % 6];
        for _ in 0..absent {
            raise_sized(&event, 0, 100);
        }
        settled(&engine);
        let receiver = Udp::at(address);
        let burst = [1, 2, 100][round % 3];
        for n in 1..=burst {
            raise_sized(&event, n, 100 + (round % 2) * n as usize);
        }
        // What the kernel took before may still be on its way when the receiver comes.
        let mut got = sized(&receiver.next()).0;
        while got == 0 {
            got = sized(&receiver.next()).0;
        }
        for n in 1..=burst {
            assert_eq!(got, n, "round {round}");
            if n < burst {
                got = sized(&receiver.next()).0;
            }
        }
        sent += absent + burst;
        settled(&engine);
        receiver.assert_silent();
    }
    let stats = settled(&engine);
    assert_eq!(stats.matched, sent);
    assert_eq!(stats.dropped.total(), stats.dropped.of(Reason::Refused));
}

#[test]
fn an_address_used_again_counts_anew() {
    let receiver = Udp::new();
    let (engine, event) = heard_by(&[&receiver.socket()]);
    raise_sized(&event, 0, 70_000);
    raise_all(&event, 0..5);
    assert_eq!(receiver.numbers(5), [0, 1, 2, 3, 4]);
    settled(&engine);
    let before = only(&engine, "E_X");
    assert_eq!(
        (before.matched, before.delivered, before.dropped.total()),
        (6, 5, 1)
    );
    for round in 0..300 {
        assert!(engine.unsubscribe("E_X", &receiver.socket()).unwrap());
        assert!(!engine.unsubscribe("E_X", &receiver.socket()).unwrap());
        let socket = receiver.socket();
        engine.subscribe("E_X", &socket, Expire::Never).unwrap();
        raise(&event, round);
        assert_eq!(receiver.numbers(1), [round]);
        let after = wait_for("the count", || {
            let after = only(&engine, "E_X");
            (after.delivered > 0).then_some(after)
        });
        assert_eq!(
            (after.matched, after.delivered, after.dropped.total()),
            (1, 1, 0)
        );
        assert_eq!((after.last_errno, after.state), (None, State::Up));
    }
    settled(&engine);
    receiver.assert_silent();
}

#[test]
fn events_of_several_kinds_reach_one_socket_in_order() {
    let receiver = Udp::new();
    let (engine, x) = heard_by(&[&receiver.socket()]);
    let y = engine.declare("E_Y").unwrap();
    let socket = receiver.socket();
    engine.subscribe("E_Y", &socket, Expire::Never).unwrap();
    for round in 0..20 {
        for n in 0..100 {
            raise(if n % (round + 2) < 2 { &x } else { &y }, n);
        }
        assert_eq!(receiver.numbers(100), Vec::from_iter(0..100));
    }
}

/// More destinations at once than sockets are kept connected.
#[test]
fn many_hot_receivers_each_get_everything_in_order() {
    let receivers: Vec<Udp> = (0..80).map(|_| Udp::new()).collect();
    let sockets: Vec<String> = receivers.iter().map(Udp::socket).collect();
    let (engine, event) = heard_by(&Vec::from_iter(sockets.iter().map(String::as_str)));
    for round in 0..3 {
        raise_all(&event, round * 64..(round + 1) * 64);
        for receiver in &receivers {
            let expected = Vec::from_iter(round * 64..(round + 1) * 64);
            assert_eq!(receiver.numbers(64), expected);
        }
    }
    assert_eq!(settled(&engine).delivered, 80 * 3 * 64);
    receivers.iter().for_each(Receive::assert_silent);
}
