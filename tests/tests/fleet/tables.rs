//! The tables as an analyst sees them: plain SQL over the blocking client, and a second, simpler count of the shelves.

use std::collections::BTreeMap;

use postgres::{Client, NoTls};
use serde_json::Value;
use uuid::Uuid;

/// What the log says of one order.
#[derive(Debug, Clone)]
pub struct Order {
    /// The request that placed it.
    pub request: String,
    /// The newest thing that happened to it.
    pub last: String,
    /// How often money was taken for it.
    pub captures: i64,
}

/// What the log says of one SKU, at its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shelf {
    pub received: i64,
    pub on_hand: i64,
    pub reserved: i64,
    pub claimed: i64,
}

/// A connection of somebody who has nothing of ours but the address.
pub struct Tables(Client);

/// Runs something that blocks beside the runtime: the client has one of its own.
pub fn look<T: Send>(database: &str, look: impl FnOnce(&mut Tables) -> T + Send) -> T {
    let looked = std::thread::scope(|scope| {
        let connected = || look(&mut Tables(Client::connect(database, NoTls).expect("the server is there")));
        scope.spawn(connected).join()
    });
    looked.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

impl Tables {
    /// The position of the newest event.
    pub fn head(&mut self) -> i64 {
        let newest = "SELECT coalesce(max(position), 0) FROM cartulary.events";
        self.0.query_one(newest, &[]).expect("an answer").get(0)
    }

    /// Where the view that is furthest behind stands.
    pub fn views(&mut self) -> i64 {
        self.0.query_one("SELECT min(position) FROM cartulary_views.views", &[]).expect("an answer").get(0)
    }

    /// Positions are 1, 2, 3, … and revisions 0, 1, 2, … in each stream, and no id is there twice. Answers how many
    /// events there are.
    pub fn are_whole(&mut self) -> i64 {
        let count = "SELECT count(*), min(position), max(position), count(DISTINCT event_id) FROM cartulary.events";
        let row = self.0.query_one(count, &[]).expect("an answer");
        let (events, first, last, ids): (i64, i64, i64, i64) = (row.get(0), row.get(1), row.get(2), row.get(3));
        assert_eq!((first, last, ids), (1, events, events), "positions are dense and ids unique");
        let gaps = "SELECT stream FROM cartulary.events GROUP BY stream
            HAVING min(revision) <> 0 OR max(revision) <> count(*) - 1 OR count(DISTINCT revision) <> count(*)";
        let gaps: Vec<String> = self.0.query(gaps, &[]).expect("an answer").iter().map(|row| row.get(0)).collect();
        assert!(gaps.is_empty(), "revisions have gaps in {gaps:?}");
        let backward = "SELECT count(*) FROM (SELECT recorded_at < lag(recorded_at) OVER (ORDER BY position) AS back
            FROM cartulary.events) AS times WHERE back";
        assert_eq!(self.0.query_one(backward, &[]).expect("an answer").get::<_, i64>(0), 0, "time never runs backward");
        events
    }

    /// Every order by its id.
    pub fn orders(&mut self) -> BTreeMap<String, Order> {
        let orders = "SELECT substr(p.stream, 7), p.metadata->>'request_id',
                (SELECT l.kind FROM cartulary.events l WHERE l.stream = p.stream ORDER BY l.revision DESC LIMIT 1)
            FROM cartulary.events p WHERE p.kind = 'order.placed'";
        let mut found = BTreeMap::new();
        for row in self.0.query(orders, &[]).expect("an answer") {
            let (id, request, last): (String, String, String) = (row.get(0), row.get(1), row.get(2));
            let before = found.insert(id.clone(), Order { request, last, captures: 0 });
            assert!(before.is_none(), "order {id} was placed twice");
        }
        let captures = "SELECT r.data->>'order', count(*) FROM cartulary.events c
            JOIN cartulary.events r ON r.stream = c.stream AND r.revision = 0
            WHERE c.kind = 'payment.captured' GROUP BY 1";
        for row in self.0.query(captures, &[]).expect("an answer") {
            let (id, captures): (String, i64) = (row.get(0), row.get(1));
            found.get_mut(&id).unwrap_or_else(|| panic!("money was taken for {id}, which is no order")).captures =
                captures;
        }
        found
    }

    /// Every SKU, counted event by event; at none of them more is promised than there is.
    pub fn shelves(&mut self) -> BTreeMap<String, Shelf> {
        let events = "SELECT substr(stream, 7), kind, data::text FROM cartulary.events
            WHERE kind LIKE 'stock.%' ORDER BY stream, revision";
        let mut shelves: BTreeMap<String, Shelf> = BTreeMap::new();
        let mut holds: BTreeMap<(String, Uuid), i64> = BTreeMap::new();
        for row in self.0.query(events, &[]).expect("an answer") {
            let (sku, kind, data): (String, String, String) = (row.get(0), row.get(1), row.get(2));
            let data: Value = serde_json::from_str(&data).expect("JSON");
            let shelf = shelves.entry(sku.clone()).or_default();
            let order = || data["order"].as_str().and_then(|id| id.parse::<Uuid>().ok()).expect("an order");
            let units = units(&data);
            match kind.as_str() {
                "stock.received" => {
                    let quantity = data["quantity"].as_i64().expect("a quantity");
                    shelf.received += quantity;
                    shelf.on_hand += quantity;
                }
                "stock.reserved" => {
                    let before = holds.insert((sku.clone(), order()), units);
                    assert_eq!(before, None, "order {} holds {sku} twice", order());
                    shelf.reserved += units;
                }
                "stock.claimed" | "stock.released" => {
                    let held = holds.remove(&(sku.clone(), order()));
                    assert_eq!(held, Some(units), "order {} lets go of {sku} what it held", order());
                    shelf.reserved -= units;
                    if kind == "stock.claimed" {
                        shelf.on_hand -= units;
                        shelf.claimed += units;
                    }
                }
                "stock.opened" => {}
                other => panic!("{other} was not asked for"),
            }
            assert!((0..=shelf.on_hand).contains(&shelf.reserved), "{sku} is oversold: {shelf:?} after {kind} {data}");
        }
        shelves
    }
}

/// All units of an event.
fn units(data: &Value) -> i64 {
    let parts = data["allocations"].as_array().map_or(&[][..], Vec::as_slice);
    parts.iter().map(|part| part["quantity"].as_i64().expect("a quantity")).sum()
}
