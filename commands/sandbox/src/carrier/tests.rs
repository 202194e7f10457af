//! What the shop may rely on however rude the carrier is.

use tokio::time::timeout;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A clock that goes with the runtime's time, paused or not.
struct Running(Instant);

impl Clock for Running {
    fn now(&self) -> Timestamp {
        later(Timestamp::UNIX_EPOCH, self.0.elapsed())
    }
}

fn carrier(behaviour: Behaviour) -> SandboxCarrier {
    SandboxCarrier::new(behaviour, Arc::new(Running(Instant::now())))
}

fn in_two_and_five_seconds() -> Behaviour {
    Behaviour { dispatch_after: 2 * SECOND, deliver_after: 3 * SECOND, ..Behaviour::calm(1) }
}

fn booking(key: u128) -> Booking {
    Booking {
        key: Uuid::from_u128(key),
        delivery: Uuid::from_u128(1),
        address: Some("1 Fleet Street".into()),
        region: "GB".into(),
        units: 3,
    }
}

/// All the news that comes within an hour.
async fn news(carrier: &SandboxCarrier) -> Vec<(News, i64)> {
    let mut heard = Vec::new();
    while let Ok(Some(notice)) = timeout(3_600 * SECOND, carrier.notice()).await {
        assert_eq!(notice.delivery, Uuid::from_u128(1));
        heard.push((notice.news, notice.at.as_second()));
    }
    heard
}

#[tokio::test(start_paused = true)]
async fn goods_are_dispatched_and_delivered_in_their_time() {
    let carrier = carrier(in_two_and_five_seconds());
    let tracking = carrier.book(&booking(10)).await.unwrap();
    assert!(tracking.starts_with("SBX"));
    assert_eq!(news(&carrier).await, [(News::Dispatched, 2), (News::Delivered, 5)]);
}

#[tokio::test(start_paused = true)]
async fn one_key_is_one_booking_and_repeating_it_tells_the_past_again() {
    let carrier = carrier(in_two_and_five_seconds());
    let tracking = carrier.book(&booking(10)).await.unwrap();
    assert_eq!(carrier.book(&booking(10)).await.as_ref(), Ok(&tracking));
    assert_eq!(carrier.bookings(), 1);
    assert_eq!(news(&carrier).await, [(News::Dispatched, 2), (News::Delivered, 5)], "nothing is told twice early");
    assert_eq!(carrier.book(&booking(10)).await, Ok(tracking));
    assert_eq!(news(&carrier).await, [(News::Dispatched, 2), (News::Delivered, 5)], "who missed it hears it again");
}

#[tokio::test(start_paused = true)]
async fn lost_goods_are_reported_as_failed() {
    let carrier = carrier(Behaviour { lose: 1.0, ..in_two_and_five_seconds() });
    carrier.book(&booking(10)).await.unwrap();
    assert_eq!(news(&carrier).await, [(News::Dispatched, 2), (News::Failed { reason: "lost".into() }, 5)]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_booking_stays_refused_and_brings_no_news() {
    let carrier = carrier(Behaviour { refuse: 1.0, ..Behaviour::calm(1) });
    for _ in 0..3 {
        assert!(matches!(carrier.book(&booking(10)).await, Err(Error::Refused(_))));
    }
    assert_eq!((carrier.bookings(), news(&carrier).await), (0, vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_carrier_that_is_down_books_nothing_and_one_that_times_out_has_booked() {
    let down = carrier(Behaviour { unavailable: 1.0, ..Behaviour::calm(1) });
    assert!(matches!(down.book(&booking(10)).await, Err(Error::Unavailable(_))));
    assert_eq!((down.bookings(), news(&down).await), (0, vec![]));

    let silent = carrier(Behaviour { timeout: 1.0, timeout_after: SECOND, ..Behaviour::calm(1) });
    assert_eq!(silent.book(&booking(10)).await, Err(Error::Timeout));
    assert_eq!((silent.bookings(), news(&silent).await.len()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_rough_carrier_repeats_and_reorders_but_ends_every_delivery_one_way() {
    let (mut reordered, mut repeated, mut lost) = (0, 0, 0);
    for seed in 0..200 {
        let carrier = carrier(Behaviour::rough(seed));
        let booked = loop {
            match carrier.book(&booking(10)).await {
                Ok(_) => break true,
                Err(Error::Refused(_)) => break false,
                Err(Error::Timeout | Error::Unavailable(_)) => {}
            }
        };
        let heard: Vec<News> = news(&carrier).await.into_iter().map(|(news, _)| news).collect();
        let ended = |news: &News| heard.contains(news);
        let failed = News::Failed { reason: "lost".into() };
        assert_eq!(booked, ended(&News::Dispatched), "seed {seed}");
        assert_eq!(booked, ended(&News::Delivered) != ended(&failed), "seed {seed}");
        reordered += usize::from(heard.last() == Some(&News::Dispatched));
        repeated += usize::from(heard.len() > 2);
        lost += usize::from(ended(&failed));
    }
    assert!(reordered > 0 && repeated > 0 && lost > 0, "{reordered} {repeated} {lost}");
}

#[tokio::test(start_paused = true)]
async fn bookings_are_bounded_and_a_forgotten_one_keeps_its_tracking_number() {
    let carrier = carrier(Behaviour::calm(1));
    let tracking = carrier.book(&booking(0)).await;
    for key in 1..=BOOKINGS_MAX as u128 {
        carrier.book(&booking(key)).await.unwrap();
    }
    assert_eq!(carrier.bookings(), BOOKINGS_MAX);
    assert_eq!(carrier.book(&booking(0)).await, tracking);
    assert_eq!(carrier.bookings(), BOOKINGS_MAX);
}
