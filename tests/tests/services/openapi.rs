//! The JSON twin against its own description: schemathesis reads `/openapi.json`, makes requests of it, good and bad, and
//! holds every answer against what is said there.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use domain::ids::MemberId;
use proto::v1::Role;
use servers::{or_not_run, python};
use tests::{say, shop::TestShop};

/// The tool, and all that it stands on.
const TOOL: &str = "schemathesis";
const PACKAGES: [&str; 27] = [
    "schemathesis==4.32.5",
    "anyio==4.16.0",
    "certifi==2026.10.18",
    "charset-normalizer==3.5.2",
    "click==8.5.1",
    "graphql-core==3.3.2",
    "harfile==0.6.0",
    "hypothesis==6.170.15",
    "hypothesis-graphql==0.13.5",
    "idna==3.20",
    "iniconfig==2.3.1",
    "jsonschema_rs==0.60.3",
    "markdown-it-py==4.3.0",
    "MarkupSafe==3.0.4",
    "mdurl==0.1.2",
    "packaging==26.3",
    "pluggy==1.7.0",
    "Pygments==2.21.0",
    "pyrate-limiter==4.5.1",
    "pytest==9.2.0",
    "PyYAML==6.0.3",
    "requests==2.34.2",
    "rich==15.0.0",
    "sortedcontainers==2.4.0",
    "typing_extensions==4.16.0",
    "urllib3==2.8.0",
    "Werkzeug==3.1.9",
];
/// What an answer must not be: a failure of the shop's, one that nobody described, or of another shape.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";
/// Requests that are made up for each method, beside those at the edges of its schema.
const EXAMPLES: &str = "10";
const EVERYBODY: [Role; 5] = [Role::Buyer, Role::Seller, Role::Partner, Role::Analyst, Role::Operator];

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_sent_is_answered_as_the_description_says() {
    let Some(packages) = or_not_run(tokio::task::block_in_place(|| python::program(TOOL, &PACKAGES))) else { return };
    // Who is not told to stop follows for as long as they may.
    let shop = TestShop::open_with(|config| config.shop.stream_life = Duration::from_millis(300)).await;
    let mut operator = shop.operator().await;
    say::stock(&mut operator, "mug", 255, 10).await;
    let token = shop.token(MemberId::from_u128(7), &EVERYBODY);
    let mut tool = Command::new("python3");
    tool.args(["-c", "from schemathesis.cli import schemathesis; schemathesis()", "run"])
        .arg(format!("http://{}/openapi.json", shop.addr()))
        .args(["--header", &format!("Authorization: Bearer {token}"), "--checks", CHECKS])
        .args(["--max-examples", EXAMPLES, "--seed", "1", "--request-timeout", "30"])
        .args(["--suppress-health-check", "all", "--no-color"])
        // What it remembers of an earlier run stays in a folder of this one.
        .current_dir(shop.folder())
        .env("PYTHONPATH", packages)
        .stdin(Stdio::null());
    let output = tokio::task::block_in_place(|| tool.output()).expect("python3 runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let methods = proto::POLICIES.len();
    assert!(said.contains(&format!("Tested: {methods}")), "every method is tried: {said}");
}
