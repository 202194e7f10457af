//! Products over the gateway: listed, updated, delisted, refused.

use proto::v1::{self, ProductState, Role, attribute::Value};
use tests::{say, shop::TestShop, shop::buyer};

use super::outcome;

fn full(id: &str) -> v1::Product {
    let number = v1::Measure { value: "0.350".into(), unit: "l".into() };
    v1::Product {
        description: "Holds tea.".into(),
        keywords: vec!["tea".into()],
        image_urls: vec!["https://example.com/mug.jpg".into()],
        category_path: vec!["home".into(), "mugs".into()],
        attributes: vec![
            v1::Attribute { name: "colour".into(), value: Some(Value::Text("blue".into())) },
            v1::Attribute { name: "dishwasher".into(), value: Some(Value::Flag(true)) },
            v1::Attribute { name: "volume".into(), value: Some(Value::Number(number)) },
        ],
        ..say::product(id, 255)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_is_shown_as_it_was_listed_and_a_retry_hears_the_same() {
    let shop = TestShop::open().await;
    let mut seller = shop.client(buyer(7), &[Role::Seller]).await;
    let wish = v1::CreateProductRequest { request_id: say::request_id(), product: Some(full("mug")) };
    let listed = outcome(seller.catalog.create_product(wish.clone()).await).expect("listed");
    let ask = v1::GetProductRequest { product_id: "mug".into(), min_position: listed.position };
    let shown = outcome(seller.catalog.get_product(ask).await).expect("shown");
    assert_eq!(listed.product.as_ref(), Some(&shown));
    assert_eq!((shown.seller_id.as_str(), shown.state()), (buyer(7).to_string().as_str(), ProductState::Listed));
    let as_wished = v1::Product {
        seller_id: String::new(),
        state: 0,
        etag: String::new(),
        create_time: None,
        update_time: None,
        ..shown
    };
    assert_eq!(as_wished, full("mug"));
    let retried = outcome(seller.catalog.create_product(wish).await).expect("the same answer");
    assert_eq!(retried, listed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sku_belongs_to_one_product_and_a_bad_listing_leaves_nothing_behind() {
    let shop = TestShop::open().await;
    let mut operator = shop.operator().await;
    outcome(operator.catalog.create_product(say::list("mug", 255)).await).expect("listed");
    let again = outcome(operator.catalog.create_product(say::list("mug", 300)).await);
    assert_eq!(again.unwrap_err(), "ALREADY_EXISTS");
    let thief = v1::Product { product_id: "cup".into(), ..say::product("mug", 1) };
    let thief = v1::CreateProductRequest { request_id: say::request_id(), product: Some(thief) };
    assert_eq!(outcome(operator.catalog.create_product(thief).await).unwrap_err(), "ALREADY_EXISTS");
    let free = outcome(operator.catalog.create_product(say::list("tray", 0)).await);
    assert_eq!(free.unwrap_err(), "INVALID_FIELD");
    let count = outcome(operator.catalog.change_inventory_count(say::receive("tray", 1)).await);
    assert_eq!(count.unwrap_err(), "SKU_NOT_FOUND", "the refused listing has opened no stock");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_changes_what_it_names_if_the_etag_still_holds() {
    let shop = TestShop::open().await;
    let mut operator = shop.operator().await;
    let listed = v1::CreateProductRequest { request_id: say::request_id(), product: Some(full("mug")) };
    let listed = outcome(operator.catalog.create_product(listed).await).expect("listed").product.expect("a product");
    let blue = listed.variants[0].clone();
    let red = v1::Variant { sku: "mug-red".into(), options: vec![], price: Some(say::gbp(265)) };
    let wish = v1::Product { name: "Not taken over".into(), variants: vec![blue.clone(), red], ..Default::default() };
    let mask = prost_types::FieldMask { paths: vec!["variants".into()] };
    let update = |request_id: String, etag: &str| v1::UpdateProductRequest {
        request_id,
        product_id: "mug".into(),
        product: Some(wish.clone()),
        update_mask: Some(mask.clone()),
        etag: etag.into(),
    };
    let stale = outcome(operator.catalog.update_product(update(say::request_id(), "7")).await);
    assert_eq!(stale.unwrap_err(), "ETAG_MISMATCH");
    let request = update(say::request_id(), &listed.etag);
    let updated = outcome(operator.catalog.update_product(request.clone()).await).expect("updated");
    let product = updated.product.clone().expect("a product");
    assert_eq!((product.name.as_str(), product.variants.len()), (listed.name.as_str(), 2));
    let ask = v1::GetProductRequest { product_id: "mug".into(), min_position: updated.position };
    assert_eq!(outcome(operator.catalog.get_product(ask).await), Ok(product));
    outcome(operator.catalog.change_inventory_count(say::receive("mug-red", 1)).await).expect("the new SKU is kept");

    // Somebody changes it once more; the first request again says what it said, and changes nothing.
    let repriced = v1::Variant { price: Some(say::gbp(199)), ..blue.clone() };
    let later = v1::Product {
        variants: vec![repriced, updated.product.as_ref().expect("a product").variants[1].clone()],
        ..Default::default()
    };
    let later = v1::UpdateProductRequest { product: Some(later), ..update(say::request_id(), "") };
    let later = outcome(operator.catalog.update_product(later).await).expect("repriced");
    assert_eq!(outcome(operator.catalog.update_product(request).await), Ok(updated));
    let ask = v1::GetProductRequest { product_id: "mug".into(), min_position: later.position };
    assert_eq!(outcome(operator.catalog.get_product(ask).await), Ok(later.product.expect("a product")));
    let less = v1::UpdateProductRequest {
        product: Some(v1::Product { variants: vec![blue], ..Default::default() }),
        ..update(say::request_id(), "")
    };
    assert_eq!(outcome(operator.catalog.update_product(less).await).unwrap_err(), "INVALID_FIELD");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delisted_product_is_hidden_from_lists_and_cannot_be_ordered() {
    let shop = TestShop::open().await;
    let mut operator = shop.operator().await;
    let mut stranger = shop.client(buyer(9), &[Role::Seller]).await;
    for id in ["cup", "mug", "tray"] {
        say::stock(&mut operator, id, 100, 5).await;
    }
    let wish =
        v1::DeleteProductRequest { request_id: say::request_id(), product_id: "mug".into(), etag: String::new() };
    assert_eq!(outcome(stranger.catalog.delete_product(wish.clone()).await).unwrap_err(), "NOT_YOURS");
    let delisted = outcome(operator.catalog.delete_product(wish).await).expect("delisted");
    let list = |include_delisted, page_token: String| v1::ListProductsRequest {
        page_size: 2,
        page_token,
        include_delisted,
        min_position: delisted.position,
        ..Default::default()
    };
    let ids = |page: &v1::ListProductsResponse| page.products.iter().map(|p| p.product_id.clone()).collect::<Vec<_>>();
    let page = outcome(operator.catalog.list_products(list(false, String::new())).await).expect("a page");
    assert_eq!((ids(&page), page.next_page_token.as_str()), (vec!["cup".to_owned(), "tray".to_owned()], ""));
    let first = outcome(operator.catalog.list_products(list(true, String::new())).await).expect("a page");
    let second =
        outcome(operator.catalog.list_products(list(true, first.next_page_token.clone())).await).expect("a page");
    assert_eq!([ids(&first), ids(&second)].concat(), ["cup", "mug", "tray"]);
    let foreign = outcome(operator.catalog.list_products(list(false, first.next_page_token)).await);
    assert_eq!(foreign.unwrap_err(), "INVALID_PAGE_TOKEN");
    let order = outcome(operator.orders.process_order(say::order(&[("mug", 1)])).await);
    assert_eq!(order.unwrap_err(), "PRODUCT_DELISTED");
}
