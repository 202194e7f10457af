//! The tables, looked at with the blocking client and nothing of ours.

use std::thread;

use postgres::{Client, NoTls};
use uuid::Uuid;

/// An event as the tables have it: position, stream, revision, id.
pub type Row = (i64, String, i64, Uuid);

/// Runs `work` on a connection and a thread of its own: the blocking client drives a runtime by itself.
pub fn with<T: Send>(url: &str, work: impl FnOnce(&mut Client) -> T + Send) -> T {
    let run = || work(&mut Client::connect(url, NoTls).unwrap());
    thread::scope(|scope| scope.spawn(run).join()).unwrap()
}

/// The whole log, in order, after checking that it is one: dense positions, contiguous revisions in the order of
/// positions, ids that occur once, time that never runs backward.
pub fn audit(url: &str) -> Vec<Row> {
    with(url, |client| {
        let complaints = [
            ("positions are dense", "SELECT 1 FROM cartulary.events HAVING count(*) <> coalesce(max(position), 0)"),
            (
                "revisions are contiguous, in the order of positions",
                "SELECT * FROM (SELECT position, revision,
                    row_number() OVER (PARTITION BY stream ORDER BY position) - 1 AS due FROM cartulary.events) e
                 WHERE revision <> due",
            ),
            ("an id occurs once", "SELECT event_id FROM cartulary.events GROUP BY event_id HAVING count(*) > 1"),
            (
                "time never runs backward",
                "SELECT * FROM (SELECT recorded_at, lag(recorded_at) OVER (ORDER BY position) AS before
                    FROM cartulary.events) e WHERE recorded_at < before",
            ),
        ];
        for (what, sql) in complaints {
            assert_eq!(client.query(sql, &[]).unwrap().len(), 0, "{what}");
        }
        // Indexes may lie: this reads the table itself.
        client.batch_execute("SET enable_indexscan = off; SET enable_indexonlyscan = off").unwrap();
        let rows = client.query("SELECT position, stream, revision, event_id FROM cartulary.events ORDER BY 1", &[]);
        let row = |row: &postgres::Row| (row.get(0), row.get(1), row.get(2), row.get(3));
        rows.unwrap().iter().map(row).collect()
    })
}
