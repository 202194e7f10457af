//! Carries an order's returns on: goods to the shelf, money to the buyer, done.

use domain::{
    ids::{PaymentId, Region, ReturnId, derive},
    money::Money,
    order::{Command as OrderCommand, ReturnOpened},
    payment,
    process::{
        Next, request_id,
        returns::{self as process, Step},
    },
    returns::{Command, Line},
    stock,
};

use super::{Due, Failure, Progress, Steps};
use crate::request::Request;

impl Steps {
    /// Carries every open return of an order as far as it goes.
    pub(super) async fn advance_returns(
        &self,
        due: Due,
        open: Vec<ReturnOpened>,
        payment: PaymentId,
        buyer: domain::ids::MemberId,
        region: &Region,
    ) -> Result<Progress, Failure> {
        let mut progress = Progress::Waiting { until: None };
        for opened in open {
            let id = opened.return_id;
            // From here on everything is about the return, whatever revision the order is looked at from.
            let due = Due { id: id.0, revision: 0, occurred_at: opened.backdated.unwrap_or(due.now), ..due };
            let request = Command::Request {
                order: due.order,
                buyer,
                payment,
                lines: opened.lines.iter().map(line).collect(),
                refund: opened.refund,
                region: region.clone(),
                reason: opened.why,
            };
            self.shop.returns.execute(&id, request, due.request("open", b"")).await?;
            if self.advance_return(due, id, payment).await? == Progress::Moved {
                progress = Progress::Moved;
            }
        }
        Ok(progress)
    }

    async fn advance_return(&self, due: Due, id: ReturnId, payment: PaymentId) -> Result<Progress, Failure> {
        let paid = self.shop.payment.inspect(&payment, |seen| seen.state.clone()).await?;
        let next = self.shop.returns.inspect(&id, move |seen| process::next(id, seen.state, &paid)).await?;
        match next {
            Next::Done | Next::Await { .. } => Ok(Progress::Waiting { until: None }),
            Next::Do(Step::RestockAndRefund { warehouse, lines, refund }) => {
                self.restock(due, &warehouse, &lines).await?;
                if refund.amount > 0 {
                    self.refund_return(due, id, payment, refund).await?;
                    return Ok(Progress::Waiting { until: None });
                }
                self.complete(due, id).await
            }
            Next::Do(Step::Complete) => self.complete(due, id).await,
        }
    }

    async fn restock(&self, due: Due, warehouse: &domain::ids::WarehouseId, lines: &[Line]) -> Result<(), Failure> {
        for (index, line) in (0_u64..).zip(lines) {
            let (source, warehouse, quantity) = (due.id, warehouse.clone(), line.quantity);
            let restock = stock::Command::Restock { source, warehouse, quantity };
            let request =
                Request { id: request_id(due.id, 0, "restock", &index.to_be_bytes()), ..due.request("", b"") };
            self.shop.stock.execute(&line.sku, restock, request).await?;
        }
        Ok(())
    }

    async fn refund_return(&self, due: Due, id: ReturnId, payment: PaymentId, amount: Money) -> Result<(), Failure> {
        let refund = process::refund_id(id);
        // Why is told by the return itself.
        let key = derive(refund.0, "refund", &[]);
        let ask = payment::Command::Refund { refund, amount, key, why: String::new() };
        self.shop.payment.execute(&payment, ask, due.request("refund", b"")).await?;
        Ok(())
    }

    async fn complete(&self, due: Due, id: ReturnId) -> Result<Progress, Failure> {
        self.shop.returns.execute(&id, Command::Complete, due.request("complete", b"return")).await?;
        let record = OrderCommand::RecordReturned { return_id: id };
        self.shop.order.execute(&due.order, record, due.request("complete", b"order")).await?;
        Ok(Progress::Moved)
    }
}

fn line(sold: &domain::order::Sold) -> Line {
    Line { product: sold.product.clone(), sku: sold.sku.clone(), quantity: sold.quantity, amount: sold.amount }
}
