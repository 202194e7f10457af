//! The shop on PostgreSQL: it sells, remembers, keeps every rule in a crowd and imports the same figures as on the
//! embedded engines. These are the same tests; `tests::engines` knows them by this program's name.

#![expect(clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "import/main.rs"]
mod import;
#[path = "races.rs"]
mod races;
#[path = "slice.rs"]
mod slice;

use std::{fs, path::Path, process::Command};

use gateway::config::Engines;
use postgres::{Client, NoTls};
use proto::v1::{self, OrderState};
use serde_json::Value;
use tests::{say, shop::TestShop, victim};

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
    let files = |folder: &Path| {
        let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
        entries.map(|name| name.to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(files(shop.folder()), ["signing.pem"], "nothing else lies in the shop's folder");
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_moves_into_files_and_back_and_remembers_everything() {
    let mut fleet = TestShop::open().await;
    say::stock(&mut fleet.operator().await, "mug", 255, 10).await;
    let wish = say::paid_order(&[("mug", 3)]);
    let placed = fleet.buyer(1).await.orders.process_order(wish.clone()).await.expect("placed").into_inner();
    let ask = v1::GetOrderRequest { order_id: placed.order_id.clone(), min_position: placed.position };
    let delivered =
        say::until(&mut fleet.buyer(1).await, &placed.order_id, OrderState::Delivered, placed.position).await;
    fleet.stop().await;

    let place = tempfile::tempdir().expect("a folder");
    let (laptop, elsewhere) = (place.path().join("laptop"), TestShop::open().await);
    let configuration = |shop: &TestShop| {
        let path = place.path().join(format!("{}.toml", say::request_id()));
        let url = shop.database().expect("a database");
        let text = format!("data = '{}'\npostgres.url = '{url}'\nengines.log = 'postgres'\n", shop.folder().display());
        fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let laptop_path = laptop.display().to_string();
    let down = copy(&["--config", &configuration(&fleet), "--to-data", &laptop_path]);
    assert!(down["events"].as_u64() > Some(10) && down["copied"] == down["events"], "{down}");
    let data = laptop.clone();
    let mut shop = TestShop::open_with(move |config| {
        (config.engines, config.data) = (Engines::EMBEDDED, data.clone());
    })
    .await;
    let again = shop.buyer(1).await.orders.process_order(wish).await.expect("answered").into_inner();
    assert_eq!(again, placed, "the same request has the same answer there");
    assert_eq!(shop.buyer(1).await.orders.get_order(ask).await.expect("an order").into_inner(), delivered);
    shop.stop().await;

    let back = copy(&["--data", &laptop_path, "--to", &configuration(&elsewhere)]);
    assert_eq!((&back["sha256"], &back["copied"]), (&down["sha256"], &down["events"]));
    let nothing = copy(&["--data", &laptop_path, "--to", &configuration(&elsewhere)]);
    assert_eq!((&nothing["sha256"], nothing["copied"].as_u64()), (&down["sha256"], Some(0)));
}

/// Copies with the real program.
fn copy(args: &[&str]) -> Value {
    let output = Command::new(victim::binary()).args(["log", "copy", "--json"]).args(args).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("a line of JSON")
}
