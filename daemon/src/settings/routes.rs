//! `[routes]`: the Lua script whose functions events run, and what one run of it may use.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::limits::{Count, Seconds};

/// What the script can be told; nothing runs in a build without Lua.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Routes {
    /// Relative to the directory of the configuration; none if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) script: Option<PathBuf>,
    memory_bytes: Count<{ 1 << 20 }, { 1 << 34 }>,
    run_instructions: Count<10_000, 1_000_000_000_000>,
    run_seconds: Seconds<60>,
}

impl Default for Routes {
    fn default() -> Self {
        Self {
            script: None,
            memory_bytes: Count(64 << 20),
            run_instructions: Count(50_000_000),
            run_seconds: Seconds(1.0),
        }
    }
}

#[cfg(feature = "lua")]
impl From<&Routes> for crate::script::Limits {
    fn from(routes: &Routes) -> Self {
        Self {
            memory_bytes: routes.memory_bytes.0,
            instructions: routes.run_instructions.0 as u64,
            time: std::time::Duration::from_secs_f64(routes.run_seconds.0),
        }
    }
}
