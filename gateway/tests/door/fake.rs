//! A shop of a few lines behind a real door, and clients for it.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use domain::ids::MemberId;
use futures::{Stream, StreamExt as _};
use gateway::{
    auth::{Roles, Signer, Verifier, caller},
    error::{self, Reason},
    limits::Limits,
    server::{self, Deadline, Door, Drained, Routes},
};
use jiff::Timestamp;
use ports::clock::Clock;
use proto::v1::{self, Role};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tonic::{Request, Response, Status, transport::Channel};

pub const MEMBER: MemberId = MemberId::from_u128(7);

/// The clock of every test stands still.
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_700_000_000).expect("in range")
    }
}

/// A running gateway.
pub struct Shop {
    pub address: SocketAddr,
    pub door: Arc<Door>,
    pub services: Arc<Counts>,
    pub signer: Arc<Signer>,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<std::io::Result<Drained>>,
}

/// What the services noticed.
#[derive(Default)]
pub struct Counts {
    pub asked: AtomicUsize,
    pub now: AtomicUsize,
    pub most: AtomicUsize,
    pub streamed: AtomicUsize,
}

impl Shop {
    pub async fn open(limits: Limits) -> Self {
        Self::open_with(Arc::new(Signer::generate().expect("a key")), limits, |routes| routes).await
    }

    /// One of several that share a key, with other routes.
    pub async fn open_with(signer: Arc<Signer>, limits: Limits, routed: impl FnOnce(Routes) -> Routes) -> Self {
        let verifier = Verifier::new(vec![signer.public()], limits.tokens.clone(), Arc::new(Still));
        let services = Arc::new(Counts::default());
        let (routes, reporter) = Routes::standard(limits).expect("descriptors");
        reporter.set_service_status("", tonic_health::ServingStatus::Serving).await;
        let routes = routes
            .service(v1::catalog_service_server::CatalogServiceServer::new(Fake(services.clone())))
            .service(v1::order_service_server::OrderServiceServer::new(Fake(services.clone())))
            .service(v1::echo_service_server::EchoServiceServer::new(Fake(services.clone())));
        let door = Door::new(routed(routes), verifier).expect("servable");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(server::run(listener, door.clone(), async {
            let _ = stopped.await;
        }));
        Self { address, door, services, signer, stop: Some(stop), running }
    }

    /// An `authorization` header for the member with these roles.
    pub fn token(&self, roles: &[Role]) -> String {
        let token = self.signer.issue(MEMBER, Roles::of(roles), Still.now(), Duration::from_secs(60));
        format!("Bearer {}", token.expect("a token"))
    }

    pub fn buyer(&self) -> String {
        self.token(&[Role::Buyer])
    }

    /// A connection of its own.
    pub async fn connect(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address)).expect("a URI").connect().await.expect("connected")
    }

    /// Asks the gateway to stop.
    pub fn stop(&mut self) {
        self.stop.take().expect("stopped once").send(()).expect("running");
    }

    /// Waits until it has.
    pub async fn stopped(self) -> Drained {
        self.running.await.expect("no panic").expect("no error")
    }
}

/// A request with a token.
pub fn with<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", token.parse().expect("a header"));
    request
}

/// The reason in a status, as a client reads it.
pub fn reason(status: &Status) -> Reason {
    error::reason_of(status).unwrap_or_else(|| panic!("no reason in {status:?}"))
}

/// Implements what the tests call; what the id says decides what happens.
pub struct Fake(Arc<Counts>);

impl Fake {
    /// Counts a call for as long as it takes: `slow-300` takes 300 ms, `panic` panics.
    async fn work(&self, id: &str) {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        let now = self.0.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.most.fetch_max(now, Ordering::SeqCst);
        assert_ne!(id, "panic", "as asked");
        if let Some(millis) = id.strip_prefix("slow-") {
            tokio::time::sleep(Duration::from_millis(millis.parse().expect("a number"))).await;
        }
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

type Later<'f, T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send + 'f>>;

/// Methods spelled as `async_trait` would, which does not see into macros.
macro_rules! not_here {
    ($($method:ident $request:ident $response:ident,)+) => {$(
        fn $method<'s, 'f>(&'s self, _: Request<v1::$request>) -> Later<'f, v1::$response>
        where
            's: 'f,
            Self: 'f,
        {
            Box::pin(async { Err(Status::unimplemented("not in this test")) })
        }
    )+};
}

#[tonic::async_trait]
impl v1::catalog_service_server::CatalogService for Fake {
    async fn get_product(&self, request: Request<v1::GetProductRequest>) -> Result<Response<v1::Product>, Status> {
        let product_id = request.into_inner().product_id;
        self.work(&product_id).await;
        if product_id == "none" {
            return Err(error::status(Reason::ProductNotFound, "no such product", [("product_id", product_id)]));
        }
        Ok(Response::new(v1::Product { product_id, name: "A mug".to_owned(), ..v1::Product::default() }))
    }

    type WatchStockStream = Answers<v1::WatchStockResponse>;

    /// `endless`: as fast as it is read; `quiet`: one level, then nothing; `broken`: one level, then an error;
    /// else three levels.
    async fn watch_stock(
        &self,
        request: Request<v1::WatchStockRequest>,
    ) -> Result<Response<Self::WatchStockStream>, Status> {
        let sku = request.into_inner().sku;
        let counts = self.0.clone();
        let level = move |position| {
            counts.streamed.fetch_add(1, Ordering::SeqCst);
            let stock = v1::Stock { sku: "x".repeat(1_000), ..v1::Stock::default() };
            Ok(v1::WatchStockResponse { stock: Some(stock), position })
        };
        let levels = futures::stream::iter(1..).map(level);
        Ok(Response::new(match sku.as_str() {
            "endless" => Box::pin(levels),
            "quiet" => Box::pin(levels.take(1).chain(futures::stream::pending())),
            "broken" => Box::pin(levels.take(1).chain(futures::stream::iter([Err(error::status(
                Reason::ViewBehind,
                "too far behind",
                [],
            ))]))),
            _ => Box::pin(levels.take(3)),
        }))
    }

    not_here! {
        create_product CreateProductRequest CreateProductResponse,
        update_product UpdateProductRequest UpdateProductResponse,
        delete_product DeleteProductRequest DeleteProductResponse,
        list_products ListProductsRequest ListProductsResponse,
        change_inventory_count ChangeInventoryCountRequest ChangeInventoryCountResponse,
        get_stock GetStockRequest Stock,
        list_stock ListStockRequest ListStockResponse,
    }
}

#[tonic::async_trait]
impl v1::order_service_server::OrderService for Fake {
    /// Answers what the door said about the caller.
    async fn process_order(
        &self,
        request: Request<v1::ProcessOrderRequest>,
    ) -> Result<Response<v1::ProcessOrderResponse>, Status> {
        let caller = caller(&request);
        let deadline = request.extensions().get::<Deadline>().is_some();
        let order = request.into_inner();
        self.work(&order.region).await;
        let units = order.lines.iter().map(|line| i64::from(line.quantity)).sum();
        Ok(Response::new(v1::ProcessOrderResponse {
            order_id: order.request_id,
            state: v1::OrderState::Reserved.into(),
            total: Some(proto::Money { currency_code: "GBP".to_owned(), units, nanos: 0 }),
            etag: format!("{} {:?} own={} deadline={deadline}", caller.member, caller.roles.names(), caller.own_only),
            position: u64::MAX,
            ..v1::ProcessOrderResponse::default()
        }))
    }

    type WatchOrderStream = Answers<v1::WatchOrderResponse>;

    not_here! {
        get_order GetOrderRequest Order,
        list_orders ListOrdersRequest ListOrdersResponse,
        cancel_order CancelOrderRequest CancelOrderResponse,
    }

    async fn watch_order(&self, _: Request<v1::WatchOrderRequest>) -> Result<Response<Self::WatchOrderStream>, Status> {
        Err(error::status(Reason::OrderNotFound, "no such order", []))
    }
}

#[tonic::async_trait]
impl v1::echo_service_server::EchoService for Fake {
    async fn echo(&self, request: Request<v1::EchoRequest>) -> Result<Response<v1::EchoResponse>, Status> {
        let payload = vec![0; request.into_inner().answer_bytes as usize].into();
        Ok(Response::new(v1::EchoResponse { payload }))
    }
}
