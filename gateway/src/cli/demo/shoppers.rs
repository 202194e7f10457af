//! People who buy: a gentle stream of orders, from a seed, through the gateway like everybody's.
//!
//! They buy what was bought before (a product's chances are its units in the extract), one to four kinds at a time;
//! one in twenty-five pays with a card that is declined, so that the shop has something to take back when the order
//! expires. When something is sold out the shop receives more of it.

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

use domain::ids::MemberId;
use futures::{StreamExt as _, stream::FuturesUnordered};
use proto::v1::{self, change_inventory_count_request::Change};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::time::{Instant, MissedTickBehavior, interval};
use uuid::Uuid;

use super::{SHELF, status::Status, tries::is_goods};
use crate::{
    cli::{
        client::{Client, ask, request_id},
        import::{names, plan::Plan, replay::WAREHOUSE},
    },
    error::Reason,
};

/// How many people there are.
const PEOPLE: u32 = 200;
/// The most kinds of goods in one order.
const KINDS_MAX: usize = 4;
/// The most units of one kind.
const UNITS_MAX: u32 = 3;
/// One in so many orders is paid with a card that is declined.
const DECLINED_ONE_IN: u32 = 25;
/// The most orders under way at once; beyond it shoppers wait their turn.
const IN_FLIGHT_MAX: usize = 256;

/// The shoppers.
pub(super) struct Shoppers<'a> {
    client: Client,
    dice: StdRng,
    rate: f64,
    status: &'a Status,
    /// SKUs, each with the sum of its chances and those before it.
    goods: Vec<(String, u64)>,
    /// A region for each order of the extract.
    regions: Vec<String>,
}

impl<'a> Shoppers<'a> {
    /// Shoppers who place `rate` orders a second.
    pub(super) fn new(plan: &Plan, client: Client, seed: u64, rate: f64, status: &'a Status) -> Self {
        let mut sum = 0;
        let goods = plan.products.iter().filter(|product| is_goods(product)).filter_map(|product| {
            sum += product.units;
            Some((names::word(&product.code).ok()?, sum))
        });
        let regions = plan.tasks.iter().filter_map(|task| names::word(&task.country).ok());
        let (goods, regions) = (goods.collect(), regions.collect());
        Self { client, dice: StdRng::seed_from_u64(seed), rate, status, goods, regions }
    }

    /// Buys until it is dropped.
    pub(super) async fn buy(mut self) {
        if self.rate <= 0.0 || self.goods.is_empty() || self.regions.is_empty() {
            return std::future::pending().await;
        }
        let mut turns = interval(Duration::from_secs_f64(1.0 / self.rate));
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (client, status) = (self.client.clone(), self.status);
        let mut under_way = FuturesUnordered::new();
        loop {
            tokio::select! {
                _ = turns.tick(), if under_way.len() < IN_FLIGHT_MAX => under_way.push(place(&client, status, self.order())),
                Some(()) = under_way.next() => {}
            }
        }
    }

    /// Somebody's next order.
    fn order(&mut self) -> v1::ProcessOrderRequest {
        let person = self.dice.random_range(0..PEOPLE);
        let total = self.goods.last().map_or(1, |(_, sum)| *sum);
        let mut units = BTreeMap::new();
        for _ in 0..self.dice.random_range(1..=KINDS_MAX) {
            let chance = self.dice.random_range(0..total);
            let place = self.goods.partition_point(|(_, sum)| *sum <= chance);
            units.insert(place, self.dice.random_range(1..=UNITS_MAX));
        }
        let line = |(place, quantity): (usize, u32)| {
            let id = self.goods[place].0.clone();
            v1::ProcessOrderLine { product_id: id.clone(), sku: id, quantity, unit_price: None }
        };
        let lines = units.into_iter().map(line).collect();
        let region = self.regions[self.dice.random_range(0..self.regions.len())].clone();
        let declined = self.dice.random_range(0..DECLINED_ONE_IN) == 0;
        v1::ProcessOrderRequest {
            request_id: request_id(&[&self.dice.random::<u64>().to_be_bytes()]).to_string(),
            lines,
            region,
            payment_method: if declined { "tok_decline" } else { "tok_ok" }.into(),
            buyer_id: MemberId::derived(Uuid::nil(), &[b"shopper", &person.to_be_bytes()]).to_string(),
            ..v1::ProcessOrderRequest::default()
        }
    }
}

async fn place(client: &Client, status: &Status, order: v1::ProcessOrderRequest) {
    let begun = Instant::now();
    let placed = ask("an order", None, || {
        let (mut orders, order) = (client.orders.clone(), order.clone());
        async move { orders.process_order(order).await }
    });
    match placed.await {
        Ok(Ok(_)) => _ = status.orders.fetch_add(1, Ordering::Relaxed),
        Ok(Err(refusal)) => {
            status.refused.fetch_add(1, Ordering::Relaxed);
            if refusal.is(Reason::OutOfStock) {
                for line in &order.lines {
                    receive(client, &line.sku).await;
                }
            }
        }
        Err(error) => tracing::warn!(%error, waited = ?begun.elapsed(), "a shopper went home"),
    }
}

/// More of something that may be sold out.
async fn receive(client: &Client, sku: &str) {
    let more = v1::ChangeInventoryCountRequest {
        request_id: request_id(&[sku.as_bytes()]).to_string(),
        sku: sku.to_owned(),
        warehouse_id: WAREHOUSE.into(),
        change: Some(Change::Receive(u32::try_from(SHELF).unwrap_or(u32::MAX))),
        ..v1::ChangeInventoryCountRequest::default()
    };
    let received = ask("stock", None, || {
        let (mut catalog, more) = (client.catalog.clone(), more.clone());
        async move { catalog.change_inventory_count(more).await }
    });
    if let Err(error) = received.await {
        tracing::warn!(%error, sku, "no more could be received");
    }
}
