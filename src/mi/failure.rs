//! Why a command failed, as the client is told.

/// A command's refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: i32,
    pub(crate) message: &'static str,
    /// What exactly was wrong; absent where OpenSIPS has no words and neither have we.
    pub(crate) data: Option<String>,
}

impl Failure {
    /// A refusal in the HTTP-like style of the commands.
    pub(crate) fn command(code: i32, message: &'static str) -> Self {
        Self {
            code,
            message,
            data: None,
        }
    }

    /// The same, with the reason.
    pub(crate) fn because(code: i32, message: &'static str, data: impl Into<String>) -> Self {
        Self {
            code,
            message,
            data: Some(data.into()),
        }
    }

    /// 400 with the one message OpenSIPS has for it, and the reason it does not give.
    pub(crate) fn bad_value(data: impl Into<String>) -> Self {
        Self::because(400, "Bad parameter value", data)
    }

    /// -32602: the parameters do not fit the command.
    pub(crate) fn params(data: impl Into<String>) -> Self {
        Self::because(-32602, "Invalid params", data)
    }

    /// A parameter of the wrong type, or empty.
    pub(crate) fn bad_type(name: &str) -> Self {
        Self::params(format!("Bad type for parameter '{name}'"))
    }

    /// No recipe has that many parameters.
    pub(crate) fn bad_count() -> Self {
        Self::params(BAD_COUNT)
    }

    /// Whether it is [`bad_count`](Self::bad_count), for which the text form has its own words.
    pub(crate) fn is_bad_count(&self) -> bool {
        self.data.as_deref() == Some(BAD_COUNT)
    }

    /// -32601
    pub(crate) fn method_not_found() -> Self {
        Self::command(-32601, "Method not found")
    }
}

const BAD_COUNT: &str = "Too few or too many parameters";
