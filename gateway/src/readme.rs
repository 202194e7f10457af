//! The README's tables of the API are the registry's and the policies' own: who reads them reads what the code does.
//!
//! Renew them with `ACCEPT_TABLES=1 cargo test -p gateway --lib readme`, and read the difference.

use std::{env, fs, ops::Range};

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");

/// Where in `text` the table stands that has this head: its lines up to the first that is none of a table's.
fn place(text: &str, table: &str) -> Range<usize> {
    let head = table.split_inclusive('\n').next().expect("a table has a head");
    let start = text.find(head).unwrap_or_else(|| panic!("README.md has no table with the head {head}"));
    let len: usize = text[start..].split_inclusive('\n').take_while(|line| line.starts_with('|')).map(str::len).sum();
    start..start + len
}

#[test]
fn the_readme_has_the_tables_of_reasons_and_of_roles() {
    let mut readme = fs::read_to_string(README).expect("the workspace has a README.md");
    for table in [crate::error::markdown(), crate::policy::markdown()] {
        let place = place(&readme, &table);
        if env::var_os("ACCEPT_TABLES").is_some() {
            readme.replace_range(place, &table);
            fs::write(README, &readme).expect("it can be written");
        } else {
            let renew = "README.md is out of date: ACCEPT_TABLES=1 cargo test -p gateway --lib readme";
            assert_eq!(readme[place], *table, "{renew}");
        }
    }
}

#[test]
fn a_table_ends_where_its_rows_end() {
    let text = "before\n| a |\n|---|\n| x |\n\nafter | here\n";
    assert_eq!(&text[place(text, "| a |\n|---|\n| y |\n")], "| a |\n|---|\n| x |\n");
}
