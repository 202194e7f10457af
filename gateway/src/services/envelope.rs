//! The envelope of a mutation: who asks, under which request id, from which revision, as of when.
//!
//! Every mutating message has a `request_id`; most have an `etag`, some an `occurred_at`. They are read here, once
//! for all services, so no method can forget one of them.

use std::time::Duration;

use commands::request::Request;
use domain::{event::Actor, ids::RequestId};
use jiff::Timestamp;
use ports::store::Revision;
use prost::Message;
use proto::v1::{self, Role};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use tonic::Status;

use super::{Context, convert};
use crate::{
    auth::{Caller, caller},
    error::invalid,
    server::Deadline,
};

/// A mutating message.
pub(super) trait Mutation: Message {
    /// Whether only operators may say when it happened.
    const DATED_BY_OPERATORS: bool;

    fn request_id(&self) -> &str;
    fn etag(&self) -> &str;
    fn occurred_at(&self) -> Option<&prost_types::Timestamp>;
}

macro_rules! mutations {
    ($($name:ident $(etag $etag:ident)? $(dated $dated:ident by $who:ident)?;)+) => {$(
        impl Mutation for v1::$name {
            const DATED_BY_OPERATORS: bool = mutations!(@who $($who)?);

            fn request_id(&self) -> &str {
                &self.request_id
            }

            fn etag(&self) -> &str {
                mutations!(@text self $($etag)?)
            }

            fn occurred_at(&self) -> Option<&prost_types::Timestamp> {
                mutations!(@moment self $($dated)?)
            }
        }
    )+};
    (@who anyone) => { false };
    (@who $($operators:ident)?) => { true };
    (@text $self:ident $field:ident) => { &$self.$field };
    (@text $self:ident) => { "" };
    (@moment $self:ident $field:ident) => { $self.$field.as_ref() };
    (@moment $self:ident) => { None };
}

mutations! {
    CreateProductRequest;
    UpdateProductRequest etag etag;
    DeleteProductRequest etag etag;
    ChangeInventoryCountRequest etag etag dated occurred_at by operators;
    ProcessOrderRequest dated occurred_at by operators;
    CancelOrderRequest etag etag dated occurred_at by operators;
    LaunchCampaignRequest;
    EndCampaignRequest etag etag;
    ClaimCouponRequest;
    ProcessPaymentRequest dated occurred_at by operators;
    RefundPaymentRequest etag etag dated occurred_at by operators;
    ProcessDeliveryRequest etag etag dated occurred_at by anyone;
    RequestReturnRequest dated occurred_at by operators;
    ReceiveReturnRequest etag etag dated occurred_at by operators;
}

/// A mutation, opened.
pub(super) struct Asked<T> {
    pub(super) caller: Caller,
    pub(super) request: Request,
    pub(super) deadline: Instant,
    /// When it really happened, if the caller says so.
    pub(super) backdated: Option<Timestamp>,
    pub(super) body: T,
}

impl<T> Asked<T> {
    /// The caller's share of the ids that derive from their request: the same request id from two callers is two
    /// requests.
    pub(super) fn scope(&self) -> [u8; 17] {
        self.request.actor.scope()
    }
}

/// Opens a mutation.
pub(super) fn open<T: Mutation>(context: &Context, message: tonic::Request<T>) -> Result<Asked<T>, Status> {
    let (caller, deadline) = (caller(&message), deadline(context, &message));
    let body = message.into_inner();
    let id: RequestId = convert::id::<RequestId>("request_id", body.request_id())?;
    let backdated = convert::moment("occurred_at", body.occurred_at())?;
    if backdated.is_some() && T::DATED_BY_OPERATORS {
        caller.may_set("occurred_at", Role::Operator)?;
    }
    let now = backdated.unwrap_or_else(|| context.now());
    let mut request = Request::new(id, Actor::Member(caller.member), body_hash(&body), now);
    request.if_match = if_match(body.etag())?;
    Ok(Asked { caller, request, deadline, backdated, body })
}

/// When the caller stops waiting; the door has noted it.
pub(super) fn deadline<T>(context: &Context, message: &tonic::Request<T>) -> Instant {
    let noted = message.extensions().get::<Deadline>();
    noted.map_or_else(|| Instant::now() + context.limits.request_timeout, |deadline| deadline.0)
}

/// A moment before the deadline that leaves `margin` to answer, or a tenth of the time if that is less.
pub(super) fn before(deadline: Instant, margin: Duration) -> Instant {
    let left = deadline.saturating_duration_since(Instant::now());
    deadline.checked_sub(margin.min(left / 10)).unwrap_or(deadline)
}

/// The same message has the same hash: no message of the API has a map, whose entries have no order.
fn body_hash(body: &impl Message) -> u64 {
    let digest: [u8; 32] = Sha256::digest(body.encode_to_vec()).into();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first)
}

fn if_match(etag: &str) -> Result<Option<Revision>, Status> {
    if etag.is_empty() {
        return Ok(None);
    }
    etag.parse().map(Some).map_err(|_| invalid("etag", "is not one that this shop has given"))
}

/// The etag of a resource whose stream holds so many events.
pub(super) fn etag(revision: Revision) -> String {
    revision.to_string()
}

/// The etag of a row: it knows the revision of its newest event.
pub(super) fn row_etag(newest: Revision) -> String {
    etag(newest + 1)
}

/// An id that derives from the caller's request.
pub(super) fn derived<T, I>(asked: &Asked<T>, make: fn(uuid::Uuid, &[&[u8]]) -> I) -> I {
    make(asked.request.id.0, &[&asked.scope()])
}
