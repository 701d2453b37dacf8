//! Children: this test binary once more, in a role.
//!
//! A role is a test function that returns at once unless it was started as a child. What a child
//! says to its parent are lines that begin with [`MARK`]; the rest is the test harness's.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::process::ChildStdin;
use std::process::ChildStdout;
use std::process::Command;
use std::process::Stdio;

use rustix::process::Pid;
use rustix::process::Signal;

const MARK: &str = ">> ";
const ARGUMENT: &str = "BELLWIRE_TEST_ROLE";

/// The argument that the parent gave, in a child.
pub(crate) fn argument() -> Option<String> {
    std::env::var(ARGUMENT).ok()
}

/// Says a line to the parent.
pub(crate) fn tell(line: &str) {
    // The harness may have begun a line.
    println!("\n{MARK}{line}");
    std::io::stdout().flush().unwrap();
}

/// Waits for a line of the parent; none if the parent is gone.
pub(crate) fn hear() -> Option<String> {
    let mut line = String::new();
    let length = std::io::stdin().read_line(&mut line).unwrap();
    (length > 0).then(|| line.trim_end().to_owned())
}

/// A child. Killed when dropped.
pub(crate) struct Child {
    process: std::process::Child,
    answers: BufReader<ChildStdout>,
    words: Option<ChildStdin>,
}

impl Child {
    /// Starts the role with an argument.
    pub(crate) fn start(role: &str, argument: &str) -> Self {
        Self::start_under(&[], role, argument)
    }

    /// The same, under another program.
    pub(crate) fn start_under(wrapper: &[&str], role: &str, argument: &str) -> Self {
        let program = std::env::current_exe().unwrap();
        let mut command = match wrapper {
            [] => Command::new(program),
            [wrapper, arguments @ ..] => {
                let mut command = Command::new(wrapper);
                command.args(arguments).arg(program);
                command
            }
        };
        let mut process = command
            .args(["--exact", role, "--nocapture", "--test-threads=1"])
            .env(ARGUMENT, argument)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        let words = process.stdin.take();
        Self {
            process,
            answers,
            words,
        }
    }

    /// The next line that the child says.
    pub(crate) fn hear(&mut self) -> String {
        let mut seen = String::new();
        loop {
            let begin = seen.len();
            let length = self.answers.read_line(&mut seen).unwrap();
            assert!(length > 0, "the child ended; it said:\n{seen}");
            if let Some(line) = seen[begin..].strip_prefix(MARK) {
                return line.trim_end().to_owned();
            }
        }
    }

    /// Says a line to the child.
    pub(crate) fn tell(&mut self, line: &str) {
        let words = self.words.as_mut().unwrap();
        writeln!(words, "{line}").unwrap();
        words.flush().unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.target().signal(signal);
    }

    /// Where signals go: for another thread.
    pub(crate) fn target(&self) -> Target {
        Target(Pid::from_child(&self.process))
    }

    /// Stops the child, and returns when it does not run any more.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
        let status = format!("/proc/{}/status", self.process.id());
        super::eventually("the child to stop", || {
            std::fs::read_to_string(&status)
                .unwrap()
                .contains("State:\tT")
        });
    }

    /// Kills the child, and returns when it is gone.
    pub(crate) fn kill(&mut self) {
        self.process.kill().ok();
        self.process.wait().unwrap();
    }

    /// Waits for the end of the child, which must have done well.
    pub(crate) fn finish(mut self) {
        drop(self.words.take());
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut self.answers, &mut rest).unwrap();
        let status = self.process.wait().unwrap();
        // A role that is not there would do well, too.
        let did_well = status.success() && rest.contains(" 1 passed");
        assert!(did_well, "the child failed:\n{rest}");
    }
}

/// A process that signals are sent to.
#[derive(Clone, Copy)]
pub(crate) struct Target(Pid);

impl Target {
    /// The process must not have been waited for yet.
    pub(crate) fn signal(self, signal: Signal) {
        rustix::process::kill_process(self.0, signal).unwrap();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}
