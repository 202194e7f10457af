//! The house rules as a test: which crate may use which, what every file begins with, how long files and functions
//! may be, and which words never belong here.
#![expect(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// The longest file, in lines; tests tell stories and may be longer.
const FILE_LINES_MAX: usize = 520;
const TEST_FILE_LINES_MAX: usize = 620;
/// The longest function, in lines from its `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 80;
const TEST_FUNCTION_LINES_MAX: usize = 110;

/// Which of our crates each of our crates may use. Anything else is a new arrow, and a new architecture.
const ARROWS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("ports", &[]),
    ("proto", &[]),
    ("commands", &["domain", "ports"]),
    ("projections", &["domain", "ports"]),
    ("store-sqlite", &["ports"]),
    ("ports-postgres", &["ports"]),
    ("store-postgres", &["ports", "ports-postgres"]),
    ("store-eventstoredb", &["ports"]),
    ("bus-nats", &["ports"]),
    ("sandbox", &["ports"]),
    ("views-sqlite", &["ports"]),
    ("views-postgres", &["ports", "ports-postgres"]),
    ("esdb-wire", &["ports"]),
    ("servers", &[]),
];
/// What their tests may use besides: servers, and of our own crates a log that lasts, so that what is tried is tried on
/// a real one.
const TEST_ARROWS: &[(&str, &[&str])] = &[
    ("bus-nats", &["commands", "servers", "store-sqlite"]),
    ("ports-postgres", &["servers"]),
    ("store-eventstoredb", &["esdb-wire", "servers", "store-postgres", "store-sqlite"]),
    ("store-postgres", &["servers"]),
    ("esdb-wire", &["servers", "store-postgres", "store-sqlite"]),
    ("views-postgres", &["servers"]),
];
/// Crates at the rim, which may use everything.
const RIM: &[&str] = &["gateway", "tests"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if entry.is_dir() {
                if name != "target" && name != "third_party" && !name.starts_with('.') {
                    walk(&entry, found);
                }
            } else if name.ends_with(".rs") {
                let text = fs::read_to_string(&entry).expect("a source file");
                found.push((entry, text));
            }
        }
    }
    let mut found = Vec::new();
    for top in ["domain", "commands", "projections", "proto", "gateway", "tests"] {
        walk(&root().join(top), &mut found);
    }
    assert!(found.len() > 50, "only {} files: the walk is broken", found.len());
    found
}

fn complain(what: &str, complaints: &[String]) {
    assert!(complaints.is_empty(), "{what}:\n  {}", complaints.join("\n  "));
}

#[test]
fn only_the_allowed_arrows_exist_between_our_crates() {
    let metadata = MetadataCommand::new().current_dir(root()).no_deps().exec().expect("cargo metadata");
    let ours: BTreeSet<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let in_tests: BTreeMap<&str, &[&str]> = TEST_ARROWS.iter().copied().collect();
    let mut complaints = Vec::new();
    for package in metadata.packages.iter().filter(|package| !RIM.contains(&package.name.as_str())) {
        let Some(allowed) = allowed.get(package.name.as_str()) else {
            complaints.push(format!("{} has no place in the architecture", package.name));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|dependency| ours.contains(dependency.name.as_str())) {
            let name = dependency.name.as_str();
            let test = dependency.kind == DependencyKind::Development;
            let also = if test { in_tests.get(package.name.as_str()).copied().unwrap_or_default() } else { &[] };
            if !allowed.contains(&name) && !also.contains(&name) {
                let who = if test { "'s tests" } else { "" };
                complaints.push(format!("{}{who} must not use {name}", package.name));
            }
        }
    }
    complain("forbidden arrows", &complaints);
}

#[test]
fn dependencies_are_named_once_each_with_a_reason() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the manifest");
    let table = manifest.split("[workspace.dependencies]").nth(1).expect("the table");
    let table = table.split("\n[").next().expect("its end");
    let bare = |line: &&str| line.contains('=') && !line.contains("path =") && !line.contains('#');
    let complaints: Vec<String> = table.lines().filter(bare).map(str::to_owned).collect();
    complain("dependencies without a reason", &complaints);

    let metadata = MetadataCommand::new().current_dir(root()).no_deps().exec().expect("cargo metadata");
    let mut complaints = Vec::new();
    for package in &metadata.packages {
        let text = fs::read_to_string(&package.manifest_path).expect("a manifest");
        let versions = text.lines().filter(|line| {
            let in_place = line.contains("version = \"")
                || line.split_once(" = \"").is_some_and(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit()));
            in_place && !line.contains("workspace")
        });
        complaints.extend(versions.map(|line| format!("{}: {line}", package.name)));
    }
    complain("versions outside the workspace table", &complaints);
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = sources().into_iter().filter(|(_, text)| !text.starts_with("//!"));
    complain(
        "files that do not begin with //!",
        &silent.map(|(path, _)| path.display().to_string()).collect::<Vec<_>>(),
    );
}

#[test]
fn files_and_functions_stay_short() {
    let mut complaints = Vec::new();
    for (path, text) in sources() {
        let tests = path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs");
        let limit = if tests { TEST_FILE_LINES_MAX } else { FILE_LINES_MAX };
        // What a file's own tests take is not counted against its rules.
        let body = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or(&text);
        let lines = body.lines().count();
        if lines > limit {
            complaints.push(format!("{} has {lines} lines", path.display()));
        }
        for (name, lines) in functions(&text) {
            if lines > if tests { TEST_FUNCTION_LINES_MAX } else { FUNCTION_LINES_MAX } {
                complaints.push(format!("{}: fn {name} has {lines} lines", path.display()));
            }
        }
    }
    complain("too long", &complaints);
}

/// Name and length of each function of a formatted file.
fn functions(text: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let mut open: Option<(String, usize, usize)> = None;
    for (number, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        match &open {
            Some((name, start, depth)) if indent == *depth && line.trim_start().starts_with('}') => {
                found.push((name.clone(), number - start + 1));
                open = None;
            }
            Some(_) => {}
            None => {
                let words = line.trim_start().split("fn ").collect::<Vec<_>>();
                let prefix = words[0];
                let is_fn = words.len() > 1
                    && prefix
                        .split_whitespace()
                        .all(|word| matches!(word, "pub" | "async" | "const") || word.starts_with("pub("));
                if is_fn && !line.trim_end().ends_with(['}', ';']) {
                    let name = words[1].split(['(', '<']).next().unwrap_or_default();
                    open = Some((name.to_owned(), number, indent));
                }
            }
        }
    }
    found
}

#[test]
fn some_words_never_belong_here() {
    // Split so that this list does not find itself.
    let never = [
        ["TO", "DO"],
        ["FIX", "ME"],
        ["unimpl", "emented!("],
        ["to", "do!("],
        ["#[ig", "nore"],
        ["dbg", "!("],
        ["mod", ".rs"],
    ]
    .map(|parts| parts.concat());
    let mut complaints = Vec::new();
    for (path, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            complaints.extend(
                never
                    .iter()
                    .filter(|word| line.contains(*word))
                    .map(|word| format!("{}:{}: {word}", path.display(), number + 1)),
            );
            let bare = line.trim_start().starts_with("#[allow(") || line.trim_start().starts_with("#![allow(");
            if bare && !line.contains("reason") {
                complaints.push(format!("{}:{}: a lint silenced without a reason", path.display(), number + 1));
            }
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if ["utils.rs", "helpers.rs", "misc.rs"].contains(&name.as_ref()) {
            complaints.push(format!("{}: a name that says nothing", path.display()));
        }
    }
    complain("forbidden", &complaints);
}

#[test]
fn the_top_level_holds_nothing_but_the_house() {
    let allowed = [
        "Cargo.toml",
        "Cargo.lock",
        "LICENSE",
        "README.md",
        "domain",
        "commands",
        "projections",
        "proto",
        "gateway",
        "tests",
        "docker",
        "target",
    ];
    let strangers = fs::read_dir(root()).expect("the top level").filter_map(|entry| {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        (!name.starts_with('.') && !allowed.contains(&name.as_str())).then_some(name)
    });
    complain("visible at the top level", &strangers.collect::<Vec<_>>());
}
