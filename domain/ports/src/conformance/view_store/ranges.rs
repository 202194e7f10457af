//! Ranges: order, bounds, directions, pages.

use super::{Harness, Views, commit, done, indexed, put, range, removed, whole};
use crate::views::{Direction, Entry, Key, Range, ViewStore};

/// Keys that are easily put into the wrong order: prefixes of each other, zeros, high bytes.
const KEYS: [&[u8]; 14] = [
    b"\x00",
    b"\x00\x00",
    b"\x00\x01",
    b"\x00\xff",
    b"\x01",
    b"a",
    b"a\x00",
    b"a\x00b",
    b"a\x01",
    b"aa",
    b"a\xff",
    b"b",
    b"\xff",
    b"\xff\xff",
];

/// Walks a range in pages of `page` entries.
async fn paged(views: &Views, all: &Range, page: usize) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let after = entries.last().map_or_else(Key::new, |entry| entry.at.clone());
        let more = range(views, Range { after, limit: page, ..all.clone() }).await;
        if more.is_empty() {
            return entries;
        }
        assert!(more.len() <= page, "a page has a limit");
        entries.extend(more);
        assert!(entries.len() < 1_000, "a walk comes to its end");
    }
}

/// Checks every pair of bounds in both directions, and the whole in pages of every size, against `ordered`:
/// (walked key, row).
async fn walks(views: &Views, index: Option<&'static str>, ordered: &[(Key, String)]) {
    let mut bounds: Vec<Key> = ordered.iter().map(|(key, _)| key.clone()).collect();
    bounds.extend([Key::new(), b"a\x00a".to_vec(), b"zz".to_vec(), b"\xff\xff\xff".to_vec()]);
    bounds.sort();
    bounds.dedup();
    for from in &bounds {
        for to in &bounds {
            let inside = |(key, _): &&(Key, String)| key >= from && (to.is_empty() || key < to);
            let mut expected: Vec<&str> = ordered.iter().filter(inside).map(|(_, row)| row.as_str()).collect();
            let pages = if from.is_empty() && to.is_empty() { 1..=ordered.len() + 1 } else { 7..=7 };
            for direction in [Direction::Forward, Direction::Backward] {
                let all = Range { from: from.clone(), to: to.clone(), direction, ..whole("walk.1", index) };
                for page in pages.clone().chain([usize::MAX]) {
                    let entries = paged(views, &all, page).await;
                    let found: Vec<_> = entries.iter().map(|entry| String::from_utf8_lossy(&entry.row)).collect();
                    assert_eq!(found, expected, "{direction:?} from {from:x?} to {to:x?} in pages of {page}");
                }
                expected.reverse();
            }
        }
    }
    assert_eq!(range(views, Range { limit: 0, ..whole("walk.1", index) }).await, [], "a page of nothing");
}

pub async fn rows_are_walked_in_the_order_of_their_bytes(harness: &dyn Harness<dyn ViewStore>) {
    let views = harness.open().await;
    let row = |key: &[u8]| format!("{key:?}");
    let changes = KEYS.iter().rev().map(|key| put(key, &row(key))).collect();
    let beside = KEYS.iter().map(|key| put(key, "another view's")).collect();
    done(&views, vec![commit("walk.1", 0, 1, changes), commit("beside.1", 0, 1, beside)]).await;
    let ordered: Vec<_> = KEYS.iter().map(|key| (key.to_vec(), row(key))).collect();
    walks(&views, None, &ordered).await;
    let views = harness.reopen(views).await;
    walks(&views, None, &ordered).await;
    let entries = range(&views, whole("walk.1", None)).await;
    assert!(entries.iter().map(|entry| entry.key.as_slice()).eq(KEYS), "an entry names its row");
}

pub async fn an_index_is_walked_in_the_order_of_its_bytes(harness: &dyn Harness<dyn ViewStore>) {
    let views = harness.open().await;
    // Several rows share each index key, and index key and row key together are ambiguous without a border.
    let mut ordered: Vec<(Key, Key)> = KEYS
        .iter()
        .flat_map(|index| [b"".as_slice(), b"\x00", b"b", b"\xff"].map(|row| (index.to_vec(), row.to_vec())))
        .collect();
    let row_key = |(index, row): &(Key, Key)| [row.as_slice(), b"|", index].concat();
    ordered.sort_by_key(|place| (place.0.clone(), row_key(place)));
    let row = |place: &(Key, Key)| format!("{place:?}");
    let changes = ordered.iter().rev().map(|place| {
        let mut change = indexed(&row_key(place), &row(place), &place.0);
        change.index.push(("other", b"x".to_vec()));
        change
    });
    done(&views, vec![commit("walk.1", 0, 1, changes.collect())]).await;
    let views = harness.reopen(views).await;
    let expected: Vec<_> = ordered.iter().map(|place| (place.0.clone(), row(place))).collect();
    walks(&views, Some("by-name"), &expected).await;
    let entries = range(&views, whole("walk.1", Some("by-name"))).await;
    assert!(entries.iter().map(|entry| &entry.key).eq(&ordered.iter().map(row_key).collect::<Vec<_>>()));
    let mut places: Vec<_> = entries.iter().map(|entry| &entry.at).collect();
    places.sort();
    places.dedup();
    assert_eq!(places.len(), ordered.len(), "a place is unique even where rows share an index key");
    assert_eq!(range(&views, whole("walk.1", Some("other"))).await.len(), ordered.len(), "indexes stand side by side");
    assert_eq!(range(&views, whole("walk.1", Some("unknown"))).await, []);
}

pub async fn an_entry_follows_its_row(harness: &dyn Harness<dyn ViewStore>) {
    let views = harness.open().await;
    let names = async |views: &Views| {
        let entries = range(views, whole("walk.1", Some("by-name"))).await;
        entries.iter().map(|entry| String::from_utf8_lossy(&entry.row).into_owned()).collect::<Vec<_>>()
    };
    let three = vec![indexed(b"a", "A", b"1"), indexed(b"b", "B", b"2"), indexed(b"c", "C", b"3")];
    done(&views, vec![commit("walk.1", 0, 1, three)]).await;
    assert_eq!(names(&views).await, ["A", "B", "C"]);

    let mut moved = indexed(b"a", "A moved", b"9");
    moved.unindex.push(("by-name", b"1".to_vec()));
    done(&views, vec![commit("walk.1", 1, 2, vec![moved, removed(b"b", b"2"), put(b"c", "C changed")])]).await;
    assert_eq!(names(&views).await, ["C changed", "A moved"], "an entry shows the row as it is now");

    let mut again = indexed(b"c", "C", b"3");
    again.unindex.push(("by-name", b"3".to_vec()));
    again.unindex.push(("by-name", b"never there".to_vec()));
    let renewed = vec![again, indexed(b"a", "A", b"9")];
    done(&views, vec![commit("walk.1", 2, 3, renewed)]).await;
    assert_eq!(names(&views).await, ["C", "A"], "an entry removed and added at once is there, and once");

    done(&views, vec![commit("walk.1", 3, 4, vec![indexed(b"b", "B again", b"5")])]).await;
    let views = harness.reopen(views).await;
    assert_eq!(names(&views).await, ["C", "B again", "A"], "a row that comes back has its new entries only");
}

pub async fn pages_go_on_where_rows_came_and_went(views: &Views) {
    let key = |n: u8| [b'k', n];
    let rows = (0..20).map(|n| indexed(&key(n), &n.to_string(), b"same")).collect();
    done(views, vec![commit("walk.1", 0, 1, rows)]).await;
    for index in [None, Some("by-name")] {
        let first = range(views, Range { limit: 5, ..whole("walk.1", index) }).await;
        let last = first.last().map(|entry| entry.at.clone()).unwrap_or_default();
        // The row on which the page ended is removed: the walk goes on behind where it was.
        let stands = views.position("walk.1").await.unwrap_or_default().0;
        done(views, vec![commit("walk.1", stands, stands + 1, vec![removed(&key(4), b"same")])]).await;
        let rest = range(views, Range { after: last, ..whole("walk.1", index) }).await;
        assert_eq!(rest.first().map(|entry| entry.key.clone()), Some(key(5).to_vec()));
        assert_eq!(rest.len(), 15);
        done(views, vec![commit("walk.1", stands + 1, stands + 2, vec![indexed(&key(4), "4", b"same")])]).await;
    }
    let nonsense = Range { after: vec![0xff; 3], ..whole("walk.1", Some("by-name")) };
    assert!(views.range(nonsense).await.is_err(), "a place that never was is a fault, not a crash");
}

pub async fn a_page_never_leaves_its_bounds(views: &Views) {
    let rows = (0..9).map(|n| indexed(&[b'k', n], &n.to_string(), &[b'i', n])).collect();
    done(views, vec![commit("walk.1", 0, 1, rows)]).await;
    for (index, first) in [(None, b'k'), (Some("by-name"), b'i')] {
        let places: Vec<Key> = range(views, whole("walk.1", index)).await.into_iter().map(|entry| entry.at).collect();
        let (from, to) = (vec![first, 3], vec![first, 6]);
        for (place, direction, expected) in [
            (0, Direction::Forward, &["3", "4", "5"][..]),
            (4, Direction::Forward, &["5"]),
            (8, Direction::Forward, &[]),
            (8, Direction::Backward, &["5", "4", "3"]),
            (4, Direction::Backward, &["3"]),
            (0, Direction::Backward, &[]),
        ] {
            let (from, to, after) = (from.clone(), to.clone(), places[place].clone());
            let entries = range(views, Range { from, to, after, direction, ..whole("walk.1", index) }).await;
            let found: Vec<_> = entries.iter().map(|entry| String::from_utf8_lossy(&entry.row)).collect();
            assert_eq!(found, expected, "{direction:?} behind entry {place} of index {index:?}");
        }
    }
}
