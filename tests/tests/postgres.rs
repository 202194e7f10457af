//! The shop on PostgreSQL: it sells, remembers, keeps every rule in a crowd and imports the same figures as on the
//! embedded engines. These are the same tests; `tests::engines` knows them by this program's name.

#![expect(clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "import/main.rs"]
mod import;
#[path = "races.rs"]
mod races;
#[path = "slice.rs"]
mod slice;

use postgres::{Client, NoTls};
use tests::{say, shop::TestShop};

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_can_be_read_with_psql_and_nothing_of_it_lies_in_the_folder() {
    let mut shop = TestShop::open().await;
    say::stock(&mut shop.operator().await, "mug", 255, 10).await;
    shop.buyer(1).await.orders.process_order(say::order(&[("mug", 3)])).await.expect("placed");
    let head = shop.running().log().head().await.expect("the log can be read").0;
    let database = shop.database().expect("a database").to_owned();
    let sold =
        "SELECT count(*), max(position), count(*) FILTER (WHERE kind = 'order.placed' AND data->>'region' = 'GB')
        FROM cartulary.log";
    let read = move || Client::connect(&database, NoTls).expect("a server").query_one(sold, &[]).expect("an answer");
    let row = tokio::task::spawn_blocking(read).await.expect("read");
    let (events, newest, orders): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    assert_eq!((events.cast_unsigned(), newest.cast_unsigned(), orders), (head, head, 1));
    assert!(!shop.folder().join("log.sqlite").exists() && !shop.folder().join("keys.sqlite").exists());
    shop.stop().await;
}
