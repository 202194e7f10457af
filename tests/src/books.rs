//! The books of a shop that dies: what was asked, what was answered, and whether it all adds up afterwards.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use domain::ids::MemberId;
use futures::StreamExt as _;
use ports::store::{EventStore, Position};
use proto::v1;
use store_sqlite::SqliteStore;
use tokio::{sync::mpsc, time::Instant};
use tonic::{Code, Response, Status};
use uuid::Uuid;

use crate::{
    client::{Client, reason},
    say,
    victim::{self, Victim},
};

/// Who buys, and who looks at the books.
const OPERATOR: MemberId = MemberId::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);

/// The products of the load, few enough to be contended.
const PRODUCTS: [&str; 3] = ["amber", "birch", "coral"];
/// What lies on each shelf; more than all scenarios sell.
const UNITS: u32 = 1_000_000;
/// Buyers at the same time.
const BUYERS: usize = 6;
/// How many requests are sent again at the same time.
const RETRIES: usize = 16;
/// How long a buyer waits for an answer; the shop is told, and answers that it cannot tell yet.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the orders may take to come to their ends after a restart.
const SETTLE_MAX: Duration = Duration::from_secs(60);
/// How long one burst may last; a shop that hangs must not hang the test.
const BURST_MAX: Duration = Duration::from_secs(30);
/// One order in so many goes to an address, of somebody whom the shop has never seen: that makes a key for them.
const ADDRESS_EVERY: usize = 3;
/// The most orders that are listed at a time.
const PAGE: u32 = 1_000;

/// A request and the answer that came, if one did.
#[derive(Debug, Clone)]
struct Asked {
    request: v1::ProcessOrderRequest,
    answer: Option<v1::ProcessOrderResponse>,
}

/// What was asked of a shop and what it answered.
pub struct Books {
    /// Every order that was ever asked for, by its request id.
    asked: BTreeMap<String, Asked>,
    /// Those asked for since the books were last balanced.
    fresh: BTreeSet<String>,
    /// How many units have come in.
    received: u64,
    /// The staff's token, good for as long as the folder is.
    token: String,
}

impl Books {
    /// Opens a new shop in a folder, fills its shelves, and closes it again.
    ///
    /// # Panics
    /// When that does not succeed.
    pub async fn open(folder: &Path) -> Self {
        let victim = Victim::start(folder, None).expect("a new shop opens");
        let mut books = Self {
            asked: BTreeMap::new(),
            fresh: BTreeSet::new(),
            received: u64::from(UNITS) * PRODUCTS.len() as u64,
            token: victim::token(folder, OPERATOR, "operator"),
        };
        let mut operator = books.operator(&victim).await;
        for product in PRODUCTS {
            say::stock(&mut operator, product, 250, UNITS).await;
        }
        drop(operator);
        victim.stop();
        books.fresh.clear();
        books
    }

    /// How many orders were asked for.
    #[must_use]
    pub fn orders(&self) -> usize {
        self.asked.len()
    }

    /// Clients of the staff.
    async fn operator(&self, victim: &Victim) -> Client {
        Client::connect(victim.addr, OPERATOR, &self.token).await
    }

    /// Lets every buyer buy so many orders, or until the shop is gone. Answers the reasons of refusals.
    ///
    /// # Panics
    /// When a refusal has no reason.
    pub async fn burst(&mut self, victim: &Victim, orders: usize) -> Vec<String> {
        self.burst_for(victim, orders, BURST_MAX).await
    }

    /// The same, and no longer than `time`.
    ///
    /// # Panics
    /// When a refusal has no reason.
    pub async fn burst_for(&mut self, victim: &Victim, orders: usize, time: Duration) -> Vec<String> {
        // The shop may be gone before anybody is at the door.
        let Some(client) = Client::try_connect(victim.addr, OPERATOR, &self.token).await else { return Vec::new() };
        let (told, mut heard) = mpsc::unbounded_channel();
        let buyers = (0..BUYERS).map(|buyer| {
            let (mut client, told) = (client.clone(), told.clone());
            async move {
                for n in 0..orders {
                    let request = wish(buyer, n);
                    let _asked = told.send((request.clone(), None));
                    let mut message = tonic::Request::new(request.clone());
                    message.set_timeout(PATIENCE);
                    let answer = client.orders.process_order(message).await.map(Response::into_inner);
                    let gone = answer.as_ref().is_err_and(is_gone);
                    let _answered = told.send((request, Some(answer)));
                    if gone {
                        return;
                    }
                }
            }
        });
        // Whoever is still buying when the time is over is cut off: their requests stay unanswered.
        let _over = tokio::time::timeout(time, futures::future::join_all(buyers)).await;
        drop(told);
        let mut reasons = Vec::new();
        while let Some((request, answer)) = heard.recv().await {
            let id = request.request_id.clone();
            self.fresh.insert(id.clone());
            let asked = self.asked.entry(id).or_insert(Asked { request, answer: None });
            match answer {
                Some(Ok(answer)) => asked.answer = Some(answer),
                Some(Err(status)) if is_gone(&status) => {}
                Some(Err(status)) => reasons.push(reason(&status)),
                None => {}
            }
        }
        reasons
    }

    /// Starts the shop again and balances the books; see [`Self::settle_on`].
    ///
    /// # Panics
    /// When they do not balance.
    pub async fn settle(&mut self, folder: &Path) {
        let victim = Victim::start(folder, None).expect("it opens after any death");
        self.settle_on(&victim).await;
        victim.stop();
    }

    /// Sends every request since the last time again and waits until their orders have come to their end.
    ///
    /// # Panics
    /// When an answer is not what it was, an order does not end, the shelves do not add up, or an address cannot be read
    /// any more.
    pub async fn settle_on(&mut self, victim: &Victim) {
        let mut operator = self.operator(victim).await;
        self.ask_again(&operator, &self.fresh.clone()).await;
        // The newest orders come first, and all older ones are known to have ended.
        let wanted: BTreeSet<String> = self.fresh.iter().map(|id| self.order(id).to_owned()).collect();
        let position = self.fresh.iter().filter_map(|id| self.asked[id].answer.as_ref()).map(|answer| answer.position);
        self.ended(&mut operator, &wanted, position.max().unwrap_or_default()).await;
        self.shelves(&mut operator).await;
        self.addresses(&operator).await;
        self.fresh.clear();
    }

    /// Looks at everything once more, from the first order to the last, in the shop and then in its closed log.
    /// Answers how many events that has.
    ///
    /// # Panics
    /// When something is missing, twice, or not what it was.
    pub async fn close(&mut self, folder: &Path) -> u64 {
        let victim = Victim::start(folder, None).expect("it opens once more");
        self.fresh = self.asked.keys().cloned().collect();
        self.settle_on(&victim).await;
        victim.stop();
        self.audit(folder).await
    }

    /// Sends requests again, each with its own id.
    async fn ask_again(&mut self, operator: &Client, ids: &BTreeSet<String>) {
        let requests: Vec<_> = ids.iter().map(|id| self.asked[id].request.clone()).collect();
        let retries = requests.into_iter().map(|request| retry(operator.clone(), request));
        let mut retries = futures::stream::iter(retries).buffer_unordered(RETRIES);
        while let Some((id, again)) = retries.next().await {
            let asked = self.asked.get_mut(&id).expect("it was asked for");
            let before = asked.answer.get_or_insert_with(|| again.clone());
            assert_eq!(*before, again, "a retry must get the answer that was given before");
        }
    }

    /// The order that a request became.
    fn order(&self, id: &str) -> &str {
        &self.asked[id].answer.as_ref().expect("every request was answered in the end").order_id
    }

    /// Waits until exactly these orders, the newest of all, are delivered.
    async fn ended(&self, operator: &mut Client, wanted: &BTreeSet<String>, position: u64) {
        let begun = Instant::now();
        loop {
            let listed = newest(operator, wanted.len(), position).await;
            let ids: BTreeSet<String> = listed.iter().map(|order| order.order_id.clone()).collect();
            assert_eq!(ids, *wanted, "the newest orders are those asked for, each once");
            let open: Vec<_> = listed.iter().filter(|order| order.state() != v1::OrderState::Delivered).collect();
            if open.is_empty() {
                return;
            }
            let states: Vec<_> = open.iter().map(|order| (&order.order_id, order.state())).collect();
            assert!(begun.elapsed() < SETTLE_MAX, "these orders did not come to their end: {states:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What is left on the shelves is what came in less what all orders took; nothing is held for anybody.
    async fn shelves(&self, operator: &mut Client) {
        let mut left = 0;
        for product in PRODUCTS {
            let request = v1::GetStockRequest { sku: product.into(), ..Default::default() };
            let stock = operator.catalog.get_stock(request).await.expect("the shelf").into_inner();
            assert_eq!(stock.reserved, 0, "an order that has ended holds {product}");
            left += u64::from(stock.on_hand);
        }
        let lines = self.asked.values().flat_map(|asked| &asked.request.lines);
        let sold: u64 = lines.map(|line| u64::from(line.quantity)).sum();
        assert_eq!(left + sold, self.received, "what is left and what was sold must be what came in");
    }

    /// Every order that was asked for since the last time goes where it was to go: the key that opens its address is there.
    async fn addresses(&self, operator: &Client) {
        let asked: Vec<_> = self
            .fresh
            .iter()
            .filter_map(|id| Some((self.order(id).to_owned(), self.asked[id].request.ship_to.clone()?)))
            .collect();
        let looks = asked.into_iter().map(|(order, address)| look(operator.clone(), order, address));
        futures::stream::iter(looks).buffer_unordered(RETRIES).collect::<()>().await;
    }

    /// How many members have a key because of an order that was asked for.
    #[must_use]
    pub fn members(&self) -> usize {
        self.asked.values().filter(|asked| asked.request.ship_to.is_some()).count()
    }

    /// Whether something durable can be read.
    pub async fn read_something(&self, victim: &Victim) -> bool {
        let mut operator = self.operator(victim).await;
        let request = v1::GetProductRequest { product_id: PRODUCTS[0].into(), ..Default::default() };
        let product = operator.catalog.get_product(request).await.is_ok();
        let orders = operator.orders.list_orders(v1::ListOrdersRequest::default()).await;
        let placed = self.asked.values().any(|asked| asked.answer.is_some());
        product && orders.is_ok_and(|page| !placed || !page.into_inner().orders.is_empty())
    }

    /// Reads the whole log of a closed shop: no gaps, no id twice, every order placed and paid once.
    async fn audit(&self, folder: &Path) -> u64 {
        let clock = Arc::new(gateway::clock::SystemClock);
        let store = SqliteStore::open(folder, clock, &store_sqlite::Limits::default()).expect("the log opens");
        let (mut ids, mut revisions) = (BTreeSet::new(), BTreeMap::<String, u64>::new());
        let (mut placed, mut captured) = (BTreeMap::<String, u32>::new(), 0_usize);
        let mut position = Position::START;
        loop {
            let page = store.read_all(position, 1_000).await.expect("the log reads, every checksum included");
            let Some(last) = page.last() else { break };
            position = last.position;
            for event in page {
                assert!(ids.insert(event.id), "event {} is there twice", event.id);
                let next = revisions.entry(event.stream.clone()).or_default();
                assert_eq!(event.revision, *next, "a gap in {}", event.stream);
                *next += 1;
                match event.kind.as_str() {
                    "order.placed" => *placed.entry(event.stream).or_default() += 1,
                    "payment.captured" => captured += 1,
                    _ => {}
                }
            }
        }
        for id in self.asked.keys() {
            let order = self.order(id);
            assert_eq!(placed.get(&format!("order-{order}")), Some(&1), "order {order} is not in the log once");
        }
        assert_eq!(placed.len(), self.asked.len(), "orders that nobody asked for");
        assert_eq!(captured, self.asked.len(), "each order is paid once");
        ids.len() as u64
    }
}

/// Whether this is no answer: the shop is gone, or it took longer than anybody waits.
fn is_gone(status: &Status) -> bool {
    status.details().is_empty()
}

/// One to three lines over few products, paid at once; now and then for a new member, to their address.
fn wish(buyer: usize, n: usize) -> v1::ProcessOrderRequest {
    let mut wish = lines(buyer, n);
    if (buyer + n).is_multiple_of(ADDRESS_EVERY) {
        let id = Uuid::parse_str(&wish.request_id).expect("a request id");
        wish.buyer_id = MemberId::derived(id, &[b"somebody new"]).to_string();
        wish.ship_to = Some(v1::Address {
            recipient: format!("Member of {id}"),
            lines: vec!["12 St James's Square".into()],
            city: "London".into(),
            postal_code: "SW1Y 4JH".into(),
            country: "GB".into(),
            ..Default::default()
        });
    }
    wish
}

fn lines(buyer: usize, n: usize) -> v1::ProcessOrderRequest {
    let first = PRODUCTS[(buyer + n) % PRODUCTS.len()];
    let second = PRODUCTS[(buyer + n + 1) % PRODUCTS.len()];
    match n % 3 {
        0 => say::paid_order(&[(first, 1)]),
        1 => say::paid_order(&[(first, 2), (second, 1)]),
        _ => say::paid_order(&[(second, 1), (first, 1), (second, 1)]),
    }
}

/// Sends a request until the shop answers it.
async fn retry(mut operator: Client, request: v1::ProcessOrderRequest) -> (String, v1::ProcessOrderResponse) {
    let begun = Instant::now();
    loop {
        match operator.orders.process_order(request.clone()).await {
            Ok(answer) => return (request.request_id, answer.into_inner()),
            Err(status) => {
                let passing = matches!(status.code(), Code::Unavailable | Code::Aborted | Code::ResourceExhausted);
                assert!(passing && begun.elapsed() < SETTLE_MAX, "a retry was refused: {status:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// The order goes where it was to go.
async fn look(mut operator: Client, order: String, address: v1::Address) {
    let request = v1::GetOrderRequest { order_id: order.clone(), ..Default::default() };
    let seen = operator.orders.get_order(request).await.expect("an order that was listed").into_inner();
    assert_eq!(seen.ship_to, Some(address), "the address of order {order} is not what it was");
}

/// The newest orders, as the shop lists them.
async fn newest(operator: &mut Client, count: usize, min_position: u64) -> Vec<v1::Order> {
    let (mut orders, mut token) = (Vec::new(), String::new());
    while orders.len() < count {
        let page_size = u32::try_from(count - orders.len()).unwrap_or(PAGE).min(PAGE);
        let request = v1::ListOrdersRequest { page_size, page_token: token, min_position, ..Default::default() };
        let page = operator.orders.list_orders(request).await.expect("the orders").into_inner();
        orders.extend(page.orders);
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    orders
}
