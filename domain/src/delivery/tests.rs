//! The rules of a delivery, sentence by sentence.

use proptest::prelude::*;

use super::*;
use crate::{
    decider::{Stored as _, fold},
    ids::MemberId,
    testing::{Given, given},
};

const ORDER: OrderId = OrderId::from_u128(1);
const KEY: Uuid = Uuid::from_u128(2);

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_770_000_000 + minute * 60).unwrap()
}

fn request_of(units: u64, address: &str) -> Command {
    let address = Some(Personal::open(MemberId::from_u128(3), address.to_owned()));
    Command::Request { order: ORDER, region: Region::new("GB").unwrap(), address, units, key: KEY }
}

fn requested() -> Event {
    let address = Some(Personal::open(MemberId::from_u128(3), "1 Fleet Street".to_owned()));
    Requested { order: ORDER, region: Region::new("GB").unwrap(), address, units: 3, key: KEY }.into()
}

fn booked() -> Event {
    Booked { tracking: "T-1".into() }.into()
}

fn dispatched() -> Event {
    Dispatched { at: at(1) }.into()
}

fn delivered() -> Event {
    Delivered { at: at(2) }.into()
}

fn failed() -> Event {
    Failed { reason: "lost".into(), at: at(3) }.into()
}

fn record_booked() -> Command {
    Command::RecordBooked { tracking: "T-1".into() }
}

fn record_failed() -> Command {
    Command::RecordFailed { reason: "lost".into(), at: at(3) }
}

/// A requested delivery and what followed.
fn after<const N: usize>(events: [Event; N]) -> Given<Delivery> {
    given([requested()].into_iter().chain(events))
}

#[test]
fn a_delivery_is_requested_once_with_one_body() {
    given::<Delivery>([]).when(request_of(3, "1 Fleet Street")).then([requested()]);
    after([])
        .when(request_of(4, "1 Fleet Street"))
        .then_rejected(&Rejection::AlreadyRequested { order: ORDER, units: 3 });
    given::<Delivery>([]).when(request_of(0, "")).then_rejected(&Rejection::NoUnits);
    given::<Delivery>([])
        .when(request_of(1, &"x".repeat(ADDRESS_MAX + 1)))
        .then_rejected(&Rejection::AddressTooLong { found: ADDRESS_MAX + 1 });
}

#[test]
fn the_address_is_sealed_in_the_log_and_absent_from_snapshots() {
    let mut event = requested();
    assert!(event.encode().is_err(), "an open address is never written");
    let fields = event.personal();
    assert_eq!(fields.len(), 1);
    for field in fields {
        field.seal(vec![1, 2, 3]);
    }
    assert!(event.encode().is_ok());
    let snapshot = serde_json::to_string(&fold::<Delivery>(&[requested()])).unwrap();
    assert!(!snapshot.contains("Fleet"));
}

#[test]
fn the_usual_way_is_recorded_step_by_step() {
    after([]).when(record_booked()).then([booked()]);
    after([booked()]).when(Command::RecordDispatched { at: at(1) }).then([dispatched()]);
    after([booked(), dispatched()]).when(Command::RecordDelivered { at: at(2) }).then([delivered()]);
    after([booked()]).when(record_failed()).then([failed()]);
}

#[test]
fn notices_out_of_order_are_believed_until_the_end_and_not_after_it() {
    after([]).when(Command::RecordDelivered { at: at(2) }).then([delivered()]);
    after([]).when(Command::RecordDispatched { at: at(1) }).then([dispatched()]);
    after([dispatched()]).when(record_booked()).then([booked()]);
    after([dispatched(), booked()]).when(Command::RecordDispatched { at: at(9) }).then_nothing();
    for end in [delivered(), failed()] {
        for late in [
            record_booked(),
            Command::RecordDispatched { at: at(9) },
            Command::RecordDelivered { at: at(9) },
            record_failed(),
        ] {
            after([end.clone()]).when(late).then_nothing();
        }
    }
}

#[test]
fn what_a_carrier_says_has_limits() {
    for found in [0, TRACKING_MAX + 1] {
        after([])
            .when(Command::RecordBooked { tracking: "t".repeat(found) })
            .then_rejected(&Rejection::InvalidTracking { found });
    }
    after([]).when(Command::RecordFailed { reason: "r".repeat(REASON_MAX + 1), at: at(1) }).then([Failed {
        reason: "r".repeat(REASON_MAX),
        at: at(1),
    }
    .into()]);
}

#[test]
fn nothing_is_recorded_about_a_delivery_that_nobody_requested() {
    for command in [record_booked(), Command::RecordDelivered { at: at(1) }, record_failed()] {
        given::<Delivery>([]).when(command).then_rejected(&Rejection::NotRequested);
    }
}

fn events() -> impl Strategy<Value = Event> {
    prop::sample::select(vec![requested(), booked(), dispatched(), delivered(), failed()])
}

fn commands() -> impl Strategy<Value = Command> {
    prop_oneof![
        Just(request_of(3, "1 Fleet Street")),
        Just(record_booked()),
        (0_i64..9).prop_map(|n| Command::RecordDispatched { at: at(n) }),
        (0_i64..9).prop_map(|n| Command::RecordDelivered { at: at(n) }),
        Just(record_failed()),
    ]
}

proptest! {
    #[test]
    fn any_history_folds_and_reads_back(history in prop::collection::vec(events(), 0..20)) {
        let state = fold::<Delivery>(&history);
        prop_assert_eq!(state.details().is_some(), history.contains(&requested()));
        let stored = serde_json::to_string(&state).unwrap();
        prop_assert_eq!(serde_json::from_str::<State>(&stored).unwrap(), state);
    }

    #[test]
    fn a_delivery_ends_once_and_a_repeated_notice_is_silent(
        commands in prop::collection::vec(commands(), 0..30),
    ) {
        let mut state = State::default();
        let mut ends = 0;
        for command in &commands {
            let Ok(events) = Delivery::decide(&state, command) else { continue };
            ends += events.iter().filter(|e| matches!(e, Event::Delivered(_) | Event::Failed(_))).count();
            state = events.iter().fold(state, Delivery::evolve);
            prop_assert_eq!(Delivery::decide(&state, command), Ok(vec![]));
        }
        prop_assert!(ends <= 1);
        let ended = state.details().is_some_and(|delivery| delivery.situation.is_final());
        prop_assert_eq!(ended, ends == 1);
    }
}
