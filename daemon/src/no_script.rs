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

/// Holds nothing back.
#[derive(Debug)]
pub(crate) struct Hold;

impl Hold {
    pub(crate) fn release(self) {}
}

impl Loaded {
    pub(crate) fn routes(&self) -> usize {
        match *self {}
    }
}

impl Script {
    pub(crate) fn new(_: Handle) -> Self {
        Self
    }

    pub(crate) fn load(&mut self, routes: &Routes, _: &Path) -> Result<Option<Loaded>, Failure> {
        match &routes.script {
            None => Ok(None),
            Some(_) => Err(Failure::new("routes.script: this build runs no scripts")),
        }
    }

    pub(crate) fn forget(&self, loaded: &Loaded) {
        match *loaded {}
    }

    pub(crate) fn run(&mut self, loaded: Loaded) -> Result<Option<Hold>, Failure> {
        match loaded {}
    }

    pub(crate) fn described(&self) -> Option<String> {
        None
    }

    pub(crate) fn statistics(&self) -> Provider {
        Arc::new(Vec::new)
    }
}
