//! Where the brokers are that are told by name: librdkafka looks them up itself, and does not say
//! what it found.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use crate::sync::Mutex;
use crate::transport::resolve::Lookups;

/// How long an answer of the name server is believed.
const FRESH: Duration = Duration::from_secs(60);

/// The names of the brokers of one client.
#[derive(Debug)]
pub(super) struct Names {
    lookups: Lookups,
    known: Arc<Mutex<HashMap<String, Vec<SocketAddr>>>>,
    asked: HashMap<String, Instant>,
}

impl Names {
    pub(super) fn new(lookups: &Lookups) -> Self {
        Self {
            lookups: lookups.clone(),
            known: Arc::default(),
            asked: HashMap::new(),
        }
    }

    /// The addresses of these places (`host:port`), as far as they are known. What a name server
    /// says meanwhile is there the next time.
    pub(super) fn addresses(&mut self, places: &[String], now: Instant) -> Vec<SocketAddr> {
        let mut addresses = Vec::new();
        self.asked.retain(|place, _| places.contains(place));
        for place in places {
            match place.parse() {
                Ok(address) => addresses.push(address),
                Err(_) => self.ask(place, now),
            }
        }
        let mut known = self.known.lock().expect("no panic under this lock");
        known.retain(|place, _| places.contains(place));
        addresses.extend(known.values().flatten());
        addresses
    }

    fn ask(&mut self, place: &str, now: Instant) {
        let asked = self.asked.get(place);
        let is_fresh = asked.is_some_and(|asked| now.duration_since(*asked) < FRESH);
        let Some((host, Ok(port))) = place
            .rsplit_once(':')
            .map(|(host, port)| (host, port.parse()))
        else {
            return;
        };
        if is_fresh {
            return;
        }
        self.asked.insert(place.to_owned(), now);
        let (known, name) = (Arc::clone(&self.known), place.to_owned());
        let started = self.lookups.start(host, port, move |found| match found {
            Ok(found) => {
                let mut known = known.lock().expect("no panic under this lock");
                known.insert(name, found);
            }
            Err(error) => tracing::debug!("kafka: {error}"),
        });
        if let Err(error) = started {
            tracing::debug!("kafka: {error}");
            self.asked.remove(place);
        }
    }
}
