//! Lines to try: each works as it is printed, in any terminal of this machine.

use std::net::SocketAddr;

use domain::{
    event::Actor,
    ids::{MemberId, OrderId, RequestId},
};
use serde::Serialize;
use uuid::Uuid;

use crate::cli::import::{
    names,
    plan::{Plan, Product},
};

/// Something to try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Try {
    /// What it does.
    pub(super) what: &'static str,
    /// The line for the terminal.
    pub(super) line: String,
}

/// Everything there is to try with `token`, which is `member`'s.
pub(super) fn all(addr: SocketAddr, token: &str, member: MemberId, plan: &Plan) -> Vec<Try> {
    let bearer = format!("-H 'authorization: Bearer {token}'");
    let product = plan.products.iter().filter(|product| is_goods(product)).max_by_key(|product| product.units);
    let id = product.and_then(|product| names::word(&product.code).ok()).unwrap_or_default();
    // The same request each time it is printed: placing the order twice is placing it once.
    let request = RequestId::derived(Uuid::nil(), &[b"the demo's order"]);
    let order = OrderId::derived(request.0, &[&Actor::Member(member).scope()]);
    let body = format!(
        r#"{{"request_id":"{request}","lines":[{{"product_id":"{id}","sku":"{id}","quantity":2}}],"region":"GB","payment_method":"tok_ok"}}"#
    );
    let line = |what, line| Try { what, line };
    vec![
        line("Look at the catalogue", format!("curl 'http://{addr}/catalog/products?page_size=3'")),
        line(
            "The same over gRPC",
            format!("grpcurl -plaintext -d '{{\"page_size\":3}}' {addr} cartulary.v1.CatalogService/ListProducts"),
        ),
        line(
            "Place an order (again and again: it is placed once)",
            format!(
                "curl -X POST 'http://{addr}/order/process-order' -H 'content-type: application/json' {bearer} -d '{body}'"
            ),
        ),
        line("See what became of it", format!("curl 'http://{addr}/order/orders/{order}' {bearer}")),
        line(
            "Follow the stock of the best seller while people buy",
            format!("curl -N 'http://{addr}/catalog/stock/{id}:watch'"),
        ),
        line(
            "What was sold to Germany in December 2010",
            format!(
                "curl 'http://{addr}/report/sales?region=Germany&from_day=2010-12-01&to_day=2010-12-31&page_size=5' {bearer}"
            ),
        ),
    ]
}

/// Whether it is something to put into a parcel: postage, fees and adjustments have codes that begin with a letter.
pub(super) fn is_goods(product: &Product) -> bool {
    product.price > 0 && product.code.starts_with(|first: char| first.is_ascii_digit())
}
