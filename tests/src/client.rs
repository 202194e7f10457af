//! Typed clients of every service, with a member's token.

use std::{net::SocketAddr, time::Duration};

use domain::ids::MemberId;
use proto::v1::{
    catalog_service_client::CatalogServiceClient, coupon_service_client::CouponServiceClient,
    delivery_service_client::DeliveryServiceClient, echo_service_client::EchoServiceClient,
    order_service_client::OrderServiceClient, payment_service_client::PaymentServiceClient,
    report_service_client::ReportServiceClient, return_service_client::ReturnServiceClient,
};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

/// A channel that carries a token.
pub type Rpc = InterceptedService<Channel, Bearer>;

/// Adds the token to every request.
#[derive(Clone)]
pub struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// A member at the door. Clones share a connection.
#[derive(Clone)]
pub struct Client {
    /// Who it is.
    pub member: MemberId,
    /// Products and stock.
    pub catalog: CatalogServiceClient<Rpc>,
    /// Orders.
    pub orders: OrderServiceClient<Rpc>,
    /// Coupons.
    pub coupons: CouponServiceClient<Rpc>,
    /// Payments.
    pub payments: PaymentServiceClient<Rpc>,
    /// Deliveries.
    pub deliveries: DeliveryServiceClient<Rpc>,
    /// Returns.
    pub returns: ReturnServiceClient<Rpc>,
    /// Figures.
    pub reports: ReportServiceClient<Rpc>,
    /// Nothing.
    pub echo: EchoServiceClient<Rpc>,
}

impl Client {
    /// Connects to a shop with a token.
    pub async fn connect(addr: SocketAddr, member: MemberId, token: &str) -> Self {
        Self::try_connect(addr, member, token).await.expect("the shop is open")
    }

    /// The same; `None` when nobody listens.
    pub async fn try_connect(addr: SocketAddr, member: MemberId, token: &str) -> Option<Self> {
        let endpoint = Endpoint::from_shared(format!("http://{addr}")).expect("an address is a URL");
        let channel = endpoint.connect_timeout(Duration::from_secs(10)).connect().await.ok()?;
        let bearer = Bearer(format!("Bearer {token}").parse().expect("a token is ASCII"));
        let rpc = || InterceptedService::new(channel.clone(), bearer.clone());
        Some(Self {
            member,
            catalog: CatalogServiceClient::new(rpc()),
            orders: OrderServiceClient::new(rpc()),
            coupons: CouponServiceClient::new(rpc()),
            payments: PaymentServiceClient::new(rpc()),
            deliveries: DeliveryServiceClient::new(rpc()),
            returns: ReturnServiceClient::new(rpc()),
            reports: ReportServiceClient::new(rpc()),
            echo: EchoServiceClient::new(rpc()),
        })
    }
}

/// The reason in a refusal; every refusal of the shop has one.
#[must_use]
pub fn reason(status: &Status) -> String {
    let info = status.get_details_error_info();
    info.unwrap_or_else(|| panic!("a refusal without a reason: {status:?}")).reason
}

/// One fact in a refusal; empty when it is not there.
#[must_use]
pub fn fact(status: &Status, name: &str) -> String {
    let info = status.get_details_error_info().expect("every refusal has a reason");
    info.metadata.get(name).cloned().unwrap_or_default()
}
