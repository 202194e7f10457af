//! What the shop answers: one file per domain noun, each an implementation of a generated service.
//!
//! A service is thin. It reads the message into domain values ([`convert`]), hands a command to a desk under the
//! caller's envelope ([`envelope`]), and turns what came of it into a message or a reason ([`refusal`]). Queries
//! read views ([`views`]) and open personal data for those who may see it ([`address`]). What an answer must say
//! about the past, so that a retry hears the same, is folded from the log ([`past`]).

use std::{sync::Arc, time::Duration};

use commands::{shop::Shop, steps::Steps};
use jiff::{SignedDuration, Timestamp};
use ports::{keys::Keys, store::EventStore};
use proto::v1;

use crate::{limits::Limits, page_token::PageTokens, server::Routes};

mod address;
mod catalog;
mod convert;
mod coupon;
mod delivery;
mod echo;
mod envelope;
mod order;
mod past;
mod payment;
mod refusal;
mod report;
mod returns;
mod sealed;
mod stock;
mod views;
mod watch;

pub use views::Views;

/// What the shop decides for itself, as far as services need it.
#[derive(Debug, Clone)]
pub struct Rules {
    /// How long an order waits for its payment.
    pub order_ttl: SignedDuration,
    /// How long a follower may stay before they have to follow again.
    pub stream_life: Duration,
    /// The shortest time between two looks at something that is followed.
    pub stream_interval: Duration,
    /// How many rows a query may look through for one page when a filter has no index.
    pub scan_rows_max: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            order_ttl: SignedDuration::from_mins(15),
            stream_life: Duration::from_secs(60 * 60),
            stream_interval: Duration::from_millis(50),
            scan_rows_max: 10_000,
        }
    }
}

/// What every service works with.
pub struct Context {
    /// The desks, and the clock.
    pub shop: Shop,
    /// The processes' hands.
    pub steps: Steps,
    /// The log.
    pub log: Arc<dyn EventStore>,
    /// The members' keys.
    pub keys: Arc<dyn Keys>,
    /// The views.
    pub views: Views,
    /// Page tokens.
    pub pages: PageTokens,
    /// The door's limits.
    pub limits: Limits,
    /// The shop's own.
    pub rules: Rules,
}

impl Context {
    fn now(&self) -> Timestamp {
        self.shop.clock.now()
    }
}

/// Adds every service of the API.
#[must_use]
pub fn routes(routes: Routes, context: &Arc<Context>) -> Routes {
    let context = || Arc::clone(context);
    routes
        .service(v1::catalog_service_server::CatalogServiceServer::new(catalog::Catalog(context())))
        .service(v1::order_service_server::OrderServiceServer::new(order::Orders(context())))
        .service(v1::coupon_service_server::CouponServiceServer::new(coupon::Coupons(context())))
        .service(v1::payment_service_server::PaymentServiceServer::new(payment::Payments(context())))
        .service(v1::delivery_service_server::DeliveryServiceServer::new(delivery::Deliveries(context())))
        .service(v1::return_service_server::ReturnServiceServer::new(returns::Returns(context())))
        .service(v1::report_service_server::ReportServiceServer::new(report::Reports(context())))
        .service(v1::echo_service_server::EchoServiceServer::new(echo::Echo))
}
