//! `[flatstore]`: how files are written whose sockets do not say it themselves. The keys are the
//! module parameters of OpenSIPS.

use std::fmt;

use bellwire::transport;
use serde::{Deserialize, Serialize};

use super::limits::Count;
use super::listen::Mode;

/// What `transport::Flatstore` can be told, and that it makes sense.
#[derive(Default, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "Table", into = "Table")]
pub(crate) struct Flatstore(pub(crate) transport::Flatstore);

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
struct Table {
    max_open_sockets: Count<1, 65_535>,
    delimiter: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    escape_delimiter: Option<String>,
    suppress_event_name: bool,
    file_permissions: Mode,
    suffix: String,
    rotate_count: u64,
    rotate_size: Size,
    rotate_period: u32,
    escape_controls: bool,
    sync: bool,
}

/// A number of bytes; `"10k"`, `"2m"` and `"1g"` are taken as well.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Size(u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

impl serde::de::Visitor<'_> for Visitor {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of bytes, such as 1048576 or \"1m\"")
    }

    fn visit_i64<E: serde::de::Error>(self, bytes: i64) -> Result<Size, E> {
        u64::try_from(bytes)
            .map(Size)
            .map_err(|_| E::custom(format!("{bytes} is not a number of bytes")))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Size, E> {
        transport::Flatstore::size(text)
            .map(Size)
            .ok_or_else(|| E::custom(format!("{text:?} is not a number of bytes, such as \"1m\"")))
    }
}

impl TryFrom<Table> for Flatstore {
    type Error = String;

    fn try_from(table: Table) -> Result<Self, String> {
        let mut library = transport::Flatstore::default();
        library.max_open_sockets = table.max_open_sockets.0;
        library.delimiter = table.delimiter;
        library.escape_delimiter = table.escape_delimiter;
        library.suppress_event_name = table.suppress_event_name;
        library.file_permissions = table.file_permissions.0;
        library.suffix = table.suffix;
        library.rotate_count = table.rotate_count;
        library.rotate_size = table.rotate_size.0;
        library.rotate_period = table.rotate_period;
        library.escape_controls = table.escape_controls;
        library.sync = table.sync;
        library.check()?;
        Ok(Self(library))
    }
}

impl From<transport::Flatstore> for Table {
    fn from(library: transport::Flatstore) -> Self {
        Self {
            max_open_sockets: Count(library.max_open_sockets),
            delimiter: library.delimiter,
            escape_delimiter: library.escape_delimiter,
            suppress_event_name: library.suppress_event_name,
            file_permissions: Mode(library.file_permissions),
            suffix: library.suffix,
            rotate_count: library.rotate_count,
            rotate_size: Size(library.rotate_size),
            rotate_period: library.rotate_period,
            escape_controls: library.escape_controls,
            sync: library.sync,
        }
    }
}

impl From<Flatstore> for Table {
    fn from(flatstore: Flatstore) -> Self {
        flatstore.0.into()
    }
}

impl Default for Table {
    fn default() -> Self {
        transport::Flatstore::default().into()
    }
}
