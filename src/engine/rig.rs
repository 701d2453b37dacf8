//! An engine without threads, kernel and clock of its own: who drives it brings them.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::core::Core;
use super::reactor::{Outside, Reactor};
use super::shared::{Alarm, Shared};
use super::{Config, Handle, control};
use crate::os::{Datagrams, Os, To};
use crate::registry::{Change, Changed, Expire};

/// The engine's shared parts, and its threads as functions. The rest is [`Handle`].
#[derive(Clone, Debug)]
pub struct Rig(Handle);

/// Takes a datagram, as the kernel would.
pub type Send = Arc<dyn Fn(SocketAddr, &[u8]) -> io::Result<()> + std::marker::Send + Sync>;

impl Rig {
    /// `wake` is to end the reactor's sleep.
    pub fn new(config: Config, wake: impl Fn() + std::marker::Send + Sync + 'static) -> Self {
        let alarm = Alarm(Box::new(move || {
            wake();
            Ok(())
        }));
        let shared = Arc::new(Shared::new(config, alarm));
        Self(Handle { shared })
    }

    /// The reactor's thread. `sleep` returns when the alarm rings, or when it likes if a timeout
    /// is given.
    pub fn run_reactor(&self, send: Send, sleep: impl FnMut(Option<Duration>)) {
        let outside = Fake {
            kernel: FakeKernel(send),
            sleep,
        };
        let reactor = Reactor::with(Arc::clone(&self.0.shared), outside);
        reactor.expect("a fake kernel gives sockets").run();
    }

    /// The control thread.
    pub fn run_control(&self) {
        control::run(&self.0.shared);
    }

    /// What a shutdown does before it joins the threads.
    pub fn refuse(&self, drain: Duration) {
        self.0.shared.refuse(Instant::now() + drain);
    }

    /// Subscribes at a time of the caller's, in milliseconds; false if it was known and renewed.
    ///
    /// # Panics
    /// When the event or the socket is no good.
    pub fn subscribe_at(&self, now_ms: u64, event: &str, socket: &str, expire: Expire) -> bool {
        let change = self.0.subscription(event, socket, expire);
        let change: Change<'_> = change.expect("a good event and socket");
        self.0.shared.registry.apply(now_ms, [change]) == [Changed::Subscribed]
    }

    /// Ends what has reached its end at that time; true if anything did.
    pub fn expire_at(&self, now_ms: u64) -> bool {
        let any = self.0.shared.registry.expire(now_ms);
        if any {
            self.0.shared.parker.notify();
        }
        any
    }

    /// What the control thread waits for.
    pub fn wait_due(&self, now_ms: u64) -> bool {
        self.0.shared.registry.wait_due(now_ms)
    }
}

impl Deref for Rig {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.0
    }
}

struct Fake<S> {
    kernel: FakeKernel,
    sleep: S,
}

impl<S: FnMut(Option<Duration>)> Outside for Fake<S> {
    fn os(&self) -> &dyn Os {
        &self.kernel
    }

    fn sleep(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        (self.sleep)(timeout);
        Ok(())
    }

    fn serve(&mut self, _: &mut Core) {}
}

/// All its sockets are one.
#[derive(Clone)]
struct FakeKernel(Send);

impl fmt::Debug for FakeKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeKernel").finish_non_exhaustive()
    }
}

impl Os for FakeKernel {
    fn udp(&self, _: SocketAddr) -> io::Result<Box<dyn Datagrams>> {
        Ok(Box::new(self.clone()))
    }

    fn udp_to(&self, _: SocketAddr) -> io::Result<Box<dyn Datagrams>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn unix_to(&self, _: &Path, _: u32) -> io::Result<Box<dyn Datagrams>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Datagrams for FakeKernel {
    fn send(&self, batch: &[(To, &Bytes)]) -> io::Result<usize> {
        for (sent, (to, payload)) in batch.iter().enumerate() {
            let To::Address(address) = *to else {
                return Err(io::ErrorKind::NotConnected.into());
            };
            match (self.0)(address, payload) {
                Ok(()) => {}
                Err(error) if sent == 0 => return Err(error),
                Err(_) => return Ok(sent),
            }
        }
        Ok(batch.len())
    }

    fn send_cut(&self, _: &[&Bytes]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
