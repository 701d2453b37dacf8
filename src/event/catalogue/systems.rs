//! The events of the modules that follow the systems beside the proxy: relays, brokers, databases.

use super::EventSpec;
use super::ParamSpec;
use super::event;
use super::int;
use super::optional;
use super::str;
use super::with_extras;

pub(super) const ALL: &[EventSpec] = &[
    event(
        "E_RTPPROXY_STATUS",
        "rtpproxy",
        &[str("socket"), str("status")],
        "A media relay became active or inactive.",
    ),
    event(
        "E_RTPPROXY_DTMF",
        "rtpproxy",
        &[
            str("digit"),
            int("duration"),
            int("volume"),
            str("id"),
            int("is_callid"),
            int("stream"),
        ],
        "A media relay heard a key being pressed.",
    ),
    event(
        "E_RTPENGINE_STATUS",
        "rtpengine",
        &[str("socket"), str("status"), int("set")],
        "A media engine became active or inactive.",
    ),
    with_extras(event(
        "E_RTPENGINE_NOTIFICATION",
        "rtpengine",
        &[],
        "A media engine tells something; the fields are its own.",
    )),
    event(
        "E_FREESWITCH",
        "freeswitch",
        &[str("name"), str("sender"), str("body")],
        "FreeSWITCH sent an event; body is its JSON text.",
    ),
    event(
        "E_CLUSTERER_NODE_STATE_CHANGED",
        "clusterer",
        &[int("cluster_id"), int("node_id"), int("new_state")],
        "A node of a cluster came or went.",
    ),
    event(
        "E_CLUSTERER_REQ_RECEIVED",
        "clusterer",
        &[int("cluster_id"), int("src_id"), str("msg"), str("tag")],
        "A node asked something.",
    ),
    event(
        "E_CLUSTERER_RPL_RECEIVED",
        "clusterer",
        &[int("cluster_id"), int("src_id"), str("msg"), str("tag")],
        "A node answered.",
    ),
    event(
        "E_CLUSTERER_SHARING_TAG_CHANGED",
        "clusterer",
        &[str("name"), int("cluster"), str("state"), str("reason")],
        "A sharing tag became active or a backup.",
    ),
    event(
        "E_MYSQL_CONNECTION",
        "db_mysql",
        &[str("url"), str("status")],
        "The database connection was made or lost.",
    ),
    event(
        "E_SIPREC_START",
        "siprec",
        &[
            str("dlg_id"),
            str("callid"),
            str("dlg_callid"),
            str("session_id"),
            str("server"),
            str("instance"),
        ],
        "A recording began.",
    ),
    event(
        "E_SIPREC_STOP",
        "siprec",
        &[
            str("dlg_id"),
            str("callid"),
            str("dlg_callid"),
            str("session_id"),
            str("server"),
            str("instance"),
        ],
        "A recording ended.",
    ),
    event(
        "E_MSRP_SESSION_NEW",
        "msrp_ua",
        MSRP,
        "A message session began.",
    ),
    event(
        "E_MSRP_SESSION_END",
        "msrp_ua",
        MSRP,
        "A message session ended; OpenSIPS refreshes only session_id.",
    ),
    event(
        "E_MSRP_MSG_RECEIVED",
        "msrp_ua",
        &[str("session_id"), str("content_type"), str("body")],
        "A message came in a session.",
    ),
    event(
        "E_MSRP_REPORT_RECEIVED",
        "msrp_ua",
        &[
            str("session_id"),
            str("message_id"),
            str("status"),
            str("byte_range"),
        ],
        "A delivery report came in a session.",
    ),
    event(
        "E_MSRP_GW_SETUP_FAILED",
        "msrp_gateway",
        &[
            str("key"),
            str("from_uri"),
            str("to_uri"),
            str("ruri"),
            str("code"),
            str("reason"),
        ],
        "A message session could not be set up.",
    ),
    event(
        "E_DM_REQUEST",
        "aaa_diameter",
        &[
            str("sess_id"),
            int("app_id"),
            int("cmd_code"),
            str("avps_json"),
            optional(str("_fdmsg_")),
        ],
        "A Diameter request came; _fdmsg_ has meaning only in OpenSIPS's own script.",
    ),
    event(
        "E_HTTP2_REQUEST",
        "http2d",
        &[str("method"), str("path"), str("headers"), str("data")],
        "An HTTP/2 request came.",
    ),
    event(
        "E_JANUS_EVENT",
        "janus",
        &[str("janus_id"), str("janus_url"), str("janus_body")],
        "A Janus gateway sent an event.",
    ),
    event(
        "E_FLATSTORE_ROTATION",
        "event_flatstore",
        &[
            str("timestamp"),
            str("reason"),
            str("filename"),
            str("old_filename"),
        ],
        "An event file was rotated.",
    ),
];

/// The two ends of a message session.
const MSRP: &[ParamSpec] = &[
    str("from_uri"),
    str("to_uri"),
    str("ruri"),
    str("session_id"),
    str("content_types"),
];
