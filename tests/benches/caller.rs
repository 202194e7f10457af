//! One caller: a member with a token, on a connection that others share.
//!
//! Leaner than the clients of the tests: what a caller costs is taken from the same processors as the shop.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use domain::ids::MemberId;
use ports::clock::Clock as _;
use proto::v1::{
    Role, catalog_service_client::CatalogServiceClient, coupon_service_client::CouponServiceClient,
    echo_service_client::EchoServiceClient, order_service_client::OrderServiceClient,
};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;
use uuid::Uuid;

/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// A member at the door.
#[derive(Clone)]
pub struct Caller {
    /// Products and stock.
    pub catalog: CatalogServiceClient<Channel>,
    /// Orders.
    pub orders: OrderServiceClient<Channel>,
    /// Coupons.
    pub coupons: CouponServiceClient<Channel>,
    /// Nothing.
    pub echo: EchoServiceClient<Channel>,
    bearer: MetadataValue<Ascii>,
}

/// Opens a connection.
pub async fn connect(addr: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).expect("an address is a URL");
    endpoint.connect_timeout(CONNECT_MAX).connect().await.expect("the shop is open")
}

impl Caller {
    /// A caller on a connection.
    pub fn new(channel: &Channel, token: &str) -> Self {
        Self {
            catalog: CatalogServiceClient::new(channel.clone()),
            orders: OrderServiceClient::new(channel.clone()),
            coupons: CouponServiceClient::new(channel.clone()),
            echo: EchoServiceClient::new(channel.clone()),
            bearer: format!("Bearer {token}").parse().expect("a token is ASCII"),
        }
    }

    /// The message with the caller's token.
    pub fn ask<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.bearer.clone());
        request
    }
}

/// The `n`-th member with a role.
pub fn member(role: Role, n: u64) -> MemberId {
    MemberId::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 | (role as u128) << 48 | u128::from(n))
}

/// A request id as clients should make them: a UUIDv7, so that what is stored under it lies together.
pub fn request_id() -> Uuid {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let millis = gateway::clock::SystemClock.now().as_millisecond().unsigned_abs();
    Uuid::from_u128(u128::from(millis) << 80 | 0x7000_8000_0000_0000_0000 | u128::from(n))
}

/// Why a request was refused: its reason, or the code when there is none.
pub fn why(status: &Status) -> String {
    status.get_details_error_info().map_or_else(|| format!("{:?}", status.code()), |info| info.reason)
}
