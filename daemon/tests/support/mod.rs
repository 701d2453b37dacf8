//! The real program in a run directory of its own.

#![allow(dead_code, reason = "each test file uses its part")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Longest wait for something that must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A daemon, its files, and how it was told to listen.
pub(crate) struct Daemon {
    pub(crate) child: Child,
    pub(crate) dir: Home,
    /// What it said of itself at its start.
    pub(crate) announced: String,
    stdout: BufReader<ChildStdout>,
}

/// A temporary directory with a run directory in it.
pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn run(&self) -> PathBuf {
        self.path("run")
    }

    /// The program with this home's run directory, and nothing to read.
    pub(crate) fn program(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bellwire"));
        command.args(arguments);
        // More patient than by default: a daemon on a busy machine may stand still for long.
        const ASKING: [&str; 6] = [
            "subscribe",
            "unsubscribe",
            "events",
            "subscribers",
            "raise",
            "stats",
        ];
        let asks = arguments
            .first()
            .is_some_and(|first| ASKING.contains(first));
        if asks && !arguments.contains(&"--timeout") {
            command.args(["--timeout", "20"]);
        }
        command
            .env("BELLWIRE_RUN_DIR", self.run())
            .stdin(Stdio::null());
        command.env_remove("NOTIFY_SOCKET");
        command
    }

    /// Runs a command that ends by itself.
    pub(crate) fn output(&self, arguments: &[&str]) -> Output {
        self.program(arguments).output().unwrap()
    }

    /// Runs a command that must succeed, and gives what it printed.
    #[track_caller]
    pub(crate) fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that must fail with this exit code, and gives what it complained of.
    #[track_caller]
    pub(crate) fn fail(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        errors
    }

    /// Writes a configuration and gives its path.
    pub(crate) fn configure(&self, text: &str) -> PathBuf {
        let path = self.path("bellwire.toml");
        fs::write(&path, text).unwrap();
        path
    }

    /// Starts a daemon with a free HTTP port.
    pub(crate) fn serve(self, configuration: &str) -> Daemon {
        self.serve_with(configuration, &[])
    }

    /// The same with more arguments.
    pub(crate) fn serve_with(self, configuration: &str, more: &[&str]) -> Daemon {
        let file = self.configure(configuration);
        let mut arguments = vec![
            "serve",
            "--http",
            "127.0.0.1:0",
            "--config",
            file.to_str().unwrap(),
        ];
        arguments.extend(more);
        let errors = File::options()
            .create(true)
            .append(true)
            .open(self.path("stderr"))
            .unwrap();
        let mut child = self
            .program(&arguments)
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut announced = String::new();
        while !announced.contains("curl") {
            let length = stdout.read_line(&mut announced).unwrap();
            assert!(
                length > 0,
                "it ended: {}",
                fs::read_to_string(self.path("stderr")).unwrap()
            );
        }
        Daemon {
            child,
            dir: self,
            announced,
            stdout,
        }
    }
}

impl Daemon {
    pub(crate) fn start() -> Self {
        Home::new().serve("")
    }

    /// Where it announced to listen, by how that begins.
    #[track_caller]
    pub(crate) fn place(&self, start: &str) -> String {
        let mut words = self.announced.split_whitespace();
        words
            .find(|word| word.starts_with(start))
            .expect(start)
            .to_owned()
    }

    /// Host and port of its HTTP.
    pub(crate) fn http(&self) -> String {
        self.place("http://")
            .trim_start_matches("http://")
            .trim_end_matches("/mi")
            .to_owned()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn errors(&self) -> String {
        fs::read_to_string(self.dir.path("stderr")).unwrap()
    }

    /// Waits until it has complained so often of this.
    #[track_caller]
    pub(crate) fn await_error(&self, words: &str) {
        eventually(words, || self.errors().contains(words));
    }

    /// Ends it with SIGTERM, and gives how it ended and its last words.
    pub(crate) fn terminate(self) -> (ExitStatus, String) {
        self.signal(Signal::TERM);
        let (status, last, _) = self.wait();
        (status, last)
    }

    /// Waits for its end; gives back its home, too.
    pub(crate) fn wait(mut self) -> (ExitStatus, String, Home) {
        let mut last = String::new();
        self.stdout.read_to_string(&mut last).unwrap();
        let status = self.child.wait().unwrap();
        let home = std::mem::replace(&mut self.dir, Home::new());
        (status, last, home)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It fails when the test has ended it already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A program that is killed if the test ends before it does.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A UDP socket and its socket string.
pub(crate) fn receiver() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let name = format!("udp:{}", socket.local_addr().unwrap());
    (socket, name)
}

/// The next datagram, which must come.
#[track_caller]
pub(crate) fn next(socket: &UdpSocket) -> String {
    let mut buffer = [0; 65_535];
    let length = socket.recv(&mut buffer).unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

/// Waits until it holds.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The names in a directory, in order.
pub(crate) fn entries(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}
