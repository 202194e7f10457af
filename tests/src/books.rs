//! The books of a shop that dies: what was asked, what was answered, and whether it all adds up afterwards.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use ports::store::{EventStore, Position};
use proto::v1;
use store_sqlite::SqliteStore;
use tokio::time::Instant;
use tonic::Code;

use crate::{
    client::{Client, reason},
    say,
    victim::Victim,
};

/// The products of the load, few enough to be contended.
const PRODUCTS: [&str; 3] = ["amber", "birch", "coral"];
/// What lies on each shelf; more than all scenarios sell.
const UNITS: u32 = 100_000;
/// Buyers at the same time, and orders of each in one burst.
const BUYERS: usize = 8;
const ORDERS: usize = 12;
/// How long the orders may take to come to their ends after a restart.
const SETTLE_MAX: Duration = Duration::from_secs(90);
/// How long one burst may last; a shop that hangs must not hang the test.
const BURST_MAX: Duration = Duration::from_secs(20);

/// A request with the order it became, or the reason why it did not.
type Answered = (v1::ProcessOrderRequest, Result<String, String>);

/// What was asked of a shop and what it answered.
pub struct Books {
    /// Every order that was ever asked for, by its request id, with the answer if one came.
    asked: BTreeMap<String, (v1::ProcessOrderRequest, Option<String>)>,
    received: u64,
}

impl Books {
    /// Opens a new shop in a folder, fills its shelves, and closes it again.
    ///
    /// # Panics
    /// When that does not succeed.
    pub async fn open(folder: &Path) -> Self {
        let victim = Victim::start(folder, None).expect("it listens");
        let mut operator = victim.operator(folder).await;
        for product in PRODUCTS {
            say::stock(&mut operator, product, 250, UNITS).await;
        }
        victim.stop();
        Self { asked: BTreeMap::new(), received: u64::from(UNITS) * PRODUCTS.len() as u64 }
    }

    /// How many orders were asked for.
    #[must_use]
    pub fn orders(&self) -> usize {
        self.asked.len()
    }

    /// Buys until the burst is over or the shop is gone. Answers the reasons of refusals.
    pub async fn burst(&mut self, victim: &Victim, folder: &Path) -> Vec<String> {
        self.burst_until(victim, folder, BURST_MAX).await
    }

    /// Buys until the burst is over, the shop is gone, or the time is.
    pub async fn burst_until(&mut self, victim: &Victim, folder: &Path, time: Duration) -> Vec<String> {
        let answers: Arc<Mutex<Vec<Answered>>> = Arc::default();
        let client = victim.operator(folder).await;
        let buyers = (0..BUYERS).map(|buyer| {
            let (mut client, answers) = (client.clone(), Arc::clone(&answers));
            async move {
                for n in 0..ORDERS {
                    let request = wish(buyer, n);
                    answers.lock().expect("no buyer panics").push((request.clone(), Err("UNANSWERED".into())));
                    let answer = client.orders.process_order(request.clone()).await;
                    let answer = match answer {
                        Ok(answer) => Ok(answer.into_inner().order_id),
                        Err(status) if status.details().is_empty() => Err("GONE".to_owned()),
                        Err(status) => Err(reason(&status)),
                    };
                    let gone = answer.as_ref().is_err_and(|why| why == "GONE");
                    answers.lock().expect("no buyer panics").push((request, answer));
                    if gone {
                        return;
                    }
                }
            }
        });
        // Whoever is still buying when the time is over is cut off: their requests stay unanswered.
        let _over = tokio::time::timeout(time, futures::future::join_all(buyers)).await;
        let mut reasons = Vec::new();
        for (request, answer) in answers.lock().expect("no buyer panics").drain(..) {
            let entry = self.asked.entry(request.request_id.clone()).or_insert((request, None));
            match answer {
                Ok(order) => entry.1 = Some(order),
                Err(why) if why == "UNANSWERED" => {}
                Err(why) => reasons.push(why),
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
        self.settle_on(&victim, folder).await;
        victim.stop();
    }

    /// Sends every request again and waits until every order has come to its end.
    ///
    /// # Panics
    /// When an answer is not what it was, an order does not end, or the shelves do not add up.
    pub async fn settle_on(&mut self, victim: &Victim, folder: &Path) {
        let mut operator = victim.operator(folder).await;
        for (request, answered) in self.asked.values_mut() {
            let again = retry(&mut operator, request).await;
            match answered {
                Some(order) => assert_eq!(*order, again, "a retry must get the answer that was given before"),
                None => *answered = Some(again),
            }
        }
        let begun = Instant::now();
        let sold = loop {
            let (open, sold) = self.count(&mut operator).await;
            if open == 0 {
                break sold;
            }
            assert!(begun.elapsed() < SETTLE_MAX, "{open} orders did not come to their end");
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let mut left = 0;
        for product in PRODUCTS {
            let request = v1::GetStockRequest { sku: product.into(), ..Default::default() };
            let stock = operator.catalog.get_stock(request).await.expect("the shelf").into_inner();
            assert_eq!(stock.reserved, 0, "an order that has ended holds {product}");
            left += u64::from(stock.on_hand);
        }
        assert_eq!(left + sold, self.received, "what is left and what was sold must be what came in");
    }

    /// How many orders are still on their way, and how many units were sold.
    async fn count(&self, operator: &mut Client) -> (usize, u64) {
        let (mut open, mut sold, mut token) = (self.asked.len(), 0, String::new());
        loop {
            let request = v1::ListOrdersRequest { page_size: 500, page_token: token, ..Default::default() };
            let page = operator.orders.list_orders(request).await.expect("the orders").into_inner();
            for order in &page.orders {
                if order.state() == v1::OrderState::Delivered {
                    open = open.saturating_sub(1);
                    sold += order.lines.iter().map(|line| u64::from(line.quantity)).sum::<u64>();
                }
            }
            if page.next_page_token.is_empty() {
                return (open, sold);
            }
            token = page.next_page_token;
        }
    }

    /// Whether something durable can be read.
    pub async fn read_something(&self, victim: &Victim, folder: &Path) -> bool {
        let mut operator = victim.operator(folder).await;
        let request = v1::GetProductRequest { product_id: PRODUCTS[0].into(), ..Default::default() };
        operator.catalog.get_product(request).await.is_ok()
    }
}

/// One to three lines over few products, paid at once.
fn wish(buyer: usize, n: usize) -> v1::ProcessOrderRequest {
    let first = PRODUCTS[(buyer + n) % PRODUCTS.len()];
    let second = PRODUCTS[(buyer + n + 1) % PRODUCTS.len()];
    match n % 3 {
        0 => say::paid_order(&[(first, 1)]),
        1 => say::paid_order(&[(first, 2), (second, 1)]),
        _ => say::paid_order(&[(second, 1), (first, 1), (second, 1)]),
    }
}

/// Sends a request until the shop answers it.
async fn retry(operator: &mut Client, request: &v1::ProcessOrderRequest) -> String {
    let begun = Instant::now();
    loop {
        match operator.orders.process_order(request.clone()).await {
            Ok(answer) => return answer.into_inner().order_id,
            Err(status) => {
                let passing = matches!(status.code(), Code::Unavailable | Code::Aborted | Code::ResourceExhausted);
                assert!(passing && begun.elapsed() < SETTLE_MAX, "a retry was refused: {status:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// Reads the whole log of a closed shop: no gaps, no id twice, every order placed once. Answers how many events it has.
///
/// # Panics
/// When one of these is not so.
pub async fn audit(folder: &Path, books: &Books) -> u64 {
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
    for (_, answered) in books.asked.values() {
        let order = answered.as_ref().expect("every request was answered in the end");
        assert_eq!(placed.get(&format!("order-{order}")), Some(&1), "order {order} is not in the log once");
    }
    assert_eq!(placed.len(), books.asked.len(), "orders that nobody asked for");
    assert_eq!(captured, books.asked.len(), "each order is paid once");
    ids.len() as u64
}
