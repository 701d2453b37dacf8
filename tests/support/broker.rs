//! A RabbitMQ node of our own, and a client of it that is not ours.

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::process::Child;
use std::process::ChildStdin;
use std::process::ChildStdout;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use rustix::process::Pid;
use rustix::process::Signal;
use serde_json::Value as Json;
use serde_json::json;

use super::TempDir;
use super::ports::free_ports;
use super::unique;

/// Where Debian keeps the scripts that any user may run.
const BIN: &str = "/usr/lib/rabbitmq/bin";
/// A node takes some seconds to start; on a busy machine, many.
const START: Duration = Duration::from_secs(120);

/// Whether there is one to start.
pub(crate) fn is_installed() -> bool {
    Path::new(BIN).exists()
}

/// A node with ports, directories and a port mapper of its own. Killed when dropped, and when
/// this process ends.
pub(crate) struct Broker {
    directory: TempDir,
    pub(crate) port: u16,
    /// For TLS, if it was started with a certificate.
    pub(crate) tls_port: u16,
    distribution_port: u16,
    mapper_port: u16,
    node: Option<Child>,
    mapper: Child,
    /// Ends all when the other end of its input is closed, as it is when this process ends.
    keeper: Child,
}

impl Broker {
    pub(crate) fn start() -> Self {
        Self::start_with("")
    }

    /// Starts a node with these lines in its configuration; `{tls_port}` is a free port.
    pub(crate) fn start_with(configuration: &str) -> Self {
        assert!(
            is_installed(),
            "RabbitMQ is not installed: ./test installs it, or apt-get install rabbitmq-server"
        );
        let directory = TempDir::new();
        let [port, tls_port, distribution_port, mapper_port] = free_ports();
        let configuration = configuration.replace("{tls_port}", &tls_port.to_string());
        fs::write(directory.file("rabbitmq.conf"), configuration).unwrap();
        fs::write(directory.file("plugins"), "[].").unwrap();
        // It is the keeper that ends it.
        let mapper = Command::new("epmd")
            .args(["-address", "127.0.0.1", "-port", &mapper_port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        const KEEP: &str = r#"cat; kill -9 "$(cat "$0/pid")" "$1"; rm -rf "$0""#;
        let keeper = Command::new("sh")
            .args(["-c", KEEP])
            .arg(directory.path())
            .arg(mapper.id().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut broker = Self {
            directory,
            port,
            tls_port,
            distribution_port,
            mapper_port,
            node: None,
            mapper,
            keeper,
        };
        broker.run();
        broker
    }

    /// Starts the node again, after it was stopped or killed.
    pub(crate) fn run(&mut self) {
        fs::remove_file(self.directory.file("pid")).ok();
        let output = fs::File::options()
            .create(true)
            .append(true)
            .open(self.directory.file("output"))
            .unwrap();
        let mut command = self.command("rabbitmq-server");
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output);
        self.node = Some(command.spawn().unwrap());
        let deadline = Instant::now() + START;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let output = || fs::read_to_string(self.directory.file("output")).unwrap();
            let ended = self.node.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "the broker ended:\n{}", output());
            assert!(Instant::now() < deadline, "no broker:\n{}", output());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(format!("{BIN}/{program}"));
        let file = |name| self.directory.file(name);
        command
            .env("HOME", self.directory.path())
            .env("RABBITMQ_NODENAME", format!("bw{}@localhost", self.port))
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", self.port.to_string())
            .env("RABBITMQ_DIST_PORT", self.distribution_port.to_string())
            .env("ERL_EPMD_PORT", self.mapper_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_MNESIA_BASE", file("data"))
            .env("RABBITMQ_LOG_BASE", file("log"))
            .env("RABBITMQ_SCHEMA_DIR", file("schema"))
            .env("RABBITMQ_PID_FILE", file("pid"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", file("plugins"))
            .env("RABBITMQ_CONFIG_FILE", file("rabbitmq"))
            .env("RABBITMQ_CONF_ENV_FILE", file("none"))
            // Two nodes of a test run share two cores.
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+sbwt none +S 2:2");
        command
    }

    /// Runs `rabbitmqctl`.
    pub(crate) fn control(&self, arguments: &[&str]) -> String {
        let output = self
            .command("rabbitmqctl")
            .args(arguments)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {text}{errors}");
        text
    }

    fn pid(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.directory.file("pid")).ok()?;
        Pid::from_raw(text.trim().parse().ok()?)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid().unwrap(), signal).unwrap();
    }

    /// Kills the node, and returns when it is gone.
    pub(crate) fn kill(&mut self) {
        if let Some(pid) = self.pid() {
            rustix::process::kill_process(pid, Signal::KILL).ok();
        }
        self.wait();
    }

    /// Stops the node as its operator would, and returns when it is gone.
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::TERM);
        self.wait();
    }

    fn wait(&mut self) {
        if let Some(mut node) = self.node.take() {
            node.wait().unwrap();
        }
    }

    /// What the node wrote to its log.
    pub(crate) fn log(&self) -> String {
        let files = fs::read_dir(self.directory.file("log")).unwrap();
        files
            .map(|file| fs::read_to_string(file.unwrap().path()).unwrap_or_default())
            .collect()
    }

    /// Makes a virtual host for one test, and gives its name.
    pub(crate) fn host(&self) -> String {
        let name = format!("t{}", unique());
        self.add_host(&name);
        name
    }

    pub(crate) fn add_host(&self, name: &str) {
        self.control(&["add_vhost", name]);
        self.control(&["set_permissions", "-p", name, "guest", ".*", ".*", ".*"]);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        self.keeper.wait().ok();
        self.mapper.wait().ok();
        self.wait();
    }
}

/// A Python that has pika.
fn python() -> &'static str {
    let has_pika = |python: &&str| {
        let output = Command::new(python).args(["-c", "import pika"]).output();
        output.is_ok_and(|output| output.status.success())
    };
    ["python3", "/usr/bin/python3"]
        .into_iter()
        .find(has_pika)
        .expect("pika is not installed: ./test installs it, or apt-get install python3-pika")
}

/// A client in another process and language.
pub(crate) struct Peer {
    process: Child,
    words: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// One message as a consumer receives it.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) body: Vec<u8>,
    /// All else.
    pub(crate) rest: Json,
}

impl Peer {
    pub(crate) fn new(broker: &Broker, host: &str) -> Self {
        let mut process = Command::new(python())
            .args(["-c", include_str!("../peers/amqp.py")])
            .args([&broker.port.to_string(), host, "guest", "guest"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let words = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self {
            process,
            words,
            answers,
        }
    }

    /// Has it do something, which may fail.
    pub(crate) fn try_ask(&mut self, asked: &Json) -> Result<Json, String> {
        writeln!(self.words, "{asked}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let mut answer: Json = serde_json::from_str(&line).unwrap();
        match answer["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer["ok"].take()),
        }
    }

    pub(crate) fn ask(&mut self, asked: &Json) -> Json {
        self.try_ask(asked)
            .unwrap_or_else(|error| panic!("{asked}: {error}"))
    }

    pub(crate) fn queue(&mut self, name: &str) {
        self.ask(&json!({"do": "queue", "name": name}));
    }

    pub(crate) fn count(&mut self, queue: &str) -> u64 {
        let count = self.ask(&json!({"do": "count", "queue": queue}));
        count.as_u64().unwrap()
    }

    /// The next message of a queue; there must be one.
    pub(crate) fn get(&mut self, queue: &str) -> Message {
        self.try_get(queue).expect("a message in the queue")
    }

    pub(crate) fn try_get(&mut self, queue: &str) -> Option<Message> {
        let mut rest = self.ask(&json!({"do": "get", "queue": queue}));
        if rest.is_null() {
            return None;
        }
        let body = serde_json::from_value(rest["body"].take()).unwrap();
        Some(Message { body, rest })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// A certificate that signs itself, for `127.0.0.1`.
pub(crate) struct Certificate(TempDir);

impl Certificate {
    pub(crate) fn new() -> Self {
        let directory = TempDir::new();
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"])
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-subj", "/CN=bellwire test"])
            .args(["-addext", "subjectAltName=IP:127.0.0.1"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-keyout")
            .arg(directory.file("key.pem"))
            .arg("-out")
            .arg(directory.file("cert.pem"))
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        Self(directory)
    }

    pub(crate) fn file(&self) -> String {
        self.0.file("cert.pem").display().to_string()
    }

    /// What a broker that has it needs to be told.
    pub(crate) fn settings(&self) -> String {
        let (certificate, key) = (self.file(), self.0.file("key.pem"));
        format!(
            "listeners.ssl.default = {{tls_port}}\n\
             ssl_options.certfile = {certificate}\n\
             ssl_options.keyfile = {}\n",
            key.display()
        )
    }
}

/// A proxy that can fall silent: both ends stay connected, and hear nothing of each other.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    state: Arc<ProxyState>,
}

#[derive(Default)]
struct ProxyState {
    is_frozen: AtomicBool,
    is_over: AtomicBool,
}

impl Proxy {
    /// At a port of its own, to that port.
    pub(crate) fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let state = Arc::new(ProxyState::default());
        let port = listener.local_addr().unwrap().port();
        listener.set_nonblocking(true).unwrap();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            while !shared.is_over.load(Relaxed) {
                let accepted = listener.accept().ok();
                let Some((client, _)) = accepted.filter(|_| !shared.is_over.load(Relaxed)) else {
                    thread::sleep(Duration::from_millis(2));
                    continue;
                };
                if let Ok(server) = TcpStream::connect(("127.0.0.1", target)) {
                    shared.carry(&client, &server);
                    shared.carry(&server, &client);
                }
            }
        });
        Self { port, state }
    }

    pub(crate) fn freeze(&self, is_frozen: bool) {
        self.state.is_frozen.store(is_frozen, Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.is_over.store(true, Relaxed);
    }
}

impl ProxyState {
    /// Carries what comes from one to the other, in a thread.
    fn carry(self: &Arc<Self>, from: &TcpStream, to: &TcpStream) {
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        from.set_nonblocking(false).unwrap();
        from.set_read_timeout(Some(Duration::from_millis(5)))
            .unwrap();
        let state = Arc::clone(self);
        thread::spawn(move || {
            let mut bytes = [0; 16 * 1024];
            while !state.is_over.load(Relaxed) {
                if state.is_frozen.load(Relaxed) {
                    thread::sleep(Duration::from_millis(2));
                    continue;
                }
                match from.read(&mut bytes) {
                    Ok(0) => break,
                    Ok(count) => {
                        if to.write_all(&bytes[..count]).is_err() {
                            break;
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(_) => break,
                }
            }
            to.shutdown(Shutdown::Both).ok();
            from.shutdown(Shutdown::Both).ok();
        });
    }
}
