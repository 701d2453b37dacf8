//! Management over HTTP: `POST /mi` with a JSON-RPC request in the body, as OpenSIPS `mi_http`.
//!
//! One thread serves all connections; commands run beside it, because one may wait for a name
//! lookup. `connections` keeps their number bounded, `respond` answers one request.

mod connections;
mod respond;

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use self::connections::Connections;

/// Longest request line and headers, in bytes.
const HEADER_BYTES: usize = 8 * 1024;
/// Commands that run at one time; more wait for their turn.
const COMMANDS: usize = 16;
/// How long to wait before accepting again when the process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers one request body; `None` if nothing is answered. May wait.
pub(crate) type Answer = Arc<dyn Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync>;

/// What one client may take.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// For a request's headers, from the moment it is waited for.
    header_time: Duration,
    /// For its body.
    body_time: Duration,
    connections: usize,
    /// For the requests under way when the server stops.
    stop_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_time: Duration::from_secs(5),
            body_time: Duration::from_secs(10),
            connections: 64,
            stop_time: Duration::from_secs(1),
        }
    }
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Server {
    /// Serves what comes to `listener`, in a thread of its own.
    pub(crate) fn start(listener: TcpListener, answer: Answer) -> io::Result<Self> {
        Self::start_with(listener, answer, Limits::default())
    }

    fn start_with(listener: TcpListener, answer: Answer, limits: Limits) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(COMMANDS)
            .build()?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            let service = Rc::new(Service {
                answer,
                limits,
                graceful: GracefulShutdown::new(),
            });
            let local = LocalSet::new();
            let accepting = local.spawn_local(accept(listener, Rc::clone(&service)));
            local.block_on(&runtime, async move {
                // An error means that the other side is gone: to be stopped, too.
                stopped.await.ok();
                accepting.abort();
                accepting.await.ok();
                service.finish().await;
            });
            drop(local);
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name("http".into()).spawn(run)?;
        Ok(Self {
            address,
            stop,
            thread,
        })
    }

    /// Where it listens: with the port that the kernel chose, if it was left to it.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more requests, answers those it has, and ends.
    pub(crate) fn stop(self) {
        // It fails if the thread has ended already, which is what is wanted.
        self.stop.send(()).ok();
        if self.thread.join().is_err() {
            tracing::error!("the HTTP thread had panicked");
        }
    }
}

/// What all connections share.
struct Service {
    answer: Answer,
    limits: Limits,
    graceful: GracefulShutdown,
}

impl Service {
    async fn finish(self: Rc<Self>) {
        // The accepting task held the only other one, and it has ended.
        let Some(service) = Rc::into_inner(self) else {
            return;
        };
        tokio::time::timeout(service.limits.stop_time, service.graceful.shutdown())
            .await
            .ok();
    }
}

async fn accept(listener: tokio::net::TcpListener, service: Rc<Service>) -> Infallible {
    let connections = Connections::new(service.limits.connections);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => open(stream, &connections, &service),
            Err(error) => {
                tracing::warn!("mi.http: accept: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one connection in a task of its own, if there is room or room can be made.
fn open(stream: TcpStream, connections: &Rc<Connections>, service: &Service) {
    let Some(place) = connections.enter() else {
        return;
    };
    let limits = service.limits;
    let answer = Arc::clone(&service.answer);
    let at_work = place.clone();
    let respond = service_fn(move |request| {
        let answer = Arc::clone(&answer);
        let at_work = at_work.clone();
        async move {
            let response = respond::respond(request, answer, limits.body_time, &at_work).await;
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // A client may say that it has said all, and still wait for the answer.
        .half_close(true)
        .header_read_timeout(limits.header_time)
        .max_header_size(HEADER_BYTES)
        .max_buf_size(4 * HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), respond);
    let connection = service.graceful.watch(connection);
    let left = place.clone();
    let task = tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            tracing::debug!("mi.http: {error}");
        }
        left.leave();
    });
    place.hold(task.abort_handle());
}

#[cfg(test)]
mod tests;
