//! Sends a plan through the gateway: first the products and their stock, then sales and returns in the order of time.
//!
//! Many requests are under way at once, in the order of the plan: a sale holds its place until it is delivered, so
//! the shop's own processes set the pace and no hold expires in a queue. A return waits for the sale it
//! undoes; that one was begun earlier, so nobody waits for somebody who waits. Every wait ends with an answer or
//! with the run.

mod goods;
mod listing;

use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::ids::OrderId;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use proto::v1;
use tokio::{sync::SetOnce, time::Instant};

use super::{
    Error, Settings,
    classify::{CURRENCY, Reason},
    journal::Journal,
    names::Requests,
    plan::{Plan, Task},
    report::{Report, Verdict},
};
use crate::cli::{
    client::{Client, Refusal, ask},
    progress::Progress,
};

/// Who sells what the file sells.
pub const SELLER: &str = "uci-retailer";
/// Where it lies, and where it comes back to.
pub const WAREHOUSE: &str = "main";

/// One run.
struct Run<'a> {
    shop: Client,
    plan: &'a Plan,
    requests: Requests,
    progress: &'a Progress,
    journal: Mutex<Journal>,
    /// Whether each product was listed by this very import: then its price is known.
    ours: Vec<bool>,
    /// The order of each sale once it is delivered, `None` once it is refused.
    orders: Vec<SetOnce<Option<OrderId>>>,
}

/// Replays a plan.
///
/// # Errors
/// [`Error`] when the shop cannot be reached or cannot go on, or the journal is not this file's.
pub async fn replay(plan: &Plan, settings: &Settings, progress: &Progress) -> Result<Report, Error> {
    let journal = match &settings.resume_file {
        Some(path) => Journal::open(path, &plan.fingerprint)?,
        None => Journal::default(),
    };
    let mut run = Run {
        shop: Client::connect(&settings.endpoint, &settings.token).await?,
        plan,
        requests: Requests::new(plan.fingerprint),
        progress,
        journal: Mutex::new(journal),
        ours: Vec::new(),
        orders: plan.tasks.iter().map(|_| SetOnce::new()).collect(),
    };
    run.witness().await?;
    let parallel = settings.parallel.max(1);

    let begun = Instant::now();
    progress.begin("listing", "rows", plan.products.len() as u64);
    let listed = stream::iter(0..plan.products.len()).map(|product| run.list(product)).buffered(parallel);
    run.ours = listed.try_collect().await?;
    let listing = begun.elapsed();

    let begun = Instant::now();
    let count = settings.limit.map_or(plan.tasks.len(), |limit| limit.min(plan.tasks.len()));
    let (finished, rows) = rows(&plan.tasks[..count], &run.journal());
    progress.resume("replaying", "rows", finished, rows);
    // Not `buffered`: there one slow task would hold back those that are done behind it.
    let done = stream::iter(0..count).map(|task| run.task(task)).buffer_unordered(parallel);
    let mut verdicts: Vec<(usize, Verdict)> = done.try_collect().await?;
    progress.end();
    verdicts.sort_by_key(|(task, _)| *task);
    let verdicts: Vec<Verdict> = verdicts.into_iter().map(|(_, verdict)| verdict).collect();
    Ok(Report::count(plan, &verdicts, (listing, begun.elapsed())))
}

impl Run<'_> {
    /// Passes when the shop knows what the journal says was done.
    async fn witness(&self) -> Result<(), Error> {
        let Some(order) = self.journal().witness() else { return Ok(()) };
        let known = ask("the journal's newest order", None, || {
            let mut orders = self.shop.orders.clone();
            let body = v1::GetOrderRequest { order_id: order.to_string(), min_position: 0 };
            async move { orders.get_order(body).await }
        });
        known.await?.map(drop).map_err(|_| Error::JournalOfAnotherShop { order })
    }

    /// Does one task, unless the journal says that it is done.
    async fn task(&self, place: usize) -> Result<(usize, Verdict), Error> {
        let task = &self.plan.tasks[place];
        let finished = self.journal().finished(place);
        let done = match (finished, task.undoes) {
            (Some(order), _) => Ok(order),
            (None, None) => self.sell(task).await?.map(Some),
            (None, Some(sale)) => self.undo(task, sale).await?.map(|()| None),
        };
        if let Ok(order) = &done
            && finished.is_none()
        {
            let written = self.journal().finish(place, *order);
            written.map_err(|source| Error::Journal { path: "the resume file".into(), source })?;
        }
        if task.undoes.is_none() {
            // Set once: only this task sets it.
            _ = self.orders[place].set(done.as_ref().ok().copied().flatten());
        }
        // What the journal knew was counted when the bar began.
        if finished.is_none() {
            self.progress.advance(task.lines.len() as u64);
        }
        Ok((
            place,
            match done {
                Ok(_) => Verdict::Done,
                Err((reason, detail)) => Verdict::Refused { reason, detail },
            },
        ))
    }

    /// Takes goods back once their sale is delivered.
    async fn undo(&self, task: &Task, sale: usize) -> Result<Result<(), (Reason, String)>, Error> {
        match *self.orders[sale].wait().await {
            Some(order) => self.take_back(task, order).await,
            None => Ok(Err((Reason::CreditWithoutSale, "the shop refused its sale".into()))),
        }
    }

    /// The journal is whole even if a thread panicked while holding it: each change is one call.
    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many rows of the first tasks are finished, and how many there are.
fn rows(tasks: &[Task], journal: &Journal) -> (u64, u64) {
    tasks.iter().enumerate().fold((0, 0), |(finished, all), (place, task)| {
        let lines = task.lines.len() as u64;
        (if journal.finished(place).is_some() { finished + lines } else { finished }, all + lines)
    })
}

/// A refusal as a row's reason.
fn reason(refusal: Refusal) -> (Reason, String) {
    (Reason::Shop(refusal.reason), refusal.detail)
}

/// Minor units of the file's currency, as the API has amounts.
fn money(minor: i64) -> proto::Money {
    let scale = 10_i64.pow(CURRENCY.digits());
    let nanos = (minor % scale) * (1_000_000_000 / scale);
    // Less than a billion by construction.
    let nanos = i32::try_from(nanos).unwrap_or(0);
    proto::Money { currency_code: CURRENCY.code().to_owned(), units: minor / scale, nanos }
}

/// A moment, as the API has it.
fn moment(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: at.as_second(), nanos: at.subsec_nanosecond() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::import::plan;

    #[test]
    fn what_the_journal_knows_is_finished_before_anything_is_sent() {
        let csv = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n\
                   1,10001,MUG,2,2010-12-01 08:26:00,2.55,17850,France\n1,10002,CUP,1,2010-12-01 08:26:00,3.55,17850,France\n\
                   2,10001,MUG,1,2010-12-02 08:26:00,2.55,17850,France\n";
        let plan = plan::plan(csv.as_bytes()).expect("a file of orders");
        let folder = tempfile::tempdir().expect("a folder");
        let mut journal = Journal::open(&folder.path().join("journal"), &plan.fingerprint).expect("a journal");
        assert_eq!(rows(&plan.tasks, &journal), (0, 3));
        journal.finish(0, Some(OrderId::from_u128(7))).expect("noted");
        drop(journal);
        let journal = Journal::open(&folder.path().join("journal"), &plan.fingerprint).expect("a journal");
        assert_eq!((rows(&plan.tasks, &journal), rows(&plan.tasks[..1], &journal)), ((2, 3), (2, 2)));
    }
}
