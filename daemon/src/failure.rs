//! How a command ends badly: one line that says what, where and what would be right.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// Why a command did not do what it was asked. Its text never holds a secret.
#[derive(Debug)]
pub(crate) struct Failure {
    text: String,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It was understood, and did not work.
    Failed,
    /// The command line says something that cannot be meant.
    Usage,
    /// Who reads our output has gone: nobody is left to tell.
    Unread,
}

impl Failure {
    /// The command was understood and did not work: exit code 1.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            kind: Kind::Failed,
        }
    }

    /// The command line cannot be meant so: exit code 2.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            kind: Kind::Usage,
        }
    }

    /// Prints itself, if anybody reads, and says how the program ends.
    pub(crate) fn report(&self) -> ExitCode {
        if self.kind != Kind::Unread {
            eprintln!("bellwire: {self}");
        }
        match self.kind {
            Kind::Usage => ExitCode::from(2),
            Kind::Failed | Kind::Unread => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A failed write to our output; whatever else does input and output says more about itself.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::BrokenPipe => Kind::Unread,
            _ => Kind::Failed,
        };
        Self {
            text: format!("output: {error}"),
            kind,
        }
    }
}
