//! The kinds of settings: how each is typed, what makes it valid, and how it is shown.

use std::{num::NonZeroUsize, time::Duration};

use jiff::SignedDuration;
use toml::Value;

/// A kind of setting: how it is typed, and what makes it valid.
pub(super) trait Kind {
    type Typed;
    type Value;

    fn read(typed: Self::Typed) -> Result<Self::Value, String>;
    /// The value as it would be typed.
    fn show(value: &Self::Value) -> Value;
}

macro_rules! kinds {
    ($($(#[$meta:meta])* $name:ident: $typed:ty => $value:ty, |$from:ident| $read:expr, |$shown:ident| $show:expr;)+) => {$(
        $(#[$meta])*
        pub(super) struct $name;

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
    /// A time that something is kept; nothing is for ever.
    Kept: String => Option<Duration>,
        |typed| if typed == FOR_EVER { Ok(None) } else { Span::read(typed).map(Some) },
        |value| value.map_or_else(|| Value::String(FOR_EVER.to_owned()), spelt);
    /// A size that may be without a bound.
    Bound: u64 => Option<u64>,
        |typed| Ok((typed > 0).then_some(typed)),
        |value| whole(value.unwrap_or_default());
    /// A word.
    Word: String => String, |typed| Ok(typed), |value| Value::String(value.clone());
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

/// How a time without an end is typed.
const FOR_EVER: &str = "forever";

fn duration(typed: &str) -> Result<Duration, String> {
    let read = typed.parse::<SignedDuration>().ok().and_then(|read| Duration::try_from(read).ok());
    read.ok_or_else(|| format!("must be a duration such as 250ms, 10s or 15m, not {typed:?}"))
}
