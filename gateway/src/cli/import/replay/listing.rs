//! The first pass: each stock code becomes a product with one SKU, and all the units it will sell are received.

use proto::v1::{self, change_inventory_count_request::Change};

use super::{Run, SELLER, WAREHOUSE, moment, money};
use crate::{
    cli::{
        client::{self, Refusal, ask},
        import::{Error, names, plan::Product},
    },
    error::Reason,
};

/// The longest product name, in characters.
const NAME_MAX: usize = 200;

impl Run<'_> {
    /// Lists a product and receives its stock; answers whether it was this import that listed it.
    pub(super) async fn list(&self, place: usize) -> Result<bool, Error> {
        let product = &self.plan.products[place];
        let id = word(&product.code)?;
        let request = |step| self.requests.id(self.plan.begins, step, &[product.code.as_bytes()]).to_string();
        let body = v1::CreateProductRequest { request_id: request("list"), product: Some(listed(&id, product)) };
        let what = format_args!("product {id}");
        let created = ask(what, None, || {
            let (mut catalog, body) = (self.shop.catalog.clone(), body.clone());
            async move { catalog.create_product(body).await }
        });
        let ours = match created.await? {
            Ok(_) => true,
            // Somebody sells it already: another import, perhaps of another half of the same year.
            Err(refusal) if refusal.is(Reason::AlreadyExists) => false,
            Err(refusal) => return Err(unlisted(&id, refusal)),
        };
        let body = v1::ChangeInventoryCountRequest {
            request_id: request("receive"),
            sku: id.clone(),
            warehouse_id: WAREHOUSE.into(),
            change: Some(Change::Receive(u32::try_from(product.units).unwrap_or(u32::MAX))),
            occurred_at: Some(moment(self.plan.begins)),
            etag: String::new(),
        };
        let what = format_args!("stock of {id}");
        let received = ask(what, None, || {
            let (mut catalog, body) = (self.shop.catalog.clone(), body.clone());
            async move { catalog.change_inventory_count(body).await }
        });
        received.await?.map_err(|refusal| unlisted(&id, refusal))?;
        self.progress.advance(1);
        Ok(ours)
    }
}

/// A name of the file as a word of the shop; the plan has none that is not one.
pub(super) fn word(name: &str) -> Result<String, Error> {
    names::word(name).map_err(|why| {
        let (what, reason) = (format!("{name:?}"), "BAD_NAME".into());
        client::Error::Stopped { what, reason, detail: why.to_string() }.into()
    })
}

fn listed(id: &str, product: &Product) -> v1::Product {
    let name: String = product.name.chars().filter(|c| !c.is_control()).take(NAME_MAX).collect();
    v1::Product {
        product_id: id.to_owned(),
        // A name of blanks is none.
        name: if name.trim().is_empty() { product.code.clone() } else { name },
        seller_id: SELLER.into(),
        variants: vec![v1::Variant { sku: id.to_owned(), options: Vec::new(), price: Some(money(product.price)) }],
        ..v1::Product::default()
    }
}

/// Without its products nothing can be sold as the file says: the run ends.
fn unlisted(id: &str, refusal: Refusal) -> Error {
    let (what, reason) = (format!("product {id}"), refusal.reason.to_string());
    client::Error::Stopped { what, reason, detail: refusal.detail }.into()
}
