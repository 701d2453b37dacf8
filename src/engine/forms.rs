//! The forms of a batch of events: each made once an event, when the first subscriber wants it.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::shared::Raise;
use crate::destination::Format;
use crate::wire::request::{self, Form};
use crate::wire::{parse, text};

/// The payloads of one batch, in every form that was asked for.
#[derive(Debug)]
pub(super) struct Forms<'a> {
    batch: &'a [Raise],
    texts: Vec<OnceCell<Bytes>>,
    /// By the form asked for, and the place in the batch.
    requests: RefCell<HashMap<Arc<Form>, Vec<Option<Bytes>>>>,
}

impl<'a> Forms<'a> {
    pub(super) fn new(batch: &'a [Raise]) -> Self {
        Self {
            batch,
            texts: vec![OnceCell::new(); batch.len()],
            requests: RefCell::default(),
        }
    }

    /// The event itself.
    pub(super) fn event(&self, item: usize) -> &'a Raise {
        &self.batch[item]
    }

    /// Its payload as it was raised.
    pub(super) fn raised(&self, item: usize) -> &'a Bytes {
        &self.batch[item].payload
    }

    /// The event in that format.
    pub(super) fn get(&self, item: usize, format: Format) -> &Bytes {
        match format {
            Format::Json => self.raised(item),
            Format::Text => self.texts[item].get_or_init(|| as_text(self.raised(item))),
        }
    }

    /// The same for a subscription that may have a JSON form of its own.
    pub(super) fn shaped(&self, item: usize, format: Format, form: Option<&Arc<Form>>) -> Bytes {
        let Some(form) = form else {
            return self.get(item, format).clone();
        };
        let payload = self.raised(item);
        let mut requests = self.requests.borrow_mut();
        if let Some(made) = requests.get_mut(form) {
            return made[item]
                .get_or_insert_with(|| as_request(payload, form))
                .clone();
        }
        let request = as_request(payload, form);
        let mut made = vec![None; self.batch.len()];
        made[item] = Some(request.clone());
        requests.insert(Arc::clone(form), made);
        request
    }
}

/// One event alone in that form.
pub(super) fn shape(payload: &Bytes, format: Format, form: Option<&Arc<Form>>) -> Bytes {
    match (format, form) {
        (_, Some(form)) => as_request(payload, form),
        (Format::Text, None) => as_text(payload),
        (Format::Json, None) => payload.clone(),
    }
}

fn as_text(payload: &Bytes) -> Bytes {
    let mut out = BytesMut::with_capacity(payload.len());
    match parse::jsonrpc(payload) {
        Ok(notification) => text::encode(&mut out, &notification),
        // Only a payload that was not ours could get here.
        Err(error) => tracing::error!(%error, "a payload has no text form"),
    }
    out.freeze()
}

fn as_request(payload: &Bytes, form: &Form) -> Bytes {
    let mut out = BytesMut::new();
    match request::encode(&mut out, payload, form) {
        Ok(()) => out.freeze(),
        Err(error) => {
            tracing::error!(%error, "a payload is no notification");
            payload.clone()
        }
    }
}
