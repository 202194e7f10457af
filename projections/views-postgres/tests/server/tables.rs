//! What the tables promise beyond the port: people can read them, a newer program's are left alone, views that are folded
//! side by side do not wait for each other, and a dropped one leaves nothing behind.

use ports::{
    store::Position,
    views::{Error, ViewCommit, ViewStore},
};
use tokio::task::JoinSet;
use views_postgres::{Limits, PostgresViews};

use crate::{commit, server, with};

#[tokio::test]
async fn people_read_a_view_under_its_name() {
    let Some(server) = server() else { return };
    let url = server.fresh_database().unwrap();
    let views = PostgresViews::connect(&url, &Limits::default()).await.unwrap();
    views.commit(vec![commit("orders.3", 0, 0..5, r#"{"state":"paid", "total":255}"#, None)]).await.unwrap();
    with(&url, |client| {
        let sql = "SELECT row ->> 'state', sum((row ->> 'total')::int) FROM cartulary_views.\"orders.3\" GROUP BY 1";
        let row = client.query_one(sql, &[]).unwrap();
        assert_eq!((row.get::<_, &str>(0), row.get::<_, i64>(1)), ("paid", 1_275));
        let row = client.query_one("SELECT position FROM cartulary_views.views WHERE name = 'orders.3'", &[]).unwrap();
        assert_eq!(row.get::<_, i64>(0), 1);
    });
}

#[tokio::test]
async fn a_dropped_view_leaves_nothing_behind() {
    let Some(server) = server() else { return };
    let url = server.fresh_database().unwrap();
    let views = PostgresViews::connect(&url, &Limits::default()).await.unwrap();
    let tables = || {
        let sql = "SELECT FROM pg_class WHERE relnamespace = 'cartulary_views'::regnamespace";
        with(&url, |client| client.query(sql, &[]).unwrap().len())
    };
    let before = tables();
    views.commit(vec![commit("odd\"; name", 0, 0..5, "1", None)]).await.unwrap();
    assert!(tables() > before);
    views.drop_view("odd\"; name").await.unwrap();
    assert_eq!(tables(), before);
    let refused = views.commit(vec![commit(&"n".repeat(60), 0, 0..5, "1", None)]).await;
    assert!(matches!(refused, Err(Error::Failed(_))), "a name that would be cut off is refused: {refused:?}");
}

#[tokio::test]
async fn a_newer_or_foreign_schema_is_refused_and_left_alone() {
    let Some(server) = server() else { return };
    let url = server.fresh_database().unwrap();
    drop(PostgresViews::connect(&url, &Limits::default()).await.unwrap());
    with(&url, |client| client.batch_execute("INSERT INTO cartulary_views.migrations(version) VALUES (99)").unwrap());
    let newer = PostgresViews::connect(&url, &Limits::default()).await.unwrap_err();
    assert!(matches!(newer, views_postgres::Error::Newer { found: 99, .. }), "{newer:?}");
    let url = server.fresh_database().unwrap();
    with(&url, |client| client.batch_execute("CREATE SCHEMA cartulary_views").unwrap());
    let foreign = PostgresViews::connect(&url, &Limits::default()).await.unwrap_err();
    assert!(matches!(foreign, views_postgres::Error::Foreign(_)), "{foreign:?}");
}

#[tokio::test]
async fn an_earlier_programs_tables_are_brought_forward_with_all_they_hold() {
    let Some(server) = server() else { return };
    let url = server.fresh_database().unwrap();
    let views = PostgresViews::connect(&url, &Limits::default()).await.unwrap();
    views.commit(vec![commit("v.1", 0, 0..5, "1", None), commit("w.1", 0, 0..5, "1", None)]).await.unwrap();
    let back = "ALTER TABLE cartulary_views.views DROP COLUMN edition;
                DELETE FROM cartulary_views.migrations WHERE version > 1";
    with(&url, |client| client.batch_execute(back).unwrap());
    let views = PostgresViews::connect(&url, &Limits::default()).await.unwrap();
    assert_eq!(views.position("v.1").await.unwrap(), Position(1));
    views.commit(vec![commit("v.1", 1, 0..5, "2", Some("1")), commit("w.1", 1, 0..5, "2", Some("1"))]).await.unwrap();
}

#[tokio::test]
async fn what_people_were_given_stays_theirs_when_a_view_is_replaced() {
    let Some(server) = server() else { return };
    let url = server.fresh_database().unwrap();
    let views = PostgresViews::connect(&url, &Limits::default()).await.unwrap();
    views.commit(vec![commit("v.1", 0, 0..5, "1", None)]).await.unwrap();
    let tables = || {
        let sql = "SELECT relname::text FROM pg_class WHERE relnamespace = 'cartulary_views'::regnamespace \
                   AND relkind IN ('r', 'v') ORDER BY 1";
        with(&url, |client| client.query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect::<Vec<String>>())
    };
    let given = "CREATE VIEW report AS SELECT sum(row::text::int) AS sum FROM cartulary_views.\"v.1\";
                 GRANT SELECT ON cartulary_views.\"v.1\" TO public";
    with(&url, |client| client.batch_execute(given).unwrap());
    let before = tables();
    for (edition, sum) in [(1, "2"), (2, "3")] {
        views
            .commit(vec![ViewCommit { to: Position(edition), ..commit("v.1.rebuilt", 0, 0..7, sum, None) }])
            .await
            .unwrap();
        views.replace("v.1", "v.1.rebuilt").await.unwrap();
        let read = "SELECT sum::text, has_table_privilege('public', 'cartulary_views.\"v.1\"', 'SELECT') FROM report";
        let row = with(&url, |client| client.query_one(read, &[]).unwrap());
        assert_eq!((row.get(0), row.get(1)), ((7 * sum.parse::<i32>().unwrap()).to_string().as_str(), true));
        assert_eq!(tables(), before);
    }
}

/// Sixteen workers, each with its own view, on databases that all of them find empty; and commits of two views in both
/// orders, which must not wait for each other in a circle.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn workers_of_several_processes_fold_side_by_side() {
    let Some(server) = server() else { return };
    let url = server.fresh_database().unwrap();
    let mut workers = JoinSet::new();
    for worker in 0..8 {
        let url = url.clone();
        workers.spawn(async move {
            let views = PostgresViews::connect(&url, &Limits::default()).await.unwrap();
            let own = format!("own-{worker}.1");
            let mut shared = 0;
            for n in 0..10 {
                views.commit(vec![commit(&own, n, 0..50, "1", None)]).await.unwrap();
                // The two views that all share, now in one order, now in the other.
                let mut both = vec![commit("a.1", shared, 0..9, "1", None), commit("b.1", shared, 0..9, "1", None)];
                if worker % 2 == 0 {
                    both.reverse();
                }
                match views.commit(both).await {
                    Ok(()) => shared += 1,
                    Err(Error::Moved { actual, .. }) => shared = actual.0,
                    Err(Error::Unavailable(why) | Error::Failed(why)) => panic!("nothing is in its way: {why}"),
                }
            }
            views.position(&own).await.unwrap()
        });
    }
    assert!(workers.join_all().await.iter().all(|stands| *stands == Position(10)));
    let views = PostgresViews::connect(&url, &Limits::default()).await.unwrap();
    let (a, b) = (views.position("a.1").await.unwrap(), views.position("b.1").await.unwrap());
    assert!(a == b && a.0 >= 10, "both moved together: {a} and {b}");
}
