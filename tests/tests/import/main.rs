//! A real retailer's orders through the real gateway, and the sales report held against the file.
//!
//! The figures of the file are computed without any code of the shop (`figures.rs`). The file is the extract that is
//! kept with the gateway; `CARTULARY_UCI=<file>` names another, such as the full data set (minutes).

#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod figures;

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use domain::ids::MemberId;
use figures::{Cell, Class, Classified, Figures};
use gateway::cli::{
    import::{self, Settings, plan::Plan, report::Report},
    progress::Progress,
};
use proto::v1::{self, Role};
use tests::{say::pence, shop::TestShop};

/// How long the log must be silent before it counts as settled.
const QUIET: Duration = Duration::from_millis(500);

/// The file to replay.
fn file() -> PathBuf {
    let extract = concat!(env!("CARGO_MANIFEST_DIR"), "/../gateway/data/uci_extract.csv");
    env::var_os("CARTULARY_UCI").map_or_else(|| extract.into(), PathBuf::from)
}

/// Replays through the shop's own door.
async fn import(shop: &TestShop, plan: &Plan, limit: Option<usize>, journal: Option<&Path>) -> Report {
    let settings = Settings {
        endpoint: format!("http://{}", shop.addr()),
        token: shop.token(MemberId::from_u128(1), &[Role::Operator]),
        parallel: 64,
        limit,
        resume_file: journal.map(Path::to_owned),
    };
    import::replay::replay(plan, &settings, &Progress::silent()).await.expect("the import runs")
}

/// The whole sales report, once the view has seen everything.
async fn sales(shop: &TestShop) -> BTreeMap<Cell, Figures> {
    let min_position = settled(shop).await;
    let mut operator = shop.operator().await;
    let (mut sales, mut page_token) = (BTreeMap::new(), String::new());
    loop {
        let asked = v1::ListSalesRequest { page_size: 1_000, page_token, min_position, ..Default::default() };
        let page = operator.reports.list_sales(asked).await.expect("a page").into_inner();
        for row in page.sales {
            let cell = Cell { code: figures::name(&row.product_id), country: figures::name(&row.region), day: row.day };
            let figures = Figures {
                units: row.units_sold,
                pence: pence(row.revenue.as_ref()),
                units_back: row.units_returned,
                pence_back: pence(row.refunded.as_ref()),
            };
            assert!(sales.insert(cell, figures).is_none(), "a cell comes once");
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return sales;
        }
    }
}

/// Where the log ends once the processes have nothing more to say.
async fn settled(shop: &TestShop) -> u64 {
    let mut head = None;
    loop {
        let now = shop.running().log().head().await.expect("the log reads");
        if head == Some(now) {
            return now.0;
        }
        head = Some(now);
        tokio::time::sleep(QUIET).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_sold_returned_or_refused_and_the_sales_are_those_of_the_file() {
    let path = file();
    let ours = Classified::of(&path);
    let plan = import::read(&path).expect("a plan");
    let mut shop = TestShop::open().await;
    let report = import(&shop, &plan, None, None).await;
    println!("{report}");

    assert!(report.complete, "the classes sum to the file");
    let refused = report.rejects.iter().map(|refused| (refused.line, refused.reason.to_string())).collect();
    assert_eq!(differences(&refused, &ours.refused()), Vec::<String>::new(), "refused: the shop's and the file's");
    let classes = [ours.rows(), ours.count(Class::Sold), ours.count(Class::Returned)];
    assert_eq!([report.rows, report.sold, report.returned], classes);
    assert_eq!(
        differences(&sales(&shop).await, &ours.figures()),
        Vec::<String>::new(),
        "sales: the shop's and the file's"
    );
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn importing_again_or_after_an_interruption_sells_nothing_twice() {
    let plan = import::read(&file()).expect("a plan");
    let mut shop = TestShop::open().await;
    let folder = tempfile::tempdir().expect("a folder");
    let journal = folder.path().join("journal");
    let third = plan.tasks.len() / 3;
    let cut = import(&shop, &plan, Some(third), Some(&journal)).await;
    assert!(cut.left > 0 && cut.complete, "{cut}");
    let lines = fs::read_to_string(&journal).expect("a journal").lines().count();
    assert_eq!(lines, 1 + third, "a title, then each task that was done");

    let resumed = import(&shop, &plan, None, Some(&journal)).await;
    assert!(resumed.left == 0 && resumed.complete, "{resumed}");
    let (head, before) = (settled(&shop).await, sales(&shop).await);
    // Without a journal everything is asked again, after a restart too.
    shop.restart().await;
    let again = import(&shop, &plan, None, None).await;
    assert_eq!([again.sold, again.returned, again.refused], [resumed.sold, resumed.returned, resumed.refused]);
    assert_eq!(settled(&shop).await, head, "the second import wrote nothing");
    assert_eq!(differences(&sales(&shop).await, &before), Vec::<String>::new());
    shop.stop().await;
}

/// What is not the same in two tables, the first ten.
fn differences<K: Ord + std::fmt::Debug, V: PartialEq + std::fmt::Debug>(
    left: &BTreeMap<K, V>,
    right: &BTreeMap<K, V>,
) -> Vec<String> {
    let keys = left.keys().chain(right.keys().filter(|key| !left.contains_key(key)));
    let unlike = keys.filter(|key| left.get(key) != right.get(key));
    unlike.map(|key| format!("{key:?}: {:?} and {:?}", left.get(key), right.get(key))).take(10).collect()
}
