//! The events of the OpenSIPS core.

use super::EventSpec;
use super::event;
use super::int;
use super::optional;
use super::str;

/// In the order of their numbers in OpenSIPS 4.0, which the first six have without any module.
pub(super) const FIRST: &[EventSpec] = &[
    event(
        "E_CORE_SR_STATUS_CHANGED",
        "core",
        &[
            str("group"),
            str("identifier"),
            int("status"),
            optional(str("details")),
            int("old_status"),
        ],
        "The readiness of a part of the proxy changed.",
    ),
    event(
        "E_CORE_THRESHOLD",
        "core",
        &[str("source"), int("time"), str("extra")],
        "An operation took longer than its threshold; time is in microseconds.",
    ),
    event(
        "E_CORE_SHM_THRESHOLD",
        "core",
        &[int("usage"), int("threshold"), int("used"), int("size")],
        "The use of the shared memory, in percent, passed its threshold.",
    ),
    event(
        "E_CORE_PKG_THRESHOLD",
        "core",
        &[
            int("usage"),
            int("threshold"),
            int("used"),
            int("size"),
            int("pid"),
        ],
        "The use of one process's memory, in percent, passed its threshold.",
    ),
    event(
        "E_CORE_PROC_AUTO_SCALE",
        "core",
        &[
            str("group_type"),
            str("group_filter"),
            int("group_load"),
            str("scale"),
            int("process_id"),
            int("pid"),
        ],
        "A group of processes was scaled up or down.",
    ),
    event(
        "E_CORE_TCP_DISCONNECT",
        "core",
        &[
            str("src_ip"),
            int("src_port"),
            str("dst_ip"),
            int("dst_port"),
            str("proto"),
        ],
        "A TCP connection ended.",
    ),
    event(
        "E_PROFILING_SCRIPT",
        "core",
        PROFILING,
        "A step of the routing script, profiled.",
    ),
    event(
        "E_PROFILING_PROC",
        "core",
        PROFILING,
        "A step of a process, profiled.",
    ),
];

/// Published last, when the logging is set up.
pub(super) const LAST: &[EventSpec] = &[event(
    "E_CORE_LOG",
    "core",
    &[
        str("time"),
        int("pid"),
        str("level"),
        optional(str("module")),
        optional(str("function")),
        optional(str("prefix")),
        str("message"),
    ],
    "A line was logged.",
)];

const PROFILING: &[super::ParamSpec] = &[
    int("sec"),
    int("usec"),
    int("session"),
    str("verb"),
    str("name"),
    int("type"),
    int("depth"),
    optional(str("file")),
    optional(int("line")),
    optional(int("status")),
];
