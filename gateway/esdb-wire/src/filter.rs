//! Which events of the log a reader wants, by prefix or expression, within bounds.
//!
//! Clients send expressions that look ahead (`^(?!\$)`), which need a matcher that tries and goes back; how far it may
//! go back is bounded, so an expression that would take for ever ends its own read and nothing else.

use fancy_regex::{Regex, RegexBuilder};
use ports::store::Recorded;

use crate::{Limits, error::Failure, wire::streams::read_req};

/// A test on an event's stream or type.
#[derive(Debug)]
pub struct Filter {
    on: On,
    test: Test,
    /// Events looked at between two checkpoints.
    pub checkpoint_every: u64,
}

#[derive(Debug, Clone, Copy)]
enum On {
    Stream,
    Kind,
}

#[derive(Debug)]
enum Test {
    Prefixes(Vec<String>),
    Matches(Box<Regex>),
    Everything,
}

impl Filter {
    /// What a client asked for.
    ///
    /// # Errors
    /// [`Failure::Bad`] when it is too large or no expression.
    pub fn read(filter: read_req::Filter, limits: &Limits) -> Result<Self, Failure> {
        use read_req::filter::{On as Asked, Window};
        let (on, expression) = match filter.on {
            Some(Asked::StreamName(expression)) => (On::Stream, expression),
            Some(Asked::EventType(expression)) => (On::Kind, expression),
            None => return Err(Failure::Bad("a filter must be on stream names or event types".to_owned())),
        };
        let bytes: usize = expression.prefix.iter().map(|prefix| prefix.len() + 1).sum();
        if bytes + expression.regex.len() > limits.filter_bytes_max {
            return Err(Failure::Bad(format!("a filter may have {} bytes", limits.filter_bytes_max)));
        }
        let checkpoint_every = match filter.window {
            Some(Window::Max(max)) if max > 0 => u64::from(max) * u64::from(filter.checkpoint_multiplier.max(1)),
            _ => limits.checkpoint_events.max(1),
        };
        let test = if !expression.prefix.is_empty() {
            Test::Prefixes(expression.prefix)
        } else if expression.regex.is_empty() {
            Test::Everything
        } else {
            let regex = RegexBuilder::new(&expression.regex)
                .backtrack_limit(limits.filter_backtrack_max)
                .delegate_size_limit(limits.filter_compiled_bytes_max)
                .delegate_dfa_size_limit(limits.filter_compiled_bytes_max)
                .build()
                .map_err(|why| Failure::Bad(format!("the filter is no expression: {why}")))?;
            Test::Matches(Box::new(regex))
        };
        Ok(Self { on, test, checkpoint_every })
    }

    /// Whether the reader wants this event.
    ///
    /// # Errors
    /// [`Failure::Bad`] when the expression takes too many steps on this one.
    pub fn wants(&self, event: &Recorded) -> Result<bool, Failure> {
        let name = match self.on {
            On::Stream => &event.stream,
            On::Kind => &event.kind,
        };
        match &self.test {
            Test::Everything => Ok(true),
            Test::Prefixes(prefixes) => Ok(prefixes.iter().any(|prefix| name.starts_with(prefix))),
            Test::Matches(regex) => {
                regex.is_match(name).map_err(|why| Failure::Bad(format!("the filter takes too long: {why}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use ports::store::Position;
    use read_req::filter::{On as Asked, Window};

    use super::*;

    fn event(stream: &str, kind: &str) -> Recorded {
        Recorded {
            position: Position(1),
            stream: stream.into(),
            revision: 0,
            id: uuid::Uuid::nil(),
            kind: kind.into(),
            recorded_at: Timestamp::UNIX_EPOCH,
            data: "{}".into(),
            metadata: "{}".into(),
        }
    }

    fn on_type(regex: &str, prefix: &[&str]) -> Result<Filter, Failure> {
        let prefix = prefix.iter().map(|&prefix| prefix.to_owned()).collect();
        let expression = read_req::Expression { regex: regex.to_owned(), prefix };
        let window = Some(Window::Max(32));
        let filter = read_req::Filter { on: Some(Asked::EventType(expression)), window, checkpoint_multiplier: 5 };
        Filter::read(filter, &Limits::default())
    }

    #[test]
    fn expressions_that_look_ahead_and_prefixes_are_understood() {
        let filter = on_type(r"^(?!(\$.+$|noise))", &[]).unwrap();
        assert_eq!(filter.checkpoint_every, 160);
        for (kind, wanted) in [("order.placed", true), ("$metadata", false), ("noise.made", false), ("a$", true)] {
            assert_eq!(filter.wants(&event("s", kind)).unwrap(), wanted, "{kind}");
        }
        let filter = on_type("never", &["order.", "st"]).unwrap();
        for (kind, wanted) in [("order.placed", true), ("stock.out", true), ("orde", false), ("never", false)] {
            assert_eq!(filter.wants(&event("order.", kind)).unwrap(), wanted, "{kind}");
        }
    }

    #[test]
    fn hostile_expressions_are_refused() {
        for bad in ["(", "[", "(?<", &"(".repeat(1_000), &"a".repeat(17 << 10), r"(a{1000}){1000}"] {
            assert!(matches!(on_type(bad, &[]), Err(Failure::Bad(_))), "{bad:.20}");
        }
        let endless = on_type(r"^(?:(?:a|aa)(?!c))*$", &[]).unwrap();
        assert!(endless.wants(&event("s", "aaaa")).unwrap());
        let refused = endless.wants(&event("s", &format!("{}b", "a".repeat(64))));
        assert!(refused.is_err(), "going back for ever is noticed");
    }
}
