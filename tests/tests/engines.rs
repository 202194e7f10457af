//! The shop on PostgreSQL and NATS: it sells, remembers, keeps every rule in a crowd and imports the same figures as on
//! the embedded engines. These are the same tests; `tests::engines` knows them by this program's name.

#![expect(clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "engines/feed.rs"]
mod feed;
#[path = "import/main.rs"]
mod import;
#[path = "races.rs"]
mod races;
#[path = "slice.rs"]
mod slice;

use std::{fs, path::Path};

use gateway::config::Engines;
use postgres::{Client, NoTls};
use proto::v1::{self, OrderState};
use tests::{engines::Fleet, say, shop::TestShop, victim::cartulary};

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_can_be_read_with_psql_and_nothing_of_it_lies_in_the_folder() {
    let mut shop = TestShop::open().await;
    say::stock(&mut shop.operator().await, "mug", 255, 10).await;
    shop.buyer(1).await.orders.process_order(say::order(&[("mug", 3)])).await.expect("placed");
    let head = shop.running().log().head().await.expect("the log can be read").0;
    let database = shop.fleet().expect("servers").database.clone();
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
    let file = |shop: &TestShop| {
        let path = place.path().join(format!("{}.toml", say::request_id()));
        fs::write(&path, configuration(shop)).expect("written");
        path.display().to_string()
    };
    let laptop_path = laptop.display().to_string();
    let down = cartulary(&["log", "copy", "--config", &file(&fleet), "--to-data", &laptop_path]);
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

    let back = cartulary(&["log", "copy", "--data", &laptop_path, "--to", &file(&elsewhere)]);
    assert_eq!((&back["sha256"], &back["copied"]), (&down["sha256"], &down["events"]));
    let nothing = cartulary(&["log", "copy", "--data", &laptop_path, "--to", &file(&elsewhere)]);
    assert_eq!((&nothing["sha256"], nothing["copied"].as_u64()), (&down["sha256"], Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_goes_out_and_what_was_wiped_is_published_again() {
    let mut shop = TestShop::open().await;
    say::stock(&mut shop.operator().await, "mug", 255, 10).await;
    let wish = say::paid_order(&[("mug", 3)]);
    let placed = shop.buyer(1).await.orders.process_order(wish).await.expect("placed").into_inner();
    say::until(&mut shop.buyer(1).await, &placed.order_id, OrderState::Delivered, placed.position).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("fleet.toml");
    fs::write(&file, configuration(&shop)).expect("written");
    let config = file.display().to_string();
    // The shop is open: it and this may relay at once, and one of them is heard.
    let first = cartulary(&["bus", "reconcile", "--config", &config]);
    let head = shop.running().log().head().await.expect("the log can be read").0;
    assert_eq!((first["messages"].as_u64(), first["filled"].as_u64()), (Some(head), Some(0)), "{first}");
    shop.stop().await;

    let (url, prefix) = &shop.fleet().expect("servers").nats;
    let other = format!("{}nats.outlet.prefix = '{prefix}-new'\n", configuration(&shop));
    fs::write(&file, other.replace(&format!("nats.outlet.prefix = '{prefix}'\n"), "")).expect("written");
    let again = cartulary(&["bus", "reconcile", "--config", &config]);
    assert_eq!(again["appended"].as_u64(), Some(head), "an empty stream at {url} is filled: {again}");
    let nothing = cartulary(&["bus", "reconcile", "--config", &config]);
    assert_eq!((nothing["appended"].as_u64(), nothing["messages"].as_u64()), (Some(0), Some(head)), "{nothing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_view_is_rebuilt_while_the_shop_is_open() {
    let mut shop = TestShop::open().await;
    say::stock(&mut shop.operator().await, "mug", 255, 10).await;
    let wish = say::paid_order(&[("mug", 3)]);
    let placed = shop.buyer(1).await.orders.process_order(wish).await.expect("placed").into_inner();
    let delivered =
        say::until(&mut shop.buyer(1).await, &placed.order_id, OrderState::Delivered, placed.position).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("fleet.toml");
    fs::write(&file, format!("{}engines.views = 'postgres'\n", configuration(&shop))).expect("written");
    let database = shop.fleet().expect("servers").database.clone();
    let damage = move || {
        let mut client = Client::connect(&database, NoTls).expect("a server");
        let find = "SELECT name FROM cartulary_views.views WHERE name LIKE 'orders.%'";
        let name: String = client.query_one(find, &[]).expect("a view").get(0);
        client.execute(&format!("DELETE FROM cartulary_views.\"{name}:rows\""), &[]).expect("a stroke of bad luck")
    };
    assert_eq!(tokio::task::spawn_blocking(damage).await.expect("done"), 1);
    let ask = || v1::GetOrderRequest { order_id: placed.order_id.clone(), min_position: 0 };
    shop.buyer(1).await.orders.get_order(ask()).await.expect_err("its row is gone");
    let rebuilt = cartulary(&["views", "rebuild", "orders", "--config", &file.display().to_string()]);
    assert_eq!(rebuilt["view"].as_str(), Some("orders"), "{rebuilt}");
    assert!(rebuilt["events"].as_u64() > Some(10), "{rebuilt}");
    assert_eq!(shop.buyer(1).await.orders.get_order(ask()).await.expect("an order").into_inner(), delivered);
    // The engine of the open shop goes on with the new rows.
    let wish = say::paid_order(&[("mug", 2)]);
    let other = shop.buyer(1).await.orders.process_order(wish).await.expect("placed").into_inner();
    say::until(&mut shop.buyer(1).await, &other.order_id, OrderState::Delivered, other.position).await;
    assert_eq!(shop.buyer(1).await.orders.get_order(ask()).await.expect("an order").into_inner(), delivered);
    shop.stop().await;
}

/// A shop's servers, as a file names them.
fn configuration(shop: &TestShop) -> String {
    let Fleet { database, nats: (nats, prefix) } = shop.fleet().expect("servers");
    let data = shop.folder().display();
    format!(
        "data = '{data}'\nengines.log = 'postgres'\nengines.bus = 'nats'\npostgres.url = '{database}'\n\
         nats.url = '{nats}'\nnats.outlet.prefix = '{prefix}'\n"
    )
}
