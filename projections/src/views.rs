//! The views: what people look at, one file each.
//!
//! | view | a row per | answers |
//! |---|---|---|
//! | [`catalog`] | product | the product page; lists by category, seller, name, newest; the product of a SKU |
//! | [`stock`] | SKU | on hand, reserved, available and claimed per warehouse |
//! | [`orders`] | order | the order with its lines, money, delivery, returns and timeline; lists by buyer and state |
//! | [`campaigns`] | coupon campaign | its terms and how many claims were made, held and used |
//! | [`claims`] | coupon claim | whose it is and what became of it |
//! | [`sales`] | day, product, region, currency | units and revenue |
//! | [`payments`] | payment | what was asked, taken and given back |
//! | [`deliveries`] | delivery | where the goods are |
//! | [`returns`] | return | where the goods and the money are |

pub mod campaigns;
pub mod catalog;
pub mod claims;
pub mod deliveries;
pub mod orders;
pub mod payments;
pub mod returns;
pub mod sales;
pub mod stock;

use crate::fold::{AnyView, view};

/// Every view of the shop, for an engine.
#[must_use]
pub fn all() -> Vec<Box<dyn AnyView>> {
    vec![
        view::<catalog::Catalog>(),
        view::<stock::Stock>(),
        view::<orders::Orders>(),
        view::<campaigns::Campaigns>(),
        view::<claims::Claims>(),
        view::<sales::Sales>(),
        view::<payments::Payments>(),
        view::<deliveries::Deliveries>(),
        view::<returns::Returns>(),
    ]
}
