//! What is on the shelves, and the orders for it.

use proto::v1::{self, Role};
use tonic::Status;

use super::{
    Settings,
    caller::{Caller, request_id},
    load::{self, Load, Work},
    server::Server,
};
use tests::say;

/// Units of each SKU: more than any run sells.
const UNITS: u32 = 500_000_000;
/// What everything costs, in pence.
const PRICE: i64 = 255;

/// Lists so many products of one SKU each and fills their shelves.
pub fn fill(shop: &Server, settings: &Settings, skus: u64) {
    load::run(shop, Load::count(settings, skus), &Shelves).unrefused("a listing");
}

/// The name of the `sku`-th product and its SKU.
pub fn name(sku: u64) -> String {
    format!("sku-{sku:05}")
}

struct Shelves;

impl Work for Shelves {
    const ROLE: Role = Role::Operator;

    async fn call(&self, caller: &mut Caller, n: u64) -> Result<(), Status> {
        let request_id = || request_id().to_string();
        let list = v1::CreateProductRequest { request_id: request_id(), ..say::list(&name(n), PRICE) };
        caller.catalog.create_product(caller.ask(list)).await?;
        let receive = v1::ChangeInventoryCountRequest { request_id: request_id(), ..say::receive(&name(n), UNITS) };
        caller.catalog.change_inventory_count(caller.ask(receive)).await.map(drop)
    }
}

/// Orders of one line, uniform over some SKUs.
pub struct Orders {
    skus: Vec<String>,
    payment_method: &'static str,
}

impl Orders {
    /// Orders that are not paid.
    pub fn over(skus: u64) -> Self {
        Self { skus: (0..skus).map(name).collect(), payment_method: "" }
    }

    /// Orders that are paid at once.
    pub fn paid(skus: u64) -> Self {
        Self { payment_method: "tok_ok", ..Self::over(skus) }
    }

    /// The `n`-th order.
    pub fn wish(&self, n: u64) -> v1::ProcessOrderRequest {
        let any = usize::try_from(scattered(n) % self.skus.len() as u64).unwrap_or(0);
        v1::ProcessOrderRequest {
            request_id: request_id().to_string(),
            payment_method: self.payment_method.into(),
            ..say::order(&[(&self.skus[any], 1)])
        }
    }
}

impl Work for Orders {
    const ROLE: Role = Role::Buyer;

    async fn call(&self, caller: &mut Caller, n: u64) -> Result<(), Status> {
        caller.orders.process_order(caller.ask(self.wish(n))).await.map(drop)
    }
}

/// A number that looks like chance, the same for every run (the finalizer of splitmix64).
pub const fn scattered(n: u64) -> u64 {
    let n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}
