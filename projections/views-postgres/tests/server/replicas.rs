//! Queries on two real servers, of which one follows the other: it answers while it is far enough, and nobody waits for it.

use std::{path::Path, time::Duration};

use ports::{
    store::Position,
    views::{Direction, Key, Range, ViewStore},
};
use servers::{
    or_not_run,
    postgres::{Options, Postgres},
};
use tokio::time::{sleep, timeout};
use views_postgres::{Address, Limits, PostgresViews};

use crate::{SOON, commit, with};

/// A primary and its replica, a database on both, and limits by which a replica is soon asked again.
struct Scene {
    primary: Postgres,
    replica: Postgres,
    database: String,
    limits: Limits,
}

impl Scene {
    fn new() -> Option<Self> {
        let primary = or_not_run(Postgres::start(Options { own: true, ..Options::default() }))?;
        let replica = or_not_run(primary.replica())?;
        let url = primary.fresh_database().unwrap();
        let database = Path::new(&url).file_name().unwrap().to_str().unwrap().to_owned();
        let short = Duration::from_millis(500);
        let limits = Limits { replica_max: short, replica_rest: short, ..Limits::default() };
        Some(Self { primary, replica, database, limits })
    }

    /// A process that folds.
    async fn writer(&self) -> PostgresViews {
        PostgresViews::connect(self.primary.url(&self.database), &self.limits).await.unwrap()
    }

    /// A process that asks the replica, too.
    async fn reader(&self) -> PostgresViews {
        let replicas = [Address::from(self.replica.url(&self.database))];
        PostgresViews::with_replicas(self.primary.url(&self.database), &replicas, &self.limits).await.unwrap()
    }

    /// The replica goes on hearing and stops doing, or does it all.
    fn replays(&self, replays: bool) {
        let sql = format!("SELECT pg_wal_replay_{}()", if replays { "resume" } else { "pause" });
        with(&self.replica.url("postgres"), |client| client.batch_execute(&sql).unwrap());
    }

    /// Waits until the replica has what the primary has.
    fn follows(&self) {
        let end: String = with(&self.primary.url("postgres"), |client| {
            // Whatever was committed without being synced is on its way after this.
            client.batch_execute("CHECKPOINT").unwrap();
            client.query_one("SELECT pg_current_wal_flush_lsn()::text", &[]).unwrap().get(0)
        });
        let there = "SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn";
        let follows = || with(&self.replica.url("postgres"), |client| client.query_one(there, &[&end]).unwrap().get(0));
        assert!(servers::ready(SOON, follows), "the replica follows");
    }
}

/// What the first row says, by its key and by its index: two questions, which two servers may answer.
async fn answers(views: &PostgresViews) -> [String; 2] {
    let text = |row: Option<&[u8]>| row.map_or_else(String::new, |row| String::from_utf8(row.to_vec()).unwrap());
    let row = views.get_many("v.1", &[0_u32.to_be_bytes().to_vec()]).await.unwrap().remove(0);
    let (from, to, after) = (Key::new(), Key::new(), Key::new());
    let (index, direction) = (Some("by-text"), Direction::Backward);
    let range = Range { view: "v.1".to_owned(), index, from, to, after, direction, limit: 1 };
    let found = views.range(range).await.unwrap();
    [text(row.as_deref()), text(found.first().map(|entry| &*entry.row))]
}

/// What it says, while nothing changes who answers.
async fn says(views: &PostgresViews) -> String {
    let [by_key, by_index] = answers(views).await;
    assert_eq!(by_key, by_index);
    by_key
}

/// Asks until it says so.
async fn comes_to_say(views: &PostgresViews, text: &str) {
    let said = async {
        while answers(views).await != [text, text] {
            sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(SOON, said).await.is_ok(), "it never says {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_replica_answers_unless_it_would_take_back_what_was_said() {
    let Some(scene) = tokio::task::block_in_place(Scene::new) else { return };
    let (writer, reader) = (scene.writer().await, scene.reader().await);
    writer.commit(vec![commit("v.1", 0, 0..9, "first", None)]).await.unwrap();
    scene.follows();
    comes_to_say(&reader, "first").await;
    scene.replays(false);
    writer.commit(vec![commit("v.1", 1, 0..9, "second", Some("first"))]).await.unwrap();
    assert_eq!(says(&writer).await, "second");
    // Who has heard of nothing newer is answered by the replica.
    comes_to_say(&reader, "first").await;
    // Now this process has said that the view stands further.
    assert_eq!(reader.position("v.1").await.unwrap(), Position(2));
    for _ in 0..20 {
        assert_eq!(says(&reader).await, "second", "the primary answers what the replica does not have yet");
    }
    // What it has committed itself counts as said.
    let both = scene.reader().await;
    both.commit(vec![commit("v.1", 2, 0..9, "third", Some("second"))]).await.unwrap();
    for _ in 0..20 {
        assert_eq!(says(&both).await, "third");
    }
    scene.replays(true);
    scene.follows();
    // It has caught up: of what is said now it alone hears nothing.
    comes_to_say(&both, "third").await;
    scene.replays(false);
    writer.commit(vec![commit("v.1", 3, 0..9, "fourth", Some("third"))]).await.unwrap();
    comes_to_say(&both, "third").await;
}

/// Who folds must not take up the old rows where they left off.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_replica_does_not_answer_for_a_view_that_was_replaced_by_one_as_far() {
    let Some(scene) = tokio::task::block_in_place(Scene::new) else { return };
    let (writer, reader) = (scene.writer().await, scene.reader().await);
    writer.commit(vec![commit("v.1", 0, 0..9, "old", None)]).await.unwrap();
    assert_eq!(reader.position("v.1").await.unwrap(), Position(1));
    scene.follows();
    comes_to_say(&reader, "old").await;
    scene.replays(false);
    writer.commit(vec![commit("v.1.rebuilt", 0, 0..9, "new", None)]).await.unwrap();
    writer.replace("v.1", "v.1.rebuilt").await.unwrap();
    assert_eq!(reader.position("v.1").await.unwrap(), Position(1));
    for _ in 0..20 {
        assert_eq!(says(&reader).await, "new");
    }
    scene.replays(true);
    scene.follows();
    comes_to_say(&reader, "new").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_waits_long_for_a_replica_that_says_nothing_and_it_comes_back() {
    let Some(mut scene) = tokio::task::block_in_place(Scene::new) else { return };
    let (writer, reader) = (scene.writer().await, scene.reader().await);
    writer.commit(vec![commit("v.1", 0, 0..9, "first", None)]).await.unwrap();
    scene.follows();
    comes_to_say(&reader, "first").await;
    scene.replica.freeze();
    for _ in 0..20 {
        assert_eq!(timeout(SOON, says(&reader)).await.expect("the primary answers"), "first");
    }
    scene.replica.thaw();
    tokio::task::block_in_place(|| scene.replica.restart(true)).unwrap();
    scene.follows();
    scene.replays(false);
    writer.commit(vec![commit("v.1", 1, 0..9, "second", Some("first"))]).await.unwrap();
    // After its rest.
    comes_to_say(&reader, "first").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_dropped_view_is_not_remembered() {
    let Some(scene) = tokio::task::block_in_place(Scene::new) else { return };
    let reader = scene.reader().await;
    reader.commit(vec![commit("v.1", 0, 0..9, "first", None)]).await.unwrap();
    scene.follows();
    comes_to_say(&reader, "first").await;
    // One that has never said anything of the view drops it.
    let other = scene.reader().await;
    scene.replays(false);
    other.drop_view("v.1").await.unwrap();
    for _ in 0..20 {
        assert_eq!(says(&other).await, "", "the replica still has it");
    }
    assert_eq!(reader.position("v.1").await.unwrap(), Position::START);
    assert_eq!(says(&reader).await, "");
    reader.commit(vec![commit("v.1", 0, 0..9, "again", None)]).await.unwrap();
    for _ in 0..20 {
        assert_eq!(says(&reader).await, "again");
    }
    assert_eq!(other.position("v.1").await.unwrap(), Position(1));
    scene.replays(true);
    scene.follows();
    comes_to_say(&other, "again").await;
}
