//! The command line as people meet it: the real program in its own process, its exit codes, and every line that the demo
//! prints to be tried.
#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use proto::v1::{self, catalog_service_client::CatalogServiceClient};
use serde_json::Value;
use tests::victim::{self, Victim};

/// How often something is asked that a view may not show yet, and how long between two tries.
const TRIES: usize = 300;
const PAUSE: Duration = Duration::from_millis(100);
/// What `curl` is told by its own file, so that the lines stay as they were printed: the status behind the body, no proxy
/// before the loopback, and an end.
const CURLRC: &str = "silent\nshow-error\nwrite-out = \"\\n%{http_code}\"\nnoproxy = \"*\"\nmax-time = 120\n";

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_opens_what_it_prints_works_and_it_takes_an_import_and_a_bench() {
    let place = tempfile::tempdir().expect("a folder");
    let shop = Victim::demo(&place.path().join("demo")).expect("the demo opens");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    assert_eq!(shop.said["loaded"]["complete"], Value::Bool(true), "{}", shop.said["loaded"]);
    let token = text(&shop.said["token"]);
    let lines: Vec<String> =
        shop.said["try"].as_array().expect("lines to try").iter().map(|line| text(&line["line"])).collect();
    let of = |program: &str| lines.iter().filter(|line| line.starts_with(program)).cloned().collect::<Vec<_>>();
    let (curls, grpcurls) = (of("curl "), of("grpcurl "));
    assert_eq!((curls.len(), grpcurls.len()), (5, 1), "{lines:#?}");
    if has("curl") {
        tried(place.path(), &curls).await;
    } else {
        not_run("curl is missing, so the demo's lines for it were not tried");
    }
    over_grpc(&grpcurls[0]).await;

    let endpoint = format!("http://{}", shop.addr);
    let extract = concat!(env!("CARGO_MANIFEST_DIR"), "/../gateway/data/uci_extract.csv");
    let at = ["--endpoint", &endpoint, "--token", &token, "--json"];
    let report = said(&[&["import", "--orders", extract], &at[..]].concat());
    assert_eq!((report["complete"].as_bool(), report["rows"].as_u64()), (Some(true), Some(2_974)), "{report}");
    let bound = ["--seconds", "1", "--callers", "4", "--skus", "3"];
    let outcome = said(&[&["bench"], &bound[..], &at[..]].concat());
    assert!(outcome["orders"].as_u64() > Some(0) && outcome["p99_ms"].as_f64() > Some(0.0), "{outcome}");
    shop.stop();
}

#[test]
fn what_is_wrong_on_the_command_line_is_2_and_what_goes_wrong_later_is_1() {
    let place = tempfile::tempdir().expect("a folder");
    let data = place.path().join("shop").display().to_string();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("its address").to_string();
    let config = place.path().join("wrong.toml");
    fs::write(&config, "[postgres]\nulr = 'x'\n").expect("written");
    let config = config.display().to_string();
    for (code, args, why) in [
        (2, &["demo", "--nonsense"][..], "--nonsense"),
        (2, &["sell"], "sell"),
        (2, &["demo", "--set", "limits.in_flight=1"], "in_flight"),
        (2, &["demo", "--rate", "5000"], "--rate"),
        (2, &["serve", "--config", &config], "ulr"),
        (2, &["bench", "--token", "x", "--seconds", "0"], "--seconds"),
        (1, &["demo", "--once", "--listen", &taken], &taken),
        (1, &["serve", "--listen", &taken], &taken),
    ] {
        let data = if ["demo", "serve"].contains(&args[0]) { &["--data", &data][..] } else { &[] };
        let output = run(victim::command().args(args).args(data));
        told(&output, code, why, args);
    }
    let orders = place.path().join("none.csv").display().to_string();
    for (args, why) in [
        (&["import", "--token", "x", "--orders", &orders][..], "none.csv"),
        (&["bench", "--token", "x", "--endpoint", "http://127.0.0.1:1"], "no shop answers"),
    ] {
        told(&run(victim::command().args(args)), 1, why, args);
    }
    let nowhere = place.path().join("nowhere").display().to_string();
    let elsewhere = place.path().join("elsewhere").display().to_string();
    let empty = tempfile::tempdir().expect("a folder");
    let unused = empty.path().display().to_string();
    for args in [
        &["views", "rebuild", "--all", "--data", &unused][..],
        &["views", "rebuild", "--all", "--data", &nowhere],
        &["log", "copy", "--to-data", &elsewhere, "--data", &nowhere],
        &["token", "--role", "operator", "--data", &nowhere],
    ] {
        told(&run(victim::command().args(args)), 2, "there is no shop in", args);
        assert!(!Path::new(&nowhere).exists(), "a mistyped folder does not become a shop");
        assert_eq!(std::fs::read_dir(&unused).expect("a folder").count(), 0, "nor does an empty one");
    }
}

#[test]
fn a_shop_that_a_test_starts_knows_nothing_of_the_tests_own_variables() {
    // A process cannot change its own environment safely: this very test is the child that has the variables.
    const CHILD: &str = "CARTULARY_TEST_POSTGRES";
    const NAME: &str = "command_line::a_shop_that_a_test_starts_knows_nothing_of_the_tests_own_variables";
    let place = tempfile::tempdir().expect("a folder");
    if std::env::var_os(CHILD).is_some_and(|url| url == "nowhere") {
        let refused = run(Command::new(victim::binary()).args(["config", "show"]));
        told(&refused, 2, "CARTULARY_", &["config", "show"]);
        let shop = Victim::start(place.path(), None).expect("it opens all the same");
        shop.stop();
        return;
    }
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    child.args(["--exact", NAME, "--nocapture"]);
    child.env(CHILD, "nowhere").env("CARTULARY_TEST_NATS", "nowhere").env("CARTULARY_UCI", "nowhere");
    let output = run(&mut child);
    let heard = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && heard.contains("1 passed"),
        "{heard}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Tries the lines for `curl`, in the order in which they are printed.
async fn tried(place: &Path, lines: &[String]) {
    fs::write(place.join(".curlrc"), CURLRC).expect("written");
    let [catalogue, order, became, watch, sales] = lines else { unreachable!("they were counted") };
    let seen = until(place, catalogue, |_| true).await;
    assert_eq!(seen["products"].as_array().map(Vec::len), Some(3), "{seen}");
    let placed = until(place, order, |_| true).await;
    assert_eq!(until(place, order, |_| true).await, placed, "it is placed once");
    let seen = until(place, became, |_| true).await;
    assert_eq!(seen["orderId"], placed["orderId"], "{seen}");
    let step = first_line(place, watch);
    assert!(step.contains("available"), "not the stock: {step}");
    until(place, sales, |seen| seen["sales"].as_array().is_some_and(|sales| !sales.is_empty())).await;
}

/// Asks until the answer is 200 and as wanted; a view may not be there yet.
async fn until(place: &Path, line: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
    let mut heard = String::new();
    for _ in 0..TRIES {
        let output = run(&mut shell(place, line));
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        heard = String::from_utf8(output.stdout).expect("text");
        let (body, status) = heard.rsplit_once('\n').expect("a body and a status");
        if status == "200" {
            let body = serde_json::from_str(body).expect("JSON");
            if is_wanted(&body) {
                return body;
            }
        } else {
            assert_eq!(status, "404", "{line}: {body}");
        }
        tokio::time::sleep(PAUSE).await;
    }
    panic!("{line} never became what it should: {heard}");
}

/// The first line of an answer that has no end.
fn first_line(place: &Path, line: &str) -> String {
    struct Group(Child);
    impl Drop for Group {
        fn drop(&mut self) {
            let leader = rustix::process::Pid::from_child(&self.0);
            let _gone = rustix::process::kill_process_group(leader, rustix::process::Signal::KILL);
            let _waited = self.0.wait();
        }
    }
    let mut group = Group(shell(place, line).stdout(Stdio::piped()).process_group(0).spawn().expect("a shell"));
    let mut first = String::new();
    BufReader::new(group.0.stdout.take().expect("its output")).read_line(&mut first).expect("text");
    first
}

/// The line for `grpcurl`: by itself where that is installed, else what it says is done by a client of ours.
async fn over_grpc(line: &str) {
    if has("grpcurl") {
        let output = run(&mut shell(Path::new("/"), line));
        let seen: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(seen["products"].as_array().map(Vec::len), Some(3), "{seen}");
        return;
    }
    let (words, method) = line.rsplit_once(' ').expect("words");
    let (words, addr) = words.rsplit_once(' ').expect("words");
    let body = words.strip_prefix("grpcurl -plaintext -d '").and_then(|rest| rest.strip_suffix('\'')).expect("a body");
    let body: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(method, "cartulary.v1.CatalogService/ListProducts");
    let page_size = body["page_size"].as_u64().and_then(|size| size.try_into().ok()).expect("a size");
    let mut client = CatalogServiceClient::connect(format!("http://{addr}")).await.expect("it is open");
    let asked = v1::ListProductsRequest { page_size, ..Default::default() };
    let page = client.list_products(asked).await.expect("a page, without a token").into_inner();
    assert_eq!(page.products.len(), 3);
}

/// A line as somebody would type it.
fn shell(place: &Path, line: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).env("CURL_HOME", place).stdin(Stdio::null()).stderr(Stdio::piped());
    shell
}

fn has(program: &str) -> bool {
    run(Command::new("sh").args(["-c", &format!("command -v {program}")])).status.success()
}

fn run(command: &mut Command) -> Output {
    command.output().expect("it runs")
}

/// What a command of ours says, when all went well.
fn said(args: &[&str]) -> Value {
    let output = run(victim::command().args(args));
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("a line of JSON")
}

/// It ended with this code, and said why.
fn told(output: &Output, code: i32, why: &str, args: &[&str]) {
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {words}");
    assert!(words.contains(why), "{args:?} does not say {why}: {words}");
}

fn not_run(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "NOT RUN: {why}");
    eprintln!("NOT RUN: {why}");
}
