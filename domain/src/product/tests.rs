//! The rules of a product, sentence by sentence.

use proptest::prelude::*;

use super::*;
use crate::{
    decider::fold,
    testing::{Given, given},
};

fn sku(text: &str) -> Sku {
    Sku::new(text).unwrap()
}

fn gbp(amount: i64) -> Money {
    Money::new(amount, Currency::GBP)
}

fn variant(text: &str, price: i64) -> Variant {
    Variant { sku: sku(text), options: BTreeMap::new(), price: gbp(price) }
}

fn description(name: &str) -> Description {
    Description {
        name: name.into(),
        text: "Holds a lunch.".into(),
        keywords: vec!["lunch".into()],
        images: vec![],
        categories: vec![CategoryId::new("home").unwrap(), CategoryId::new("kitchen").unwrap()],
        attributes: BTreeMap::new(),
    }
}

fn product() -> ProductId {
    ProductId::new("22629").unwrap()
}

fn list(variants: &[Variant]) -> Command {
    Command::List {
        product: product(),
        seller: SellerId::new("acme").unwrap(),
        description: description("Lunch box"),
        variants: variants.to_vec(),
    }
}

fn listed(variants: &[Variant]) -> Event {
    Listed {
        product: product(),
        seller: SellerId::new("acme").unwrap(),
        description: description("Lunch box"),
        variants: variants.to_vec(),
    }
    .into()
}

fn on_sale() -> Given<Product> {
    given([listed(&[variant("red", 195), variant("blue", 210)])])
}

#[test]
fn a_product_is_listed_once_with_one_body() {
    let red = [variant("red", 195)];
    given::<Product>([]).when(list(&red)).then([listed(&red)]);
    given::<Product>([listed(&red)])
        .when(list(&[variant("red", 196)]))
        .then_rejected(&Rejection::AlreadyListed { product: product() });
    let swapped = [variant("blue", 210), variant("red", 195)];
    on_sale().when(list(&swapped)).then_nothing();
    given::<Product>([listed(&red), Delisted {}.into()])
        .when(list(&red))
        .then_rejected(&Rejection::AlreadyListed { product: product() });
}

#[test]
fn a_listing_needs_distinct_variants_of_one_currency_at_a_price() {
    let new = || given::<Product>([]);
    new().when(list(&[])).then_rejected(&Rejection::NoVariants);
    new()
        .when(list(&[variant("red", 1), variant("red", 2)]))
        .then_rejected(&Rejection::DuplicateSku { sku: sku("red") });
    for amount in [0, -1] {
        new()
            .when(list(&[variant("red", amount)]))
            .then_rejected(&Rejection::InvalidPrice { sku: sku("red"), price: gbp(amount) });
    }
    let won = Variant { price: Money::new(1, Currency::KRW), ..variant("blue", 1) };
    new().when(list(&[variant("red", 1), won])).then_rejected(&Rejection::CurrencyMismatch {
        sku: sku("blue"),
        expected: Currency::GBP,
        found: Currency::KRW,
    });
    let many: Vec<_> = (0..=VARIANTS_MAX).map(|n| variant(&n.to_string(), 1)).collect();
    new().when(list(&many)).then_rejected(&Rejection::TooMany {
        field: "variants",
        found: VARIANTS_MAX + 1,
        limit: VARIANTS_MAX,
    });
}

#[test]
fn nothing_happens_to_what_was_never_listed() {
    for command in [
        Command::Revise { description: description("x") },
        Command::AddVariant { variant: variant("red", 1) },
        Command::Reprice { sku: sku("red"), price: gbp(1) },
        Command::Delist,
        Command::Relist,
    ] {
        given::<Product>([]).when(command).then_rejected(&Rejection::NotListed);
    }
}

#[test]
fn an_update_does_all_of_it_or_nothing() {
    let tin = description("Lunch tin");
    let wish = |variants: &[Variant]| Command::Update {
        description: Some(tin.clone()),
        variants: Some(variants.to_vec()),
        listed: Some(false),
    };
    let green = variant("green", 230);
    on_sale().when(wish(&[green.clone(), variant("red", 199), variant("blue", 210)])).then([
        Revised { description: tin.clone() }.into(),
        VariantAdded { variant: green }.into(),
        Repriced { sku: sku("red"), price: gbp(199) }.into(),
        Delisted {}.into(),
    ]);
    let large = Variant { options: BTreeMap::from([("size".into(), "L".into())]), ..variant("red", 195) };
    on_sale().when(wish(&[variant("red", 1)])).then_rejected(&Rejection::VariantLeftOut { sku: sku("blue") });
    on_sale().when(wish(&[large, variant("blue", 210)])).then_rejected(&Rejection::OptionsChanged { sku: sku("red") });
    on_sale()
        .when(wish(&[variant("red", 1), variant("red", 2), variant("blue", 3)]))
        .then_rejected(&Rejection::DuplicateSku { sku: sku("red") });
    let nothing = Command::Update { description: None, variants: None, listed: Some(true) };
    on_sale().when(nothing.clone()).then_nothing();
    given::<Product>([listed(&[variant("red", 1)]), Delisted {}.into()]).when(nothing).then([Relisted {}.into()]);
}

#[test]
fn a_revision_replaces_the_description_and_an_equal_one_is_silent() {
    let tin = description("Lunch tin");
    on_sale().when(Command::Revise { description: tin.clone() }).then([Revised { description: tin }.into()]);
    on_sale().when(Command::Revise { description: description("Lunch box") }).then_nothing();
    on_sale()
        .when(Command::Revise { description: description("") })
        .then_rejected(&Rejection::Missing { field: "name" });
}

#[test]
fn a_variant_is_added_once() {
    let green = variant("green", 200);
    on_sale().when(Command::AddVariant { variant: green.clone() }).then([VariantAdded { variant: green }.into()]);
    on_sale()
        .when(Command::AddVariant { variant: variant("red", 1) })
        .then_rejected(&Rejection::DuplicateSku { sku: sku("red") });
    let euro = Variant { price: Money::new(1, Currency::EUR), ..variant("green", 1) };
    on_sale().when(Command::AddVariant { variant: euro }).then_rejected(&Rejection::CurrencyMismatch {
        sku: sku("green"),
        expected: Currency::GBP,
        found: Currency::EUR,
    });
}

#[test]
fn a_price_change_concerns_one_known_variant() {
    on_sale().when(Command::Reprice { sku: sku("red"), price: gbp(150) }).then([Repriced {
        sku: sku("red"),
        price: gbp(150),
    }
    .into()]);
    on_sale()
        .when(Command::Reprice { sku: sku("pink"), price: gbp(150) })
        .then_rejected(&Rejection::UnknownSku { sku: sku("pink") });
    on_sale()
        .when(Command::Reprice { sku: sku("red"), price: gbp(0) })
        .then_rejected(&Rejection::InvalidPrice { sku: sku("red"), price: gbp(0) });
    on_sale()
        .when(Command::Reprice { sku: sku("red"), price: Money::new(1, Currency::EUR) })
        .then_rejected(&Rejection::CurrencyMismatch { sku: sku("red"), expected: Currency::GBP, found: Currency::EUR });
}

#[test]
fn a_delisted_product_offers_nothing_until_it_is_relisted() {
    let history = [listed(&[variant("red", 195)]), Delisted {}.into(), Relisted {}.into()];
    let after = |n: usize| fold::<Product>(&history[..n]);
    let price = |state: &State| state.offer(&sku("red")).map(|offer| offer.price);
    assert_eq!(price(&after(1)), Some(gbp(195)));
    assert_eq!(price(&after(2)), None);
    assert_eq!(price(&after(3)), Some(gbp(195)));
    on_sale().when(Command::Delist).then([Delisted {}.into()]);
    on_sale().when(Command::Relist).then_nothing();
    given::<Product>(history[..2].to_vec()).when(Command::Relist).then([Relisted {}.into()]);
}

#[test]
fn an_offer_holds_what_an_order_line_freezes() {
    let state =
        fold::<Product>(&[listed(&[variant("red", 195)]), Repriced { sku: sku("red"), price: gbp(150) }.into()]);
    let kitchen = CategoryId::new("kitchen").unwrap();
    let acme = SellerId::new("acme").unwrap();
    let expected = Offer { name: "Lunch box", category: Some(&kitchen), seller: &acme, price: gbp(150) };
    assert_eq!(state.offer(&sku("red")), Some(expected));
    assert_eq!(state.offer(&sku("pink")), None);
}

fn commands() -> impl Strategy<Value = Command> {
    let skus = prop::sample::select(vec!["red", "blue", "green"]);
    let currencies = prop::sample::select(vec![Currency::GBP, Currency::EUR]);
    let variants = (skus.clone(), -1_i64..5, currencies.clone())
        .prop_map(|(text, amount, currency)| Variant { price: Money::new(amount, currency), ..variant(text, 1) });
    prop_oneof![
        prop::collection::vec(variants.clone(), 0..4).prop_map(|variants| list(&variants)),
        variants.prop_map(|variant| Command::AddVariant { variant }),
        (skus, -1_i64..5, currencies).prop_map(|(text, amount, currency)| Command::Reprice {
            sku: sku(text),
            price: Money::new(amount, currency)
        }),
        prop::sample::select(vec!["", "a", "b"]).prop_map(|n| Command::Revise { description: description(n) }),
        Just(Command::Delist),
        Just(Command::Relist),
    ]
}

proptest! {
    #[test]
    fn whatever_sellers_do_every_price_stays_positive_and_of_one_currency(
        commands in prop::collection::vec(commands(), 0..40),
    ) {
        let mut state = State::default();
        for command in &commands {
            let Ok(events) = Product::decide(&state, command) else { continue };
            state = events.iter().fold(state, Product::evolve);
            prop_assert_eq!(Product::decide(&state, command), Ok(vec![]), "a retry is silent");
            let Some(contents) = state.contents() else { continue };
            prop_assert!(!contents.variants.is_empty());
            let currency = contents.currency();
            prop_assert!(contents.variants.values().all(|v| v.price.amount > 0));
            prop_assert!(contents.variants.values().all(|v| Some(v.price.currency) == currency));
        }
        let stored = serde_json::to_string(&state).unwrap();
        prop_assert_eq!(serde_json::from_str::<State>(&stored).unwrap(), state);
    }
}
