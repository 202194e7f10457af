//! A write that comes again: recognised by its event ids, before and after a restart.

use super::{Harness, Store, all, append, holds, id, write, written};
use crate::store::{Append, Appended, EventStore, Refused};

pub async fn a_repeated_append_is_answered_with_its_old_place(harness: &dyn Harness<dyn EventStore>) {
    let store = harness.open().await;
    let one = written(&store, append("thing-1", 0, [1])).await;
    let three = written(&store, append("thing-1", 1, [2, 3, 4])).await;
    written(&store, append("other-1", 0, [5])).await;
    let six = written(&store, append("thing-1", 4, [6])).await;
    let length = all(&store).await.len();
    let repeats = [
        ("the first", append("thing-1", 0, [1]), one),
        ("one that the stream has outgrown", append("thing-1", 1, [2, 3, 4]), three),
        ("one that expects the stream as it is", append("thing-1", 5, [2, 3, 4]), three),
        ("one that expects more than there is", append("thing-1", 99, [6]), six),
        ("a part of an append", append("thing-1", 1, [3, 4]), Appended { first_revision: 2, ..three }),
        ("several appends in one", append("thing-1", 0, [1, 2, 3, 4, 6]), Appended { first_revision: 0, ..six }),
    ];
    let check = async |store: &Store| {
        for (which, append, place) in repeats.clone() {
            let expected = Ok(Appended { fresh: false, ..place });
            assert_eq!(write(store, append).await, expected, "a repeat of {which}");
        }
        assert_eq!(all(store).await.len(), length, "a repeat writes nothing");
    };
    check(&store).await;
    let store = harness.reopen(store).await;
    check(&store).await;
    written(&store, append("thing-1", 5, [7])).await;
}

/// Tries refused appends, each beside a good one, before and after a restart.
async fn refuses(store: Store, harness: &dyn Harness<dyn EventStore>, cases: &[(&str, Append, u128)]) -> Store {
    let mut good = 0xF000;
    let mut check = async |store: &Store| {
        for (which, append, known) in cases {
            let (length, stream) = (all(store).await.len(), format!("good-{good}"));
            let batch = vec![self::append(&stream, 0, [good]), append.clone(), self::append(&stream, 1, [good + 1])];
            let answers = store.append(batch).await.unwrap_or_default();
            assert_eq!(answers.len(), 3, "{which}: a refusal is no failure");
            assert_eq!(answers[1], Err(Refused::Known { id: id(*known) }), "{which}");
            assert!(answers[0].is_ok() && answers[2].is_ok(), "{which}: the rest of the batch is not affected");
            assert_eq!(all(store).await.len(), length + 2, "{which}: a refused append writes nothing");
            holds(store, &stream, &[good, good + 1]).await;
            good += 2;
        }
    };
    check(&store).await;
    let store = harness.reopen(store).await;
    check(&store).await;
    store
}

pub async fn a_partly_known_append_is_refused(harness: &dyn Harness<dyn EventStore>) {
    let store = harness.open().await;
    written(&store, append("thing-1", 0, [1, 2, 3])).await;
    let cases = [
        ("the first is known", append("thing-1", 3, [3, 4]), 3),
        ("the last is known", append("thing-1", 3, [4, 5, 3]), 3),
        ("one between is known", append("thing-1", 3, [4, 2, 5, 1, 6]), 2),
        ("some are known and the expectation is stale", append("thing-1", 0, [1, 2, 3, 4]), 1),
        ("all are known, but not one behind the other", append("thing-1", 3, [1, 3]), 1),
        ("all are known, in another order", append("thing-1", 0, [2, 1]), 2),
    ];
    let store = refuses(store, harness, &cases).await;
    holds(&store, "thing-1", &[1, 2, 3]).await;
    written(&store, append("thing-1", 3, [4])).await;
}

pub async fn an_id_belongs_to_one_stream(harness: &dyn Harness<dyn EventStore>) {
    let store = harness.open().await;
    written(&store, append("thing-1", 0, [1, 2])).await;
    written(&store, append("other-1", 0, [3])).await;
    let cases = [
        ("known in another stream", append("other-1", 1, [1]), 1),
        ("known in another stream, at the same revision", append("other-1", 0, [1]), 1),
        ("known in another stream than a new one", append("new-1", 0, [1, 2]), 1),
        ("new ids before one that is known elsewhere", append("new-1", 0, [8, 9, 3]), 3),
        ("known in two streams", append("thing-1", 2, [2, 3]), 2),
    ];
    let store = refuses(store, harness, &cases).await;
    holds(&store, "new-1", &[]).await;
    written(&store, append("new-1", 0, [8])).await;
    holds(&store, "new-1", &[8]).await;
}

pub async fn an_id_occurs_once_in_an_append(harness: &dyn Harness<dyn EventStore>) {
    let store = harness.open().await;
    written(&store, append("thing-1", 0, [1])).await;
    let cases = [
        ("twice the same new id", append("thing-1", 1, [2, 2]), 2),
        ("the same new id later", append("thing-1", 1, [2, 3, 4, 3]), 3),
        ("twice the same new id in a new stream", append("new-1", 0, [5, 5]), 5),
        ("twice the same known id", append("thing-1", 1, [1, 1]), 1),
    ];
    let store = refuses(store, harness, &cases).await;
    holds(&store, "thing-1", &[1]).await;

    let batch = vec![append("thing-1", 1, [2]), append("thing-1", 1, [2]), append("new-1", 0, [2])];
    let answers = store.append(batch).await.unwrap_or_default();
    assert!(answers[0].as_ref().is_ok_and(|appended| appended.fresh));
    let again = answers[0].clone().map(|appended| Appended { fresh: false, ..appended });
    assert_eq!(answers[1], again, "a repeat within one batch is a repeat");
    assert_eq!(answers[2], Err(Refused::Known { id: id(2) }), "an id within one batch belongs to one stream");
    holds(&store, "thing-1", &[1, 2]).await;
    holds(&store, "new-1", &[]).await;
}
