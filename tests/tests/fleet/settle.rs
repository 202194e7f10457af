//! Afterwards: everything is asked again, waited for, and held against everything else.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt as _;
use gateway::clock::SystemClock;
use store_postgres::PostgresStore;
use tokio::time::Instant;
use views_postgres::PostgresViews;

use crate::{
    books::{Answer, Asked, Books, PLENTY},
    fleet::{EAST, Fleet, WEST},
    load::{Buyer, DOORS, GATES},
    tables::{self, Order, Shelf},
};

/// How many requests are sent again at the same time.
const AGAIN: usize = 8;
/// How long a request may take to be answered, orders to end, and views to catch up, once nothing is broken.
const SETTLE_MAX: Duration = Duration::from_secs(90);
/// How long to wait before looking again.
const TICK: Duration = Duration::from_millis(100);

/// Balances the books of a fleet that nobody breaks any more. Answers them in a line.
pub async fn settle(fleet: &mut Fleet, books: &Books, tokens: &[String], scarce: &[String], few: u32) -> String {
    assert_eq!(books.wrong(), Vec::<String>::new(), "buyers heard what they never should");
    let asked = ask_again(fleet, books, tokens).await;
    let orders = ended(fleet).await;
    fleet.all_run();
    let (events, shelves) = tables::look(&fleet.database, |tables| (tables.are_whole(), tables.shelves()));
    balance(&asked, &orders);
    stocked(&asked, &shelves, scarce, i64::from(few));
    let rows = folded(fleet).await;
    reads_its_writes(fleet, &asked).await;
    let messages = reconciled(fleet);
    let acknowledged = asked.values().filter(|asked| asked.given().is_some()).count();
    format!(
        "{} orders asked for, {acknowledged} acknowledged; {events} events, {rows} rows as a fresh fold has them, \
         {messages} messages",
        asked.len()
    )
}

/// Sends every request once more, at the gateway that was not asked first, or straight to a node that decides: what was
/// answered is answered again.
async fn ask_again(fleet: &Fleet, books: &Books, tokens: &[String]) -> BTreeMap<String, Asked> {
    let asked = books.asked();
    let again = asked.into_iter().map(|(id, asked)| {
        let mut buyer = Buyer::new(asked.buyer, tokens[asked.buyer].clone(), &fleet.doors);
        async move {
            let begun = Instant::now();
            let mut door = (asked.buyer % GATES + 1 + asked.buyer / GATES % (DOORS - 1)) % DOORS;
            loop {
                match buyer.ask(door, &asked.request).await {
                    Answer::Missing(why) | Answer::Failed(why) => {
                        assert!(begun.elapsed() < SETTLE_MAX, "request {id} is not answered: {why}");
                        door = (door + 1) % DOORS;
                        tokio::time::sleep(TICK).await;
                    }
                    answer => {
                        let before = asked.answer.clone().unwrap_or_else(|| answer.clone());
                        assert_eq!(before, answer, "a retry of {id} gets the answer that was given before");
                        return (id, Asked { answer: Some(answer), ..asked });
                    }
                }
            }
        }
    });
    futures::stream::iter(again).buffer_unordered(AGAIN).collect().await
}

/// Waits until every order is where it stays: delivered or closed.
async fn ended(fleet: &Fleet) -> BTreeMap<String, Order> {
    let begun = Instant::now();
    loop {
        let orders = tokio::task::block_in_place(|| tables::look(&fleet.database, tables::Tables::orders));
        let open = |order: &Order| !matches!(order.last.as_str(), "order.delivered" | "order.closed");
        let open: Vec<_> = orders.iter().filter(|(_, order)| open(order)).collect();
        if open.is_empty() {
            return orders;
        }
        let elapsed = begun.elapsed();
        assert!(
            elapsed < SETTLE_MAX,
            "{} orders did not come to their end, among them {:?}\n{}",
            open.len(),
            &open[..open.len().min(5)],
            fleet.complaints()
        );
        tokio::time::sleep(TICK).await;
    }
}

/// The log holds what was acknowledged, once, paid once if it was paid, and nothing that nobody asked for.
fn balance(asked: &BTreeMap<String, Asked>, orders: &BTreeMap<String, Order>) {
    for (id, order) in orders {
        let Some(asked) = asked.get(&order.request) else { panic!("nobody asked for order {id}: {order:?}") };
        let (end, captures) = match (&asked.answer, asked.is_paid()) {
            (Some(Answer::Given(_)), true) => ("order.delivered", 1),
            _ => ("order.closed", 0),
        };
        assert_eq!((order.last.as_str(), order.captures), (end, captures), "order {id}, answered {:?}", asked.answer);
    }
    let requests: BTreeSet<&str> = orders.values().map(|order| order.request.as_str()).collect();
    assert_eq!(requests.len(), orders.len(), "a request became two orders");
    for (request, asked) in asked {
        if let Some(given) = asked.given() {
            let order = orders.get(&given.order_id).unwrap_or_else(|| panic!("{} is lost: {given:?}", given.order_id));
            assert_eq!(&order.request, request);
            assert!(asked.is_paid() || given.expire_time.is_some(), "what is not paid expires: {given:?}");
        }
    }
}

/// What left the shelves or is promised is what was acknowledged; what is scarce is sold out, and not more than that.
fn stocked(asked: &BTreeMap<String, Asked>, shelves: &BTreeMap<String, Shelf>, scarce: &[String], few: i64) {
    let mut sold: BTreeMap<&str, i64> = BTreeMap::new();
    for asked in asked.values().filter(|asked| asked.given().is_some() && asked.is_paid()) {
        for line in &asked.request.lines {
            *sold.entry(&line.sku).or_default() += i64::from(line.quantity);
        }
    }
    for sku in PLENTY.iter().copied().chain(scarce.iter().map(String::as_str)) {
        let shelf = shelves.get(sku).unwrap_or_else(|| panic!("no shelf for {sku}"));
        let paid = sold.get(sku).copied().unwrap_or_default();
        assert_eq!((shelf.claimed, shelf.reserved), (paid, 0), "{sku}: {shelf:?}");
        assert_eq!(shelf.on_hand + shelf.claimed, shelf.received, "{sku}: {shelf:?}");
    }
    for sku in scarce {
        let shelf = shelves[sku];
        assert!(shelf.received == few && shelf.claimed <= few, "{sku} is oversold: {shelf:?}");
    }
    let refused = asked.values().filter(|asked| matches!(&asked.answer, Some(Answer::Refused(_))));
    for refused in refused {
        assert_eq!(refused.answer, Some(Answer::Refused("OUT_OF_STOCK".to_owned())), "{:?}", refused.request);
    }
}

/// Waits until the views have caught up, then compares each with a fresh fold. Answers how many rows they have.
async fn folded(fleet: &Fleet) -> u64 {
    let begun = Instant::now();
    loop {
        let (behind, head) =
            tokio::task::block_in_place(|| tables::look(&fleet.database, |tables| (tables.views(), tables.head())));
        if behind >= head {
            break;
        }
        let why = || format!("the views are at {behind} of {head}\n{}", fleet.complaints());
        assert!(begun.elapsed() < SETTLE_MAX, "{}", why());
        tokio::time::sleep(TICK).await;
    }
    let (log_limits, view_limits) = (store_postgres::Limits::default(), views_postgres::Limits::default());
    let log = PostgresStore::connect(&fleet.database, Arc::new(SystemClock), &log_limits).await.expect("the log");
    let rows = PostgresViews::connect(&fleet.database, &view_limits).await.expect("the views");
    let mut count = 0;
    for view in projections::views::all() {
        let verified = view.verify(&log, &rows).await.expect("it can be checked");
        assert!(verified.sound(), "the view {} is not what a fresh fold is: {verified:?}", view.name());
        count += verified.rows;
    }
    count
}

/// At each gateway a buyer reads what was just written, as the newest order shows.
async fn reads_its_writes(fleet: &Fleet, asked: &BTreeMap<String, Asked>) {
    let newest = asked.values().filter_map(Asked::given).max_by_key(|given| given.position).expect("orders");
    for node in [EAST, WEST] {
        let mut operator = fleet.operator(node).await;
        let ask = proto::v1::GetOrderRequest { order_id: newest.order_id.clone(), min_position: newest.position };
        let order = operator.orders.get_order(ask).await.expect("a gateway shows what was sold").into_inner();
        assert_eq!(order.order_id, newest.order_id);
    }
}

/// NATS is made to have what the log has; done again, there is nothing to do. Answers how many messages there are.
fn reconciled(fleet: &Fleet) -> u64 {
    let first = fleet.reconcile();
    let again = fleet.reconcile();
    let number = |name: &str| again[name].as_u64().expect("a number");
    let lacking = (number("appended"), number("filled"), number("strangers"), number("expired"));
    assert_eq!(lacking, (0, 0, 0, 0), "nothing is lacking any more: {again}; before: {first}");
    assert_eq!(first["strangers"].as_u64(), Some(0), "NATS has nothing that the log has not: {first}");
    assert_eq!(number("messages"), number("events") + number("repeats"), "{again}");
    number("messages")
}
