//! Reading views: wait for what the caller has written, then rows by key or pages of an index.

use std::{pin::pin, sync::Arc, time::Duration};

use ports::{
    store::{EventStore, Position},
    views::{Key, ViewStore},
};
use projections::{
    positions::{Positions, Unreached},
    reader::{Error, Query, Reader},
    view::View,
    views,
};
use tokio::time::Instant;
use tonic::Status;

use super::{Context, envelope, refusal};
use crate::error::{Reason, invalid, status};

/// How long before its deadline a query gives up waiting, so that its own answer still arrives in time.
const MARGIN: Duration = Duration::from_millis(50);
/// Views are seldom further behind than this; only who waits longer makes us look whether there is such a position at all.
const SELDOM: Duration = Duration::from_millis(250);

/// Readers of all views, and where the views stand.
#[derive(Clone)]
pub struct Views {
    pub(super) catalog: Reader<views::catalog::Catalog>,
    pub(super) stock: Reader<views::stock::Stock>,
    pub(super) orders: Reader<views::orders::Orders>,
    pub(super) campaigns: Reader<views::campaigns::Campaigns>,
    pub(super) claims: Reader<views::claims::Claims>,
    pub(super) sales: Reader<views::sales::Sales>,
    pub(super) payments: Reader<views::payments::Payments>,
    pub(super) deliveries: Reader<views::deliveries::Deliveries>,
    pub(super) returns: Reader<views::returns::Returns>,
    log: Arc<dyn EventStore>,
    positions: Positions,
}

impl Views {
    /// Readers of the rows in `rows`, which somebody folds of `log` as `positions` tells.
    #[must_use]
    pub fn new(rows: &Arc<dyn ViewStore>, log: &Arc<dyn EventStore>, positions: Positions) -> Self {
        fn reader<V: View>(rows: &Arc<dyn ViewStore>) -> Reader<V> {
            Reader::new(Arc::clone(rows))
        }
        Self {
            catalog: reader(rows),
            stock: reader(rows),
            orders: reader(rows),
            campaigns: reader(rows),
            claims: reader(rows),
            sales: reader(rows),
            payments: reader(rows),
            deliveries: reader(rows),
            returns: reader(rows),
            log: Arc::clone(log),
            positions,
        }
    }

    /// Waits until a view has folded the log up to `min_position`; 0 waits for nothing.
    ///
    /// # Errors
    /// `VIEW_BEHIND` shortly before the deadline, or at once when the view can never get there; `INVALID_FIELD` when the log
    /// has not got there either, so that nobody can have been told of it.
    pub(super) async fn reached<V: View>(&self, min_position: u64, deadline: Instant) -> Result<(), Status> {
        if min_position == 0 {
            return Ok(());
        }
        let until = envelope::before(deadline, MARGIN);
        let mut reached = pin!(self.positions.reached(V::NAME, Position(min_position)));
        let looked = async {
            tokio::time::sleep(SELDOM).await;
            match self.log.head().await {
                Ok(head) if head.0 < min_position => {}
                _ => std::future::pending().await,
            }
        };
        let waited = tokio::time::timeout_at(until, async {
            tokio::select! {
                biased;
                reached = &mut reached => Some(reached),
                () = looked => None,
            }
        });
        let why = match waited.await {
            Ok(Some(Ok(()))) => return Ok(()),
            Ok(Some(Err(why @ (Unreached::Unknown(_) | Unreached::Stopped(_) | Unreached::Ended)))) => why.to_string(),
            Ok(None) => return Err(invalid("min_position", "is further than anything that has happened")),
            Err(_elapsed) => format!("the view {} has not reached position {min_position} in time", V::NAME),
        };
        let metadata = [("view", V::NAME.to_owned()), ("position", self.position::<V>().to_string())];
        Err(status(Reason::ViewBehind, why, metadata))
    }

    /// Where a view stands now. Rows that are read afterwards include at least this.
    pub(super) fn position<V: View>(&self) -> u64 {
        self.positions.of(V::NAME).map_or(0, |standing| standing.position.0)
    }

    /// Waits until a view has gone on from `position`, or never will.
    pub(super) async fn moved<V: View>(&self, position: u64) -> Result<(), Unreached> {
        self.positions.reached(V::NAME, Position(position.saturating_add(1))).await
    }
}

/// A page as a client asks for it.
pub(super) struct Listing<'a> {
    /// The method and every filter: what the page token is bound to.
    pub(super) query: &'a [&'a str],
    pub(super) page_size: u32,
    pub(super) page_token: &'a str,
}

impl Context {
    /// A page of the rows of `query` that `keep` keeps, and the token of the next one. A page may be short, even
    /// empty, and still not be the last: a filter without an index looks through a bounded number of rows.
    pub(super) async fn page<V: View>(
        &self,
        reader: &Reader<V>,
        query: &Query<V>,
        asked: Listing<'_>,
        keep: impl Fn(&V::Row) -> bool + Send,
    ) -> Result<(Vec<V::Row>, String), Status> {
        let size = usize::try_from(self.limits.page_size(asked.page_size)).unwrap_or(usize::MAX);
        let mut after: Option<Key> = self.pages.read(asked.query, asked.page_token)?;
        let mut rows = Vec::new();
        let mut scanned = 0;
        loop {
            let page = reader.page(query, after.as_ref(), size - rows.len()).await.map_err(|error| unread(&error))?;
            scanned += page.rows.len();
            rows.extend(page.rows.into_iter().filter(&keep));
            after = page.next;
            let Some(next) = &after else { return Ok((rows, String::new())) };
            if rows.len() >= size || scanned >= self.rules.scan_rows_max {
                return Ok((rows, self.pages.issue(asked.query, next)));
            }
        }
    }
}

/// The status of a view that cannot be read.
pub(super) fn unread(error: &Error) -> Status {
    match error {
        Error::Store(error) => refusal::of_views(error),
        Error::Row { .. } => refusal::internal("a view cannot be read", error),
    }
}
