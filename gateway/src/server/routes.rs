//! The services behind the door.
//!
//! A map from service name to service, without a general router: the door has looked the whole path up in the
//! policy table already, so a path that reaches a service is one that it knows.

use std::{collections::HashMap, convert::Infallible, sync::Arc};

use http::{Request, Response};
use proto::v1;
use tonic::{body::Body, codegen::BoxFuture, server::NamedService};
use tonic_health::server::HealthReporter;
use tower::Service;

use super::forward::Forward;
use crate::limits::Limits;

/// A service as the door calls it: shared, and one allocation a call, which is tonic's own.
pub(super) trait Route: Send + Sync {
    fn call(&self, request: Request<Body>) -> BoxFuture<Response<Body>, Infallible>;
}

impl<S> Route for S
where
    S: Service<
            Request<Body>,
            Response = Response<Body>,
            Error = Infallible,
            Future = BoxFuture<Response<Body>, Infallible>,
        > + Clone
        + Send
        + Sync,
{
    fn call(&self, request: Request<Body>) -> BoxFuture<Response<Body>, Infallible> {
        // A generated server is always ready, and its clone is one more count on an Arc.
        Service::call(&mut self.clone(), request)
    }
}

/// A server of ours, which takes the limits on message sizes. Only generated servers of this API implement it.
pub trait Limited {
    /// The same server with the limits set.
    #[must_use]
    fn limited(self, limits: &Limits) -> Self;
}

macro_rules! limited {
    ($($module:ident $server:ident $service:ident,)+) => {$(
        impl<T: v1::$module::$service> Limited for v1::$module::$server<T> {
            fn limited(self, limits: &Limits) -> Self {
                self.max_decoding_message_size(limits.message_in_max_bytes)
                    .max_encoding_message_size(limits.message_out_max_bytes)
            }
        }
    )+};
}

limited! {
    catalog_service_server CatalogServiceServer CatalogService,
    coupon_service_server CouponServiceServer CouponService,
    delivery_service_server DeliveryServiceServer DeliveryService,
    echo_service_server EchoServiceServer EchoService,
    order_service_server OrderServiceServer OrderService,
    payment_service_server PaymentServiceServer PaymentService,
    report_service_server ReportServiceServer ReportService,
    return_service_server ReturnServiceServer ReturnService,
}

/// Where the methods that change something are answered.
#[derive(Clone)]
enum Decides {
    /// Here, as all the others are.
    Here,
    /// Here, and nothing else is answered here.
    OnlyThat,
    /// At another node.
    There(Forward),
}

/// The services of a gateway.
#[derive(Clone)]
pub struct Routes {
    pub(super) limits: Limits,
    services: HashMap<&'static str, Arc<dyn Route>>,
    decides: Decides,
}

impl Routes {
    /// Health and reflection (v1 and v1alpha), and the reporter that tells health what to say.
    ///
    /// # Errors
    /// When the embedded descriptors cannot be read.
    pub fn standard(limits: Limits) -> Result<(Self, HealthReporter), tonic_reflection::server::Error> {
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let (reporter, health) = tonic_health::server::health_reporter();
        let routes = Self { limits, services: HashMap::new(), decides: Decides::Here }
            .insert(health)
            .insert(reflection().build_v1()?)
            .insert(reflection().build_v1alpha()?);
        Ok((routes, reporter))
    }

    /// Adds one of our services, with its limits set: `routes.service(OrderServiceServer::new(orders))`.
    #[must_use]
    pub fn service<S>(self, server: S) -> Self
    where
        S: Limited + NamedService + Clone + Send + Sync + 'static,
        S: Service<
                Request<Body>,
                Response = Response<Body>,
                Error = Infallible,
                Future = BoxFuture<Response<Body>, Infallible>,
            >,
    {
        let server = server.limited(&self.limits);
        self.insert(server)
    }

    /// The same services, but what changes something is asked of other nodes.
    #[must_use]
    pub fn forwarding(self, forward: Forward) -> Self {
        Self { decides: Decides::There(forward), ..self }
    }

    /// The same services as other nodes ask them: only what changes something, beside health and reflection.
    #[must_use]
    pub fn only_deciding(self) -> Self {
        Self { decides: Decides::OnlyThat, ..self }
    }

    /// Who answers the method with this path, if it is answered here.
    pub(super) fn route(&self, path: &str) -> Option<Arc<dyn Route>> {
        let service = self.services.get(path.trim_start_matches('/').split('/').next()?)?;
        match (&self.decides, proto::policy(path).map(|policy| !policy.about.is_empty())) {
            (Decides::There(forward), Some(true)) => Some(Arc::new(forward.clone())),
            (Decides::OnlyThat, Some(false)) => None,
            _ => Some(Arc::clone(service)),
        }
    }

    fn insert<S: Route + NamedService + 'static>(mut self, server: S) -> Self {
        self.services.insert(S::NAME, Arc::new(server));
        self
    }
}
