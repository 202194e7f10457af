//! Pages, lists and ranges over the rows of a small shop.

use super::*;
use crate::{
    engine::{Engine, Limits},
    testing::{FaultyViews, Shop, december, word},
    views::{self, catalog, orders, sales, stock},
};
use domain::ids::MemberId;

/// A shop with a history, folded.
async fn shop() -> Arc<FaultyViews> {
    let mut shop = Shop::new();
    let mut chance = 1_u32;
    for _ in 0..200 {
        chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [what, whom, ..] = chance.to_be_bytes();
        shop.act(what, whom).await;
    }
    let rows = Arc::new(FaultyViews::default());
    let mut engine = Engine::new(Arc::new(shop.log), Arc::clone(&rows) as _, views::all(), Limits::default());
    engine.step().await.unwrap();
    rows
}

async fn whole<V: View>(rows: &Arc<FaultyViews>, query: &Query<V>, limit: usize) -> Vec<V::Row> {
    let reader = Reader::<V>::new(Arc::clone(rows) as _);
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = reader.page(query, after.as_ref(), limit).await.unwrap();
        assert!(page.rows.len() == limit || page.next.is_none(), "only the last page may be short");
        assert!(!page.rows.is_empty() || after.is_none(), "no page but the first may be empty");
        all.extend(page.rows);
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
}

#[tokio::test]
async fn pages_of_any_size_join_to_the_whole_in_order() {
    let rows = shop().await;
    let all = whole(&rows, &orders::newest(), usize::MAX - 1).await;
    assert!(all.len() > 10);
    assert!(all.is_sorted_by(|a, b| a.placed_at >= b.placed_at), "newest first");
    for limit in [1, 2, 3, all.len() - 1, all.len(), all.len() + 1] {
        assert_eq!(whole(&rows, &orders::newest(), limit).await, all, "pages of {limit}");
    }
    let buyer = MemberId::from_u128(1);
    let theirs: Vec<_> = all.iter().filter(|order| order.buyer == buyer).cloned().collect();
    assert_eq!(whole(&rows, &orders::of_buyer(buyer), 2).await, theirs);
    let closed: Vec<_> = all.into_iter().filter(|order| order.state == orders::State::Closed).collect();
    assert_eq!(whole(&rows, &orders::in_state(orders::State::Closed), 2).await, closed);
}

#[tokio::test]
async fn lists_hold_what_belongs_to_them_and_nothing_else() {
    let rows = shop().await;
    let all = whole(&rows, &Query::<catalog::Catalog>::rows(), 100).await;
    let names = |products: Vec<catalog::Product>| {
        products.into_iter().map(|product| product.description.name).collect::<Vec<_>>()
    };
    let listed: Vec<_> = all.iter().filter(|product| product.listed).cloned().collect();
    assert!(!listed.is_empty() && listed.len() < all.len(), "the shop has both kinds");
    let mut by_name = names(listed.clone());
    by_name.sort();
    assert_eq!(names(whole(&rows, &catalog::by_name(), 100).await), by_name);
    assert_eq!(names(whole(&rows, &catalog::in_category(&[word("home")]), 100).await), by_name);
    let mugs = |product: &catalog::Product| product.description.categories.ends_with(&[word("mugs")]);
    let found = whole(&rows, &catalog::in_category(&[word("home"), word("mugs")]), 100).await;
    assert_eq!(found.len(), listed.iter().filter(|product| mugs(product)).count());
    assert!(found.iter().all(mugs));
    assert_eq!(whole(&rows, &catalog::newest(), 100).await.len(), listed.len());
    assert_eq!(whole(&rows, &catalog::of_seller(&word("acme")), 100).await.len(), all.len());
    assert_eq!(whole(&rows, &catalog::of_seller(&word("acm")), 100).await, []);
    let of_sku = whole(&rows, &catalog::of_sku(&word("s1")), 100).await;
    assert_eq!(of_sku.iter().map(|product| product.product.as_str()).collect::<Vec<_>>(), ["p1"]);
    let skus = whole(&rows, &stock::of_product(&word("p1")), 100).await;
    assert_eq!(skus.iter().map(|row| row.sku.as_str()).collect::<Vec<_>>(), ["s1"]);
}

#[tokio::test]
async fn ranges_of_days_include_both_ends() {
    let rows = shop().await;
    let all = whole(&rows, &Query::<sales::Sales>::rows(), 100).await;
    let days: std::collections::BTreeSet<_> = all.iter().map(|row| row.day).collect();
    let days: Vec<_> = days.into_iter().collect();
    assert!(days.len() >= 4, "{days:?}");
    let (from, to) = (days[1], days[days.len() - 2]);
    let within = |row: &&sales::DaySales| row.day >= from && row.day <= to;
    let expected: Vec<_> = all.iter().filter(within).cloned().collect();
    assert_eq!(whole(&rows, &sales::between(from, to), 3).await, expected);
    assert_eq!(whole(&rows, &sales::between(to, from), 3).await, [], "an empty range is no error");
    let mugs: Vec<_> = expected.iter().filter(|row| row.product == word("p1")).cloned().collect();
    assert!(!mugs.is_empty());
    assert_eq!(whole(&rows, &sales::of_product(&word("p1"), from, to), 3).await, mugs);
}

#[tokio::test]
async fn rows_are_found_by_key_in_the_order_asked() {
    let rows = shop().await;
    let reader = Reader::<stock::Stock>::new(Arc::clone(&rows) as _);
    let found = reader.get_many(&[word("s1"), word("nothing"), word("s0")]).await.unwrap();
    let skus: Vec<_> = found.iter().map(|row| row.as_ref().map(|row| row.sku.as_str())).collect();
    assert_eq!(skus, [Some("s1"), None, Some("s0")]);
    assert_eq!(reader.get(&word("nothing")).await.unwrap(), None);
    assert!(reader.get(&word("s1")).await.unwrap().unwrap().changed_at >= december(1));
}
