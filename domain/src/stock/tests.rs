//! Rules of stock as given / when / then, and the properties that must hold after any history.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::testing::given;

fn sku() -> Sku {
    Sku::new("85123A").unwrap()
}

fn product() -> ProductId {
    ProductId::new("heart").unwrap()
}

fn at(warehouse: &str) -> WarehouseId {
    WarehouseId::new(warehouse).unwrap()
}

fn order(n: u128) -> OrderId {
    OrderId::from_u128(n)
}

fn minute(n: i64) -> Timestamp {
    Timestamp::from_second(n * 60).unwrap()
}

fn opened() -> Event {
    Opened { sku: sku(), product: product() }.into()
}

fn received(warehouse: &str, quantity: u32) -> Event {
    Received { warehouse: at(warehouse), quantity }.into()
}

fn from(parts: &[(&str, u32)]) -> Vec<Allocation> {
    parts.iter().map(|(warehouse, quantity)| Allocation { warehouse: at(warehouse), quantity: *quantity }).collect()
}

fn reserved(n: u128, parts: &[(&str, u32)]) -> Event {
    Reserved { order: order(n), allocations: from(parts), expires_at: minute(30) }.into()
}

fn reserve_at(n: u128, quantity: u32, now: Timestamp) -> Command {
    Command::Reserve { order: order(n), quantity, expires_at: minute(30), now }
}

fn reserve(n: u128, quantity: u32) -> Command {
    reserve_at(n, quantity, minute(0))
}

#[test]
fn a_sku_belongs_to_one_product() {
    given::<Stock>([]).when(Command::Open { sku: sku(), product: product() }).then([opened()]);
    let other = ProductId::new("other").unwrap();
    given::<Stock>([opened()])
        .when(Command::Open { sku: sku(), product: other })
        .then_rejected(&Rejection::Taken { sku: sku(), product: product() });
}

#[test]
fn what_is_not_kept_can_be_neither_received_nor_reserved() {
    given::<Stock>([]).when(reserve(1, 1)).then_rejected(&Rejection::NotKept);
    given::<Stock>([])
        .when(Command::Receive { warehouse: at("north"), quantity: 1 })
        .then_rejected(&Rejection::NotKept);
}

#[test]
fn goods_received_twice_are_twice_the_goods() {
    given::<Stock>([opened()])
        .when(Command::Receive { warehouse: at("north"), quantity: 5 })
        .then_each_time([received("north", 5)]);
}

#[test]
fn quantities_have_a_lower_and_an_upper_end() {
    for found in [0, UNITS_MAX + 1] {
        given::<Stock>([opened()])
            .when(Command::Receive { warehouse: at("north"), quantity: found })
            .then_rejected(&Rejection::Quantity { found: found.into() });
    }
    given::<Stock>([opened(), received("north", UNITS_MAX)])
        .when(Command::Restock { source: Uuid::nil(), warehouse: at("north"), quantity: 1 })
        .then_rejected(&Rejection::Quantity { found: u64::from(UNITS_MAX) + 1 });
}

#[test]
fn a_count_sets_the_shelf_but_never_below_what_is_promised() {
    let history = [opened(), received("north", 5), reserved(1, &[("north", 3)])];
    given::<Stock>(history.clone()).when(Command::Count { warehouse: at("north"), on_hand: 4 }).then([Counted {
        warehouse: at("north"),
        on_hand: 4,
    }
    .into()]);
    given::<Stock>(history)
        .when(Command::Count { warehouse: at("north"), on_hand: 2 })
        .then_rejected(&Rejection::BelowReserved { warehouse: at("north"), reserved: 3, counted: 2 });
}

#[test]
fn an_order_is_served_from_one_warehouse_if_any_can() {
    let history = [opened(), received("north", 2), received("south", 5)];
    given::<Stock>(history.clone()).when(reserve(1, 4)).then([reserved(1, &[("south", 4)])]);
    given::<Stock>(history).when(reserve(1, 6)).then([reserved(1, &[("north", 2), ("south", 4)])]);
}

#[test]
fn the_last_unit_goes_to_one_order() {
    given::<Stock>([opened(), received("north", 1), reserved(1, &[("north", 1)])])
        .when(reserve(2, 1))
        .then_rejected(&Rejection::OutOfStock { requested: 1, available: 0 });
}

#[test]
fn an_order_holds_one_quantity() {
    given::<Stock>([opened(), received("north", 9), reserved(1, &[("north", 2)])])
        .when(reserve(1, 3))
        .then_rejected(&Rejection::HeldOtherwise { held: 2, requested: 3 });
}

#[test]
fn a_claim_takes_what_was_reserved_and_only_once() {
    let history = [opened(), received("north", 5), reserved(1, &[("north", 3)])];
    let claimed: Event = Claimed { order: order(1), allocations: from(&[("north", 3)]) }.into();
    given::<Stock>(history.clone()).when(Command::Claim { order: order(1) }).then_each_time([claimed.clone()]);
    given::<Stock>(history.into_iter().chain([claimed]))
        .when(Command::Claim { order: order(1) })
        .then_rejected(&Rejection::NotReserved { order: order(1) });
}

#[test]
fn a_release_frees_the_units_and_a_second_one_changes_nothing() {
    let released = Released { order: order(1), allocations: from(&[("north", 1)]), lapsed: false };
    given::<Stock>([opened(), received("north", 1), reserved(1, &[("north", 1)])])
        .when(Command::Release { order: order(1) })
        .then([released.into()]);
    given::<Stock>([opened()]).when(Command::Release { order: order(1) }).then_nothing();
}

#[test]
fn a_hold_long_past_its_expiry_gives_way_to_a_buyer() {
    let history = [opened(), received("north", 1), reserved(1, &[("north", 1)])];
    let sold_out = Rejection::OutOfStock { requested: 1, available: 0 };
    given::<Stock>(history.clone()).when(reserve_at(2, 1, minute(45))).then_rejected(&sold_out);

    let lapsed = Released { order: order(1), allocations: from(&[("north", 1)]), lapsed: true };
    given::<Stock>(history).when(reserve_at(2, 1, minute(46))).then([lapsed.into(), reserved(2, &[("north", 1)])]);
}

/// A shelf of `units` in the north, all of them held one by one by orders from 1 on; the holds end at half past.
fn all_held(units: u32) -> Vec<Event> {
    let holds = (1..=u128::from(units)).map(|n| reserved(n, &[("north", 1)]));
    [opened(), received("north", units)].into_iter().chain(holds).collect()
}

fn lapsed_holds(orders: impl IntoIterator<Item = u128>) -> Vec<Event> {
    let release = |n| Released { order: order(n), allocations: from(&[("north", 1)]), lapsed: true }.into();
    orders.into_iter().map(release).collect()
}

#[test]
fn a_large_wish_sweeps_as_many_lapsed_holds_as_it_needs() {
    let buyer = 99;
    let swept = [lapsed_holds(1..=20), vec![reserved(buyer, &[("north", 20)])]].concat();
    given::<Stock>(all_held(20)).when(reserve_at(buyer, 20, minute(46))).then(swept);
    let swept = [lapsed_holds(1..=3), vec![reserved(buyer, &[("north", 3)])]].concat();
    given::<Stock>(all_held(20)).when(reserve_at(buyer, 3, minute(46))).then(swept);
    given::<Stock>(all_held(20))
        .when(reserve_at(buyer, 21, minute(46)))
        .then_rejected(&Rejection::OutOfStock { requested: 21, available: 0 });
}

#[test]
fn what_is_free_and_what_a_sweep_frees_are_taken_together() {
    let history = [vec![opened(), received("south", 2)], all_held(3)[1..].to_vec()].concat();
    let taken = [lapsed_holds(1..=2), vec![reserved(99, &[("north", 2), ("south", 2)])]].concat();
    given::<Stock>(history).when(reserve_at(99, 4, minute(46))).then(taken);
}

#[test]
fn one_decision_sweeps_a_bounded_number_of_holds() {
    let most = u32::try_from(LAPSE_SWEEP_MAX).unwrap();
    let wish = |quantity| reserve_at(1_000_000, quantity, minute(46));
    let swept = [lapsed_holds(1..=u128::from(most)), vec![reserved(1_000_000, &[("north", most)])]].concat();
    given::<Stock>(all_held(most + 1)).when(wish(most)).then(swept);
    given::<Stock>(all_held(most + 1))
        .when(wish(most + 1))
        .then_rejected(&Rejection::OutOfStock { requested: most + 1, available: 0 });
}

fn any_command() -> impl Strategy<Value = Command> {
    let warehouse = prop_oneof![Just("north"), Just("south")];
    let n = 1_u128..6;
    prop_oneof![
        (warehouse.clone(), 0_u32..20).prop_map(|(w, quantity)| Command::Receive { warehouse: at(w), quantity }),
        (warehouse.clone(), 0_u32..20).prop_map(|(w, on_hand)| Command::Count { warehouse: at(w), on_hand }),
        (n.clone(), 0_u32..12, 0_i64..90).prop_map(|(n, quantity, now)| reserve_at(n, quantity, minute(now))),
        n.clone().prop_map(|n| Command::Claim { order: order(n) }),
        n.clone().prop_map(|n| Command::Release { order: order(n) }),
        (n, warehouse, 0_u32..5).prop_map(|(n, w, quantity)| Command::Restock {
            source: Uuid::from_u128(n),
            warehouse: at(w),
            quantity
        }),
    ]
}

proptest! {
    #[test]
    fn nothing_is_ever_oversold(commands in proptest::collection::vec(any_command(), 0..80)) {
        let mut state = Stock::evolve(State::default(), &opened());
        // An independent ledger: what came in, what went out, what is promised.
        let (mut shelf, mut promised) = (0_i64, BTreeMap::<OrderId, i64>::new());
        for command in commands {
            let before = state.clone();
            for event in Stock::decide(&state, &command).unwrap_or_default() {
                let sum = |a: &[Allocation]| a.iter().map(|a| i64::from(a.quantity)).sum::<i64>();
                match &event {
                    Event::Received(e) => shelf += i64::from(e.quantity),
                    Event::Restocked(e) => shelf += i64::from(e.quantity),
                    Event::Counted(e) => {
                        shelf += i64::from(e.on_hand)
                            - i64::from(before.levels.get(&e.warehouse).map_or(0, |level| level.on_hand));
                    }
                    Event::Reserved(e) => prop_assert!(promised.insert(e.order, sum(&e.allocations)).is_none()),
                    Event::Claimed(e) => shelf -= promised.remove(&e.order).unwrap(),
                    Event::Released(e) => prop_assert_eq!(promised.remove(&e.order), Some(sum(&e.allocations))),
                    Event::Opened(_) => {}
                }
                state = Stock::evolve(state, &event);
                prop_assert!(promised.values().sum::<i64>() <= shelf, "more promised than there is");
                for level in state.levels.values() {
                    prop_assert!(level.reserved <= level.on_hand);
                }
            }
            let (on_hand, reserved) = state.totals();
            prop_assert_eq!(i64::try_from(on_hand).unwrap(), shelf);
            prop_assert_eq!(i64::try_from(reserved).unwrap(), promised.values().sum::<i64>());
            prop_assert_eq!(state.holds.len(), state.by_expiry.len());
        }
    }
}
