//! Every desk of the shop, opened together over one store.

use std::{future::Future, pin::Pin, sync::Arc};

use domain::{
    coupon::{campaign::Campaign, claim::Claim},
    decider::Decider,
    delivery::Delivery,
    order::Order,
    payment::Payment,
    product::Product,
    returns::Return,
    stock::Stock,
};
use ports::{clock::Clock, keys::Keys, store::EventStore};

use crate::desk::{Counts, Desk, Limits};

/// A loop that somebody must run for the shop to answer.
pub type Loop = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The write side of the shop.
#[derive(Clone)]
pub struct Shop {
    /// Products.
    pub product: Desk<Product>,
    /// Stock, a stream per SKU.
    pub stock: Desk<Stock>,
    /// Orders.
    pub order: Desk<Order>,
    /// Coupon campaigns.
    pub campaign: Desk<Campaign>,
    /// Members' claims on campaigns.
    pub claim: Desk<Claim>,
    /// Payments.
    pub payment: Desk<Payment>,
    /// Deliveries.
    pub delivery: Desk<Delivery>,
    /// Returns.
    pub returns: Desk<Return>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl Shop {
    /// Opens every desk: the handles, and the lanes' loops that somebody must run.
    #[must_use]
    pub fn open(
        store: &Arc<dyn EventStore>,
        keys: &Arc<dyn Keys>,
        clock: Arc<dyn Clock>,
        limits: &Limits,
    ) -> (Self, Vec<Loop>) {
        let mut loops = Vec::new();
        let shop = Self {
            product: open(store, keys, limits, &mut loops),
            stock: open(store, keys, limits, &mut loops),
            order: open(store, keys, limits, &mut loops),
            campaign: open(store, keys, limits, &mut loops),
            claim: open(store, keys, limits, &mut loops),
            payment: open(store, keys, limits, &mut loops),
            delivery: open(store, keys, limits, &mut loops),
            returns: open(store, keys, limits, &mut loops),
            clock,
        };
        (shop, loops)
    }

    /// What each desk has done so far, by its category.
    #[must_use]
    pub fn counts(&self) -> [(&'static str, Counts); 8] {
        [
            (Product::CATEGORY, self.product.counts()),
            (Stock::CATEGORY, self.stock.counts()),
            (Order::CATEGORY, self.order.counts()),
            (Campaign::CATEGORY, self.campaign.counts()),
            (Claim::CATEGORY, self.claim.counts()),
            (Payment::CATEGORY, self.payment.counts()),
            (Delivery::CATEGORY, self.delivery.counts()),
            (Return::CATEGORY, self.returns.counts()),
        ]
    }
}

fn open<D: Decider>(
    store: &Arc<dyn EventStore>,
    keys: &Arc<dyn Keys>,
    limits: &Limits,
    loops: &mut Vec<Loop>,
) -> Desk<D> {
    let (desk, lanes) = Desk::open(store, keys, limits);
    loops.extend(lanes.into_iter().map(|lane| Box::pin(lane.run()) as Loop));
    desk
}
