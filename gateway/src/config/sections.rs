//! The limits of every component as they are typed, one section each.
//!
//! A section is declared once: its fields become the names in the file, and building the component's limits from it
//! names every field without a default arm. A limit that is added somewhere does not compile until it can be set.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Value;

use super::{Error, engines::Outlet, kinds::*};

macro_rules! section {
    ($name:ident as $target:path { $($field:ident: $kind:ident,)+ } $(with { $($apart:ident),+ })? $(beside { $($beside:ident: $typed:ty),+ })?) => {
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(super) struct $name {
            $($field: Option<<$kind as Kind>::Typed>,)+
            $($(pub(super) $beside: $typed,)+)?
        }

        impl $name {
            pub(super) fn over(self, section: &str, base: $target) -> Result<$target, Error> {
                type Target = $target;
                Ok(Target {
                    $($field: match self.$field {
                        Some(typed) => $kind::read(typed).map_err(|why| {
                            Error::Value { key: format!("{section}.{}", stringify!($field)), why }
                        })?,
                        None => base.$field,
                    },)+
                    $($($apart: base.$apart,)+)?
                })
            }

            pub(super) fn show(section: &str, target: &$target, shown: &mut Vec<(String, Value)>) {
                $(shown.push((format!("{section}.{}", stringify!($field)), $kind::show(&target.$field)));)+
            }
        }
    };
}

section! { Door as crate::limits::Limits {
    connections_max: Count,
    handshake_timeout: Span,
    connection_idle: Span,
    write_stall: Span,
    drain: Span,
    streams_per_connection_max: Count32,
    header_list_max_bytes: Count32,
    keepalive_interval: Span,
    keepalive_timeout: Span,
    stream_window_bytes: Count32,
    connection_window_bytes: Count32,
    send_buffer_max_bytes: Count,
    pending_resets_max: Count,
    local_resets_max: Count,
    http1_headers_max: Count,
    http1_header_max_bytes: Count,
    http1_header_timeout: Span,
    message_in_max_bytes: Count,
    message_out_max_bytes: Count,
    json_body_max_bytes: Count,
    window_max_age: Delay,
    in_flight_max: Count,
    watch_streams_max: Count,
    stream_idle: Span,
    request_timeout: Span,
    order_deadline: Span,
    order_lines_max: Count,
    page_size_default: Count32,
    page_size_max: Count32,
} with { tokens } }

section! { Nodes as crate::server::forward::Limits {
    connect_max: Span,
    ping_every: Span,
    ping_max: Span,
    answer_max: Span,
    rest_min: Span,
    rest_max: Span,
} beside { urls: Vec<String> } }

section! { Tokens as crate::auth::VerifierLimits {
    verified_tokens_max: Count,
    token_bytes_max: Count,
    leeway: Delay,
} }

section! { Shop as crate::services::Rules {
    order_ttl: Term,
    stream_life: Span,
    stream_interval: Span,
    scan_rows_max: Count,
} }

section! { Desk as commands::desk::Limits {
    lanes: Some1,
    mailbox_max: Count,
    batch_commands_max: Count,
    appends_max: Some1,
    states_max: Some1,
    reads_max: Some1,
    conflict_rounds_max: Count32,
    load_events_max: Count,
    snapshot_events: Count64,
} }

section! { Runner as commands::runner::Limits {
    batch_events_max: Count,
    in_flight_max: Count,
    eager_grace: Term,
    retry_min: Term,
    retry_max: Term,
    partner_call_max: Span,
    checkpoint_events: Count64,
    idle_max: Span,
} }

section! { SqliteLog as store_sqlite::Limits {
    queue_batches_max: Count,
    group_events_max: Count,
    group_bytes_max: Count,
    event_bytes_max: Count,
    heads_max: Count,
    readers_max: Count,
    writer_cache_bytes: Count,
    reader_cache_bytes: Count,
    checkpoint_wal_bytes: Count64,
    restart_wal_bytes: Count64,
    restart_wait: Delay,
    busy_wait: Delay,
    keys_cached_max: Count,
} }

section! { SqliteViews as views_sqlite::Limits {
    readers_max: Count,
    writer_cache_bytes: Count,
    reader_cache_bytes: Count,
    checkpoint_wal_bytes: Count64,
    restart_wal_bytes: Count64,
    restart_wait: Delay,
    busy_wait: Delay,
    drop_rows_max: Count,
} }

section! { PostgresLog as store_postgres::Limits {
    queue_batches_max: Count,
    group_events_max: Count,
    group_bytes_max: Count,
    event_bytes_max: Count,
    batch_bytes_max: Count,
    stream_bytes_max: Count,
    rounds_max: Count32,
    readers_max: Count,
    key_connections_max: Count,
    connect_max: Span,
    migrate_max: Span,
    append_max: Span,
    statement_max: Span,
    read_max: Span,
    poll_every: Span,
} }

section! { PostgresViews as views_postgres::Limits {
    readers_max: Count,
    writers_max: Count,
    statement_rows_max: Count,
    copy_rows_min: Count,
    replica_max: Span,
    replica_rest: Span,
    replica_look_every: Span,
    connect_max: Span,
    migrate_max: Span,
    commit_max: Span,
    read_max: Span,
} beside { replica_urls: Vec<String>, replica_url_files: Vec<PathBuf> } }

section! { NatsOutlet as Outlet {
    prefix: Word,
    replicas: Count,
    keeps: Kept,
    bytes_max: Bound,
} }

section! { NatsLimits as bus_nats::Limits {
    connect_max: Span,
    request_max: Span,
    ack_max: Span,
    ping_every: Span,
    in_flight_max: Count,
    duplicate_window: Span,
    strangers_max: Count32,
    subject_part_max: Count,
    ack_wait: Span,
    idle_max: Span,
    attempts_max: Count64,
    take_max: Span,
    again_min: Span,
    feeds_keep: Span,
    feeds_bytes_max: Count64,
} }

section! { EventStoreDbLog as store_eventstoredb::Limits {
    call_timeout: Span,
    attempts_max: Count32,
    retry_pause: Span,
    streams_in_flight_max: Count,
    finds_in_flight_max: Count,
    ids_max: Count,
    stream_ids_max: Count,
    streams_known_max: Count,
    page_events: Count,
    distance_exact_max: Count64,
    poll_every: Span,
    snapshot_bytes_max: Count,
} }

section! { WireLimits as esdb_wire::Limits {
    streams_per_connection_max: Count32,
    connections_max: Count,
    writes_max: Count,
    reads_max: Count,
    subscriptions_max: Count,
    sessions_max: Count,
    request_bytes_max: Count,
    response_bytes_max: Count,
    append_bytes_max: Count,
    append_events_max: Count,
    batch_pending_max: Count,
    name_bytes_max: Count,
    attempts_max: Count32,
    append_timeout: Span,
    page_events: Count,
    filter_bytes_max: Count,
    filter_compiled_bytes_max: Count,
    filter_backtrack_max: Count,
    checkpoint_events: Count64,
    poll_every: Span,
    hints_max: Count,
    keepalive_every: Span,
    keepalive_timeout: Span,
    header_bytes_max: Count32,
    stream_window_bytes: Count32,
    connection_window_bytes: Count32,
    pending_resets_max: Count,
    handshakes_max: Count,
    handshake_max: Span,
    drain: Span,
} }

section! { Relay as commands::relay::Limits {
    batch_events_max: Count,
    batch_bytes_max: Count,
    checkpoint_events: Count64,
    retry_min: Span,
    retry_max: Span,
    idle_max: Span,
    idle_waits_max: Count32,
    page_messages_max: Count,
    unseen_events_max: Count,
} }

section! { Engine as projections::engine::Limits {
    batch_events_max: Count,
    load_bytes_max: Count,
    cached_bytes_max: Count,
} }

section! { Partner as sandbox::Behaviour {
    seed: Seed,
    latency: Between,
    unavailable: Chance,
    timeout: Chance,
    timeout_after: Delay,
    decline: Chance,
    decline_refund: Chance,
    refuse: Chance,
    echo: Chance,
    duplicate: Chance,
    late: Chance,
    late_by: Delay,
    dispatch_after: Delay,
    deliver_after: Delay,
    lose: Chance,
} }
