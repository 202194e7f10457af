//! Streams and consumers: made if they are not there, changed if they differ, read back, compared.
//!
//! A server answers "made" also when it did not understand a setting. So only what it tells afterwards counts.

use std::{fmt::Debug, time::Duration};

use async_nats::jetstream::{
    ErrorCode, consumer,
    context::GetStreamErrorKind,
    stream::{
        Config, ConsumerErrorKind, DiscardPolicy, RetentionPolicy, Source, StorageType, Stream, SubjectTransform,
    },
};

use crate::{Error, Nats};

/// A setting: its name, as it should be, as it is.
type Compared = (&'static str, String, String);

fn compared<T: Debug>(setting: &'static str, wanted: &T, found: &T) -> Compared {
    (setting, format!("{wanted:?}"), format!("{found:?}"))
}

/// The first setting that differs, as an error; `refused` is what the server said when it was to be changed.
fn agree(of: String, settings: impl IntoIterator<Item = Compared>, refused: Option<String>) -> Result<(), Error> {
    let differs = settings.into_iter().find(|(_, wanted, found)| wanted != found);
    differs.map_or(Ok(()), |(setting, wanted, found)| Err(Error::Setting { of, setting, wanted, found, refused }))
}

impl Nats {
    /// The stream of every event.
    pub(crate) async fn events(&self) -> Result<Stream, Error> {
        let config = Config {
            subjects: vec![format!("{}.evt.*.*.*", self.settings.prefix)],
            max_age: self.settings.keeps.unwrap_or_default(),
            max_bytes: self.settings.bytes_max.and_then(|bytes| i64::try_from(bytes).ok()).unwrap_or(-1),
            ..self.stream("events")
        };
        self.have_stream(config).await
    }

    /// The stream of what partners send.
    pub(crate) async fn feeds(&self) -> Result<Stream, Error> {
        let config = Config {
            subjects: vec![format!("{}.in.*", self.settings.prefix)],
            max_age: self.limits.feeds_keep,
            max_bytes: i64::try_from(self.limits.feeds_bytes_max).unwrap_or(i64::MAX),
            ..self.stream("feeds")
        };
        self.have_stream(config).await
    }

    /// The stream of a group: a copy of the event stream, with the partition in the subject, from which goes what is
    /// done.
    pub(crate) async fn shared(&self, group: &str, partitions: u32) -> Result<Stream, Error> {
        let prefix = &self.settings.prefix;
        // Aggregate and id make the partition, so all events of one aggregate are in one.
        let partition = format!("{{{{partition({partitions},1,3)}}}}");
        let rest = "{{wildcard(1)}}.{{wildcard(2)}}.{{wildcard(3)}}";
        let transform = SubjectTransform {
            source: format!("{prefix}.evt.*.*.*"),
            destination: format!("{prefix}.grp.{group}.{partition}.{rest}"),
        };
        let source =
            Source { name: format!("{prefix}-events"), subject_transforms: vec![transform], ..Source::default() };
        let config = Config {
            sources: Some(vec![source]),
            retention: RetentionPolicy::WorkQueue,
            max_age: self.settings.keeps.unwrap_or_default(),
            ..self.stream(&format!("group-{group}-{partitions}"))
        };
        self.events().await?;
        self.have_stream(config).await
    }

    /// What all streams have in common: on disk, and full ones refuse instead of forgetting.
    fn stream(&self, name: &str) -> Config {
        Config {
            name: format!("{}-{name}", self.settings.prefix),
            retention: RetentionPolicy::Limits,
            storage: StorageType::File,
            discard: DiscardPolicy::New,
            max_bytes: -1,
            max_messages: -1,
            max_messages_per_subject: -1,
            num_replicas: self.settings.replicas,
            duplicate_window: self.limits.duplicate_window,
            allow_direct: true,
            ..Config::default()
        }
    }

    async fn have_stream(&self, wanted: Config) -> Result<Stream, Error> {
        self.check_server().await?;
        let of = format!("stream {}", wanted.name);
        let stream = match self.jetstream.get_stream(&wanted.name).await {
            Ok(stream) => stream,
            Err(error) if is_not_there(&error.kind()) => {
                // Two nodes that make it at once both find it made.
                let made = self.jetstream.create_stream(wanted.clone()).await;
                made.map_err(|error| Error::Failed(format!("{of} cannot be made: {error}")))?
            }
            Err(error) => return Err(asked(&of, &error.kind(), &error)),
        };
        let found = &stream.cached_info().config;
        if agree(of.clone(), compared_streams(&wanted, found), None).is_ok() {
            return Ok(stream);
        }
        // Whatever else somebody set there stays as it is.
        let refused = self.jetstream.update_stream(merged(&wanted, found.clone())).await.err();
        let info = stream.get_info().await.map_err(|error| Error::Unreachable(format!("{of}: {error}")))?;
        agree(of, compared_streams(&wanted, &info.config), refused.map(|refused| refused.to_string()))?;
        Ok(stream)
    }

    /// A durable consumer of a stream.
    pub(crate) async fn have_consumer(
        &self,
        stream: &Stream,
        wanted: consumer::pull::Config,
    ) -> Result<consumer::PullConsumer, Error> {
        let name = wanted.durable_name.clone().unwrap_or_default();
        let of = format!("consumer {name} of stream {}", stream.cached_info().config.name);
        let made = stream.create_consumer(wanted.clone()).await.map_err(|error| match error.kind() {
            ConsumerErrorKind::TimedOut => Error::Unreachable(format!("{of}: {error}")),
            _ => Error::Failed(format!("{of} cannot be made: {error}")),
        })?;
        let found = made.get_info().await.map_err(|error| Error::Unreachable(format!("{of}: {error}")))?.config;
        agree(of, compared_consumers(&wanted, &found), None)?;
        Ok(made)
    }

    /// A durable consumer that has one message at a time under way, for as long as it takes, and never gives up:
    /// whatever is not done yet comes before everything behind it.
    pub(crate) fn strictly_one_by_one(&self, name: String, filter: String) -> consumer::pull::Config {
        consumer::pull::Config {
            durable_name: Some(name),
            filter_subject: filter,
            deliver_policy: consumer::DeliverPolicy::All,
            ack_policy: consumer::AckPolicy::Explicit,
            ack_wait: self.limits.ack_wait,
            max_ack_pending: 1,
            max_deliver: -1,
            ..consumer::pull::Config::default()
        }
    }
}

fn is_not_there(kind: &GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

fn asked(of: &str, kind: &GetStreamErrorKind, error: &dyn std::fmt::Display) -> Error {
    match kind {
        GetStreamErrorKind::JetStream(why) if why.error_code() == ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
            Error::NoJetStream(why.to_string())
        }
        GetStreamErrorKind::JetStream(_) => Error::Failed(format!("{of}: {error}")),
        _ => Error::Unreachable(format!("{of}: {error}")),
    }
}

/// The settings that matter here. A server may add others.
fn compared_streams(wanted: &Config, found: &Config) -> [Compared; 13] {
    let sources = |config: &Config| -> Vec<(String, Vec<SubjectTransform>)> {
        let all = config.sources.iter().flatten();
        all.map(|source| (source.name.clone(), source.subject_transforms.clone())).collect()
    };
    [
        // What no server changes comes first, so that it is what is told of.
        compared("storage", &wanted.storage, &found.storage),
        compared("retention", &wanted.retention, &found.retention),
        compared("subjects", &wanted.subjects, &found.subjects),
        compared("discard", &wanted.discard, &found.discard),
        compared("max_age", &wanted.max_age, &found.max_age),
        compared("max_bytes", &wanted.max_bytes, &found.max_bytes),
        compared("max_msgs", &wanted.max_messages, &found.max_messages),
        compared("max_msgs_per_subject", &wanted.max_messages_per_subject, &found.max_messages_per_subject),
        compared("num_replicas", &wanted.num_replicas, &found.num_replicas),
        compared("duplicate_window", &wanted.duplicate_window, &found.duplicate_window),
        compared("allow_direct", &wanted.allow_direct, &found.allow_direct),
        compared("sources", &sources(wanted), &sources(found)),
        // A sealed stream takes nothing, one without acknowledgements promises nothing.
        compared("sealed, no_ack", &(false, false), &(found.sealed, found.no_ack)),
    ]
}

fn merged(wanted: &Config, found: Config) -> Config {
    Config {
        subjects: wanted.subjects.clone(),
        retention: wanted.retention,
        storage: wanted.storage,
        discard: wanted.discard,
        max_age: wanted.max_age,
        max_bytes: wanted.max_bytes,
        max_messages: wanted.max_messages,
        max_messages_per_subject: wanted.max_messages_per_subject,
        num_replicas: wanted.num_replicas,
        duplicate_window: wanted.duplicate_window,
        allow_direct: wanted.allow_direct,
        sources: wanted.sources.clone(),
        no_ack: false,
        ..found
    }
}

fn compared_consumers(wanted: &consumer::pull::Config, found: &consumer::Config) -> [Compared; 6] {
    // Servers say "without end" in two ways.
    let endless = |deliveries: i64| if deliveries < 0 { 0 } else { deliveries };
    [
        compared("filter_subject", &wanted.filter_subject, &found.filter_subject),
        compared("ack_policy", &wanted.ack_policy, &found.ack_policy),
        compared("ack_wait", &wanted.ack_wait, &found.ack_wait),
        compared("max_ack_pending", &wanted.max_ack_pending, &found.max_ack_pending),
        compared("max_deliver", &endless(wanted.max_deliver), &endless(found.max_deliver)),
        compared("backoff", &Vec::<Duration>::new(), &found.backoff),
    ]
}
