//! The one table that all views share, and the tables of each view.

use ports_postgres::{Schema, Transaction, Trouble};

use crate::names::Names;

/// What all views share.
pub const SCHEMA: Schema = Schema {
    name: "cartulary_views",
    steps: &[
        "
    CREATE TABLE cartulary_views.views(name text COLLATE \"C\" PRIMARY KEY, position bigint NOT NULL);
    COMMENT ON TABLE cartulary_views.views IS 'How far in the log each view is folded; <view>.<version of its fold>';
        ",
        "
    ALTER TABLE cartulary_views.views ADD COLUMN edition bigint GENERATED ALWAYS AS IDENTITY;
    COMMENT ON COLUMN cartulary_views.views.edition IS 'Another number after the view was replaced by a rebuilt one';
        ",
    ],
    lock: 4_846_791_580_151_137_097,
};

/// Makes the tables of a view. A row is text, not jsonb, because its bytes come back as they were written.
pub async fn make(transaction: &Transaction<'_>, names: &Names) -> Result<(), Trouble> {
    let Names { rows, entries, people } = names;
    let tables = format!(
        "CREATE TABLE {rows}(key bytea PRIMARY KEY, row text NOT NULL);
         CREATE TABLE {entries}(index text COLLATE \"C\", index_key bytea, key bytea, PRIMARY KEY (index, index_key, key));
         CREATE VIEW {people} AS SELECT key, row::jsonb AS row FROM {rows};
         COMMENT ON VIEW {people} IS 'The rows of this view, for people';"
    );
    Ok(transaction.batch_execute(&tables).await?)
}

/// Puts the tables of one view in the place of another's. What people see keeps its rights, and what depends on it.
pub async fn replace(transaction: &Transaction<'_>, names: &Names, with: &Names) -> Result<(), Trouble> {
    let Names { rows, entries, people } = names;
    let tables = format!(
        // Durable at once: whoever asked for it goes away when it is done. In the order in which readers come by the tables.
        "SET LOCAL synchronous_commit = on;
         LOCK TABLE {entries}, {rows} IN ACCESS EXCLUSIVE MODE;
         DROP VIEW {};
         CREATE OR REPLACE VIEW {people} AS SELECT key, row::jsonb AS row FROM {};
         DROP TABLE {entries}, {rows};
         ALTER TABLE {} RENAME TO {};
         ALTER TABLE {} RENAME TO {};",
        with.people,
        with.rows,
        with.entries,
        Names::within(entries),
        with.rows,
        Names::within(rows),
    );
    Ok(transaction.batch_execute(&tables).await?)
}

/// Removes the tables of a view, if they are there.
pub async fn remove(transaction: &Transaction<'_>, names: &Names) -> Result<(), Trouble> {
    let Names { rows, entries, people } = names;
    let tables = format!("DROP VIEW IF EXISTS {people}; DROP TABLE IF EXISTS {rows}, {entries};");
    Ok(transaction.batch_execute(&tables).await?)
}
