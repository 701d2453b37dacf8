//! A proxy's own event, heard over UDP and in-process, with the counters at the end.
//!
//! ```text
//! cargo run --release --example embed
//! ```

use std::error::Error;
use std::net::UdpSocket;
use std::time::Duration;

use bellwire::{Config, Engine, Expire, Raised};

fn main() -> Result<(), Box<dyn Error>> {
    let engine = Engine::start(Config::default())?;
    let blocked = engine.declare("E_PIKE_BLOCKED")?;

    // Nobody listens yet: this is one load, and the closure does not run.
    assert_eq!(blocked.raise(|_| unreachable!()), Raised::Unheard);

    // Whoever has a socket of OpenSIPS's forms may subscribe; here it is ourselves.
    let receiver = UdpSocket::bind("127.0.0.1:0")?;
    receiver.set_read_timeout(Some(Duration::from_secs(5)))?;
    let socket = format!("udp:{}", receiver.local_addr()?);
    engine.subscribe("E_PIKE_BLOCKED", &socket, Expire::after_secs(60))?;

    // A handler runs on a thread of the engine's, never on the one that raises.
    engine.on("E_PIKE_BLOCKED", |event| {
        println!("handler:  {} {:?}", event.name(), event.param("ip"));
    })?;

    // This is all that the proxy's own thread does; it never waits.
    for address in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
        blocked.raise(|p| {
            p.str("ip", address).int("port", 5060);
        });
    }

    let mut datagram = [0; 512];
    for _ in 0..3 {
        let length = receiver.recv(&mut datagram)?;
        println!("datagram: {}", String::from_utf8_lossy(&datagram[..length]));
    }

    // Drains, and tells what became of every event.
    let stats = engine.shutdown(Duration::from_secs(2));
    println!(
        "raised {}, matched {}, delivered {}, dropped {}",
        stats.raised,
        stats.matched,
        stats.delivered,
        stats.dropped.total()
    );
    Ok(())
}
