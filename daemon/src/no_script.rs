//! The place of `script` in a build without Lua: a configuration that names one is refused.

use std::path::Path;
use std::sync::Arc;

use bellwire::Handle;
use bellwire::mi::Provider;

use crate::failure::Failure;
use crate::settings::Routes;

/// No script.
#[derive(Debug)]
pub(crate) struct Script;

/// No script that was loaded.
#[derive(Debug)]
pub(crate) enum Loaded {}

/// No script that is ready.
#[derive(Debug)]
pub(crate) enum Held {}

/// Set when the daemon is told to stop.
#[allow(clippy::disallowed_types, reason = "what signal-hook takes")]
pub(crate) type Stopping = Arc<std::sync::atomic::AtomicBool>;

impl Loaded {
    pub(crate) fn routes(&self) -> usize {
        match *self {}
    }
}

impl Script {
    pub(crate) fn new(_: Handle, _: Stopping) -> Self {
        Self
    }

    pub(crate) fn load(&mut self, routes: &Routes, _: &Path) -> Result<Option<Loaded>, Failure> {
        match &routes.script {
            None => Ok(None),
            Some(_) => Err(Failure::new("routes.script: this build runs no scripts")),
        }
    }

    pub(crate) fn hold(&self, loaded: Loaded) -> Result<Option<Held>, Failure> {
        match loaded {}
    }

    pub(crate) fn give_up(&self, held: Held) {
        match held {}
    }

    pub(crate) fn release(&mut self, held: Held) {
        match held {}
    }

    pub(crate) fn owns(&self, _: &str, _: &str) -> bool {
        false
    }

    pub(crate) fn renew(&self) {}

    pub(crate) fn described(&self) -> Option<String> {
        None
    }

    pub(crate) fn statistics(&self) -> Provider {
        Arc::new(Vec::new)
    }
}
