//! Partner feeds: what becomes of the messages that a partner publishes.

use std::collections::BTreeMap;

use domain::ids::MemberId;
use proto::v1::Role;
use serde::Deserialize;
use toml::Value;

use super::Error;
use crate::auth;

/// Longest name of a feed: it becomes a word of a subject and of a consumer's name.
const NAME_MAX: usize = 32;

/// A partner's feed: every message is the JSON body of one request, made in the name of `member`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// The path that the request is posted to, e.g. `/delivery/process-delivery`.
    pub post: String,
    /// In whose name.
    pub member: MemberId,
    /// With which role.
    pub role: Role,
}

/// A feed as it is typed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TypedFeed {
    post: String,
    member: String,
    role: String,
}

/// Checks every feed; whether the shop has something at a path, and for that role, its door knows.
pub(super) fn read(typed: BTreeMap<String, TypedFeed>) -> Result<BTreeMap<String, Feed>, Error> {
    typed.into_iter().map(|(name, feed)| Ok((name.clone(), feed.read(&name)?))).collect()
}

impl TypedFeed {
    fn read(self, name: &str) -> Result<Feed, Error> {
        let refuse = |field: &str, why: &str| Error::Value { key: key(name, field), why: why.to_owned() };
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(plain) {
            return Err(refuse("post", "belongs to a feed whose name is not a short word of a-z, 0-9 and -"));
        }
        if !self.post.starts_with('/') || self.post.contains(['{', '?']) {
            return Err(refuse("post", "must be a path such as /delivery/process-delivery"));
        }
        let member = self.member.parse().map_err(|_| refuse("member", "must be a member's id, a UUID"))?;
        let role = auth::role(&self.role).ok_or_else(|| refuse("role", "must be one of the roles of a token"))?;
        Ok(Feed { post: self.post, member, role })
    }
}

/// Every feed, as it would be typed.
pub(super) fn shown(feeds: &BTreeMap<String, Feed>) -> impl Iterator<Item = (String, Value)> {
    feeds.iter().flat_map(|(name, feed)| {
        [("post", feed.post.clone()), ("member", feed.member.to_string()), ("role", auth::name(feed.role))]
            .map(|(field, value)| (key(name, field), Value::String(value)))
    })
}

fn key(name: &str, field: &str) -> String {
    format!("nats.feeds.{name}.{field}")
}
