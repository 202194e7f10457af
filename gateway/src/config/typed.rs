//! What was typed: every setting by its name, each of them optional, none of them checked yet.
//!
//! A section is declared once: its fields become the names in the file, and building the component's limits from it
//! names every field without a default arm. A limit that is added somewhere does not compile until it can be set.

use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use toml::Value;

use super::{Config, Error};

/// A kind of setting: how it is typed, and what makes it valid.
trait Kind {
    type Typed;
    type Value;

    fn read(typed: Self::Typed) -> Result<Self::Value, String>;
    /// The value as it would be typed.
    fn show(value: &Self::Value) -> Value;
}

macro_rules! kinds {
    ($($(#[$meta:meta])* $name:ident: $typed:ty => $value:ty, |$from:ident| $read:expr, |$shown:ident| $show:expr;)+) => {$(
        $(#[$meta])*
        struct $name;

        impl Kind for $name {
            type Typed = $typed;
            type Value = $value;

            fn read($from: $typed) -> Result<$value, String> {
                $read
            }

            fn show($shown: &$value) -> Value {
                $show
            }
        }
    )+};
}

kinds! {
    /// A number of things, at least one.
    Count: usize => usize,
        |typed| if typed > 0 { Ok(typed) } else { Err("must be at least 1".into()) },
        |value| whole(*value);
    /// The same, for a component that insists.
    Some1: usize => NonZeroUsize,
        |typed| NonZeroUsize::new(typed).ok_or_else(|| "must be at least 1".into()),
        |value| whole(value.get());
    /// The same, narrow.
    Count32: u32 => u32,
        |typed| if typed > 0 { Ok(typed) } else { Err("must be at least 1".into()) },
        |value| whole(*value);
    /// The same, wide.
    Count64: u64 => u64,
        |typed| if typed > 0 { Ok(typed) } else { Err("must be at least 1".into()) },
        |value| whole(*value);
    /// A time that something takes, more than nothing.
    Span: String => Duration,
        |typed| match duration(&typed)? {
            Duration::ZERO => Err("must be more than nothing".into()),
            span => Ok(span),
        },
        |value| spelt(*value);
    /// A time that may be nothing.
    Delay: String => Duration, |typed| duration(&typed), |value| spelt(*value);
    /// A time that is counted from or to a moment, more than nothing.
    Term: String => SignedDuration,
        |typed| SignedDuration::try_from(Span::read(typed)?).map_err(|_| "is too long".into()),
        |value| Value::String(format!("{value:#}"));
    /// A probability.
    Chance: f64 => f64,
        |typed| if (0.0..=1.0).contains(&typed) { Ok(typed) } else { Err("must be from 0 to 1".into()) },
        |value| Value::Float(*value);
    /// Any number.
    Seed: u64 => u64, |typed| Ok(typed), |value| whole(*value);
    /// From one time to another.
    Between: (String, String) => (Duration, Duration),
        |typed| {
            let (least, most) = (duration(&typed.0)?, duration(&typed.1)?);
            if least <= most { Ok((least, most)) } else { Err("must be a shorter and a longer duration".into()) }
        },
        |value| Value::Array(vec![spelt(value.0), spelt(value.1)]);
}

/// A number as the file has it; what is too large for that is as good as without a bound.
fn whole(value: impl TryInto<i64>) -> Value {
    Value::Integer(value.try_into().unwrap_or(i64::MAX))
}

/// A duration as it is typed.
fn spelt(span: Duration) -> Value {
    Value::String(SignedDuration::try_from(span).map_or_else(|_| format!("{span:?}"), |span| format!("{span:#}")))
}

fn duration(typed: &str) -> Result<Duration, String> {
    let read = typed.parse::<SignedDuration>().ok().and_then(|read| Duration::try_from(read).ok());
    read.ok_or_else(|| format!("must be a duration such as 250ms, 10s or 15m, not {typed:?}"))
}

macro_rules! section {
    ($name:ident as $target:path { $($field:ident: $kind:ident,)+ } $(with { $($apart:ident),+ })?) => {
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        struct $name {
            $($field: Option<<$kind as Kind>::Typed>,)+
        }

        impl $name {
            fn over(self, section: &str, base: $target) -> Result<$target, Error> {
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

            fn show(section: &str, target: &$target, shown: &mut Vec<(String, Value)>) {
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
    in_flight_max: Count,
    watch_streams_max: Count,
    stream_idle: Span,
    request_timeout: Span,
    order_deadline: Span,
    order_lines_max: Count,
    page_size_default: Count32,
    page_size_max: Count32,
} with { tokens } }

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
    checkpoint_events: Count64,
    idle_max: Span,
} }

section! { Store as store_sqlite::Limits {
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

section! { Views as views_sqlite::Limits {
    readers_max: Count,
    writer_cache_bytes: Count,
    reader_cache_bytes: Count,
    checkpoint_wal_bytes: Count64,
    restart_wal_bytes: Count64,
    restart_wait: Delay,
    busy_wait: Delay,
    drop_rows_max: Count,
} }

section! { Engine as projections::engine::Limits {
    batch_events_max: Count,
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

/// The sandbox's two partners.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Sandbox {
    payments: Partner,
    carrier: Partner,
}

/// A part of the shop that a process can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Role {
    Gateway,
    Projections,
    Processes,
}

/// Everything that can be typed.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Typed {
    listen: Option<String>,
    data: Option<PathBuf>,
    roles: Option<Vec<Role>>,
    limits: Door,
    tokens: Tokens,
    shop: Shop,
    desk: Desk,
    runner: Runner,
    store: Store,
    views: Views,
    engine: Engine,
    sandbox: Sandbox,
}

impl Typed {
    /// Checks every value.
    pub(super) fn validate(self) -> Result<Config, Error> {
        let base = Config::new(self.data.unwrap_or_else(|| super::DATA.into()));
        let refuse = |key: &str, why: &str| Error::Value { key: key.to_owned(), why: why.to_owned() };
        let listen = match self.listen {
            None => base.listen,
            Some(typed) => typed
                .parse::<SocketAddr>()
                .map_err(|_| refuse("listen", "must be an address with a port, such as 127.0.0.1:50051"))?,
        };
        let roles = self.roles.unwrap_or_else(|| vec![Role::Gateway, Role::Projections, Role::Processes]);
        if !roles.contains(&Role::Gateway) {
            return Err(refuse("roles", "must name the gateway: the other roles do not run without it yet"));
        }
        let tokens = self.tokens.over("tokens", base.limits.tokens.clone())?;
        Ok(Config {
            listen,
            data: base.data,
            projections: roles.contains(&Role::Projections),
            processes: roles.contains(&Role::Processes),
            limits: crate::limits::Limits { tokens, ..self.limits.over("limits", base.limits)? },
            shop: self.shop.over("shop", base.shop)?,
            desk: self.desk.over("desk", base.desk)?,
            runner: self.runner.over("runner", base.runner)?,
            store: self.store.over("store", base.store)?,
            views: self.views.over("views", base.views)?,
            engine: self.engine.over("engine", base.engine)?,
            payments: self.sandbox.payments.over("sandbox.payments", base.payments)?,
            carrier: self.sandbox.carrier.over("sandbox.carrier", base.carrier)?,
        })
    }
}

/// Every setting with its value, as it would be typed.
pub(super) fn shown(config: &Config) -> Vec<(String, Value)> {
    let text = |text: String| Value::String(text);
    let roles = [(true, Role::Gateway), (config.projections, Role::Projections), (config.processes, Role::Processes)];
    let roles = roles.iter().filter(|(runs, _)| *runs).filter_map(|(_, role)| Value::try_from(role).ok()).collect();
    let mut shown = vec![
        ("listen".to_owned(), text(config.listen.to_string())),
        ("data".to_owned(), text(config.data.display().to_string())),
        ("roles".to_owned(), Value::Array(roles)),
    ];
    Door::show("limits", &config.limits, &mut shown);
    Tokens::show("tokens", &config.limits.tokens, &mut shown);
    Shop::show("shop", &config.shop, &mut shown);
    Desk::show("desk", &config.desk, &mut shown);
    Runner::show("runner", &config.runner, &mut shown);
    Store::show("store", &config.store, &mut shown);
    Views::show("views", &config.views, &mut shown);
    Engine::show("engine", &config.engine, &mut shown);
    Partner::show("sandbox.payments", &config.payments, &mut shown);
    Partner::show("sandbox.carrier", &config.carrier, &mut shown);
    shown
}
