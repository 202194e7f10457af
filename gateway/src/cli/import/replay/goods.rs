//! The second pass: goods go out, and some come back.

use std::{collections::BTreeMap, time::Duration};

use domain::ids::{OrderId, RequestId};
use proto::v1::{self, ReturnState, process_delivery_request::Target};
use tokio::time::Instant;

use super::{Run, WAREHOUSE, listing::word, moment, money, reason};
use crate::{
    cli::{
        client::{self, Refusal, ask},
        import::{
            Error,
            classify::Reason as Why,
            names,
            plan::{Line, Task},
        },
    },
    error::Reason,
};

/// The sandbox provider's token that is always approved.
const PAYMENT: &str = "tok_ok";
/// How long a refund may take.
const REFUND_MAX: Duration = Duration::from_secs(120);
/// The first and the longest time between two looks at it.
const LOOK: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(320));

impl Run<'_> {
    /// Places an order as the invoice says, has it paid, and delivers it.
    pub(super) async fn sell(&self, task: &Task) -> Result<Result<OrderId, (Why, String)>, Error> {
        let lines = task.lines.iter().map(|line| self.line(line)).collect::<Result<_, _>>()?;
        let total = task.lines.iter().map(|line| i64::from(line.units).saturating_mul(line.price));
        let body = v1::ProcessOrderRequest {
            request_id: self.request(task, "order", "").to_string(),
            lines,
            region: word(&task.country)?,
            payment_method: PAYMENT.into(),
            expected_total: Some(money(total.fold(0, i64::saturating_add))),
            buyer_id: names::member(task.customer.as_deref(), &task.invoice).to_string(),
            occurred_at: Some(moment(task.at)),
            ..v1::ProcessOrderRequest::default()
        };
        let what = format_args!("invoice {}", task.invoice);
        let placed = ask(what, None, || {
            let (mut orders, body) = (self.shop.orders.clone(), body.clone());
            async move { orders.process_order(body).await }
        });
        let order = match placed.await? {
            Ok(placed) => number(&placed.order_id)?,
            Err(refusal) => return Ok(Err(reason(refusal))),
        };
        Ok(self.deliver(task, order).await?.map(|()| order).map_err(reason))
    }

    /// A line, at a negotiated price unless the catalogue's is known to be the same.
    fn line(&self, line: &Line) -> Result<v1::ProcessOrderLine, Error> {
        let product = &self.plan.products[line.product];
        let listed = self.ours.get(line.product) == Some(&true) && product.price == line.price;
        let id = word(&product.code)?;
        let unit_price = (!listed).then(|| money(line.price));
        Ok(v1::ProcessOrderLine { product_id: id.clone(), sku: id, quantity: line.units, unit_price })
    }

    /// Reports the order delivered, as soon as it is paid and its delivery is begun.
    async fn deliver(&self, task: &Task, order: OrderId) -> Result<Result<(), Refusal>, Error> {
        let body = v1::ProcessDeliveryRequest {
            request_id: self.request(task, "deliver", "").to_string(),
            target: Some(Target::OrderId(order.to_string())),
            action: v1::DeliveryAction::Deliver.into(),
            occurred_at: Some(moment(task.at)),
            ..v1::ProcessDeliveryRequest::default()
        };
        let what = format_args!("the delivery of invoice {}", task.invoice);
        let delivered = ask(what, Some(Reason::DeliveryNotReady), || {
            let (mut deliveries, body) = (self.shop.deliveries.clone(), body.clone());
            async move { deliveries.process_delivery(body).await }
        });
        Ok(delivered.await?.map(drop))
    }

    /// Opens a return, receives the goods, and waits until the money is back.
    pub(super) async fn take_back(&self, task: &Task, order: OrderId) -> Result<Result<(), (Why, String)>, Error> {
        let body = v1::RequestReturnRequest {
            request_id: self.request(task, "return", &order.to_string()).to_string(),
            order_id: order.to_string(),
            lines: self.back(&task.lines)?,
            reason: format!("credit note C{}", task.invoice),
            occurred_at: Some(moment(task.at)),
        };
        let what = format_args!("credit note C{}", task.invoice);
        let opened = ask(what, Some(Reason::OrderNotReturnable), || {
            let (mut returns, body) = (self.shop.returns.clone(), body.clone());
            async move { returns.request_return(body).await }
        });
        let opened = match opened.await? {
            Ok(opened) => opened.return_id,
            Err(refusal) => return Ok(Err(reason(refusal))),
        };
        let body = v1::ReceiveReturnRequest {
            request_id: self.request(task, "receive", &order.to_string()).to_string(),
            return_id: opened.clone(),
            warehouse_id: WAREHOUSE.into(),
            occurred_at: Some(moment(task.at)),
            etag: String::new(),
        };
        let received = ask(what, Some(Reason::ReturnNotFound), || {
            let (mut returns, body) = (self.shop.returns.clone(), body.clone());
            async move { returns.receive_return(body).await }
        });
        match received.await? {
            Ok(received) => self.refunded(task, opened, received.position).await.map(Ok),
            Err(refusal) => Ok(Err(reason(refusal))),
        }
    }

    /// Units that come back, once per stock code and price.
    fn back(&self, lines: &[Line]) -> Result<Vec<v1::ReturnLine>, Error> {
        let mut units: BTreeMap<(usize, i64), u32> = BTreeMap::new();
        for line in lines {
            let sum = units.entry((line.product, line.price)).or_default();
            *sum = sum.saturating_add(line.units);
        }
        let line = |((product, price), quantity): ((usize, i64), u32)| {
            let sku = word(&self.plan.products[product].code)?;
            Ok(v1::ReturnLine { sku, quantity, unit_price: Some(money(price)) })
        };
        units.into_iter().map(line).collect()
    }

    async fn refunded(&self, task: &Task, return_id: String, min_position: u64) -> Result<(), Error> {
        let (until, mut pause) = (Instant::now() + REFUND_MAX, LOOK.0);
        let body = v1::GetReturnRequest { return_id, min_position };
        let what = format_args!("the refund of credit note C{}", task.invoice);
        while Instant::now() < until {
            let seen = ask(what, Some(Reason::ReturnNotFound), || {
                let (mut returns, body) = (self.shop.returns.clone(), body.clone());
                async move { returns.get_return(body).await }
            });
            if seen.await?.is_ok_and(|seen| seen.state() == ReturnState::Completed) {
                return Ok(());
            }
            tokio::time::sleep(pause).await;
            pause = LOOK.1.min(pause * 2);
        }
        let detail = format!("it is not complete after {} s", REFUND_MAX.as_secs());
        Err(client::Error::Stopped { what: what.to_string(), reason: "REFUND_PENDING".into(), detail }.into())
    }

    /// The request that does `step` for a task.
    fn request(&self, task: &Task, step: &str, part: &str) -> RequestId {
        let customer = task.customer.as_deref().unwrap_or("");
        let what = [&task.invoice, customer, &task.country, part].map(str::as_bytes);
        self.requests.id(task.at, step, &what)
    }
}

/// An order's number as the shop gave it.
fn number(text: &str) -> Result<OrderId, Error> {
    text.parse().map_err(|why: domain::ids::IdError| {
        let (what, reason) = ("the shop's answer".into(), "BAD_ANSWER".into());
        client::Error::Stopped { what, reason, detail: why.to_string() }.into()
    })
}
