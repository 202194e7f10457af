//! Unmodified clients in other languages, each with a script of its own beside this file.
//!
//! They are installed, with their versions pinned, into a folder beside the build's other temporary files. Where that cannot
//! be had the test prints NOT RUN and why, which fails where `CI` is set.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::{rust_client::lasting, server::Running};

const PYTHON: [&str; 7] = [
    "kurrentdbclient==1.3.5",
    "grpcio==1.85.1",
    "grpcio-status==1.85.1",
    "grpcio-tools==1.85.1",
    "googleapis-common-protos==1.76.0",
    "protobuf==7.36.2",
    "typing_extensions==4.16.0",
];
const NODE: [&str; 4] =
    ["@kurrent/kurrentdb-client@1.3.1", "@kurrent/bridge@0.2.2", "@grpc/grpc-js@1.14.7", "google-protobuf@3.21.4"];

/// How long installing or a whole script may take, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(300);

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire").join(name)
}

/// Says that a test was not run; fails where everything must be.
fn not_run(why: &str) {
    assert!(env::var_os("CI").is_none(), "NOT RUN: {why}");
    eprintln!("NOT RUN: {why}");
}

/// Runs a program to its end; `Err` says why it failed.
async fn run(command: &mut Command) -> Result<(), String> {
    let output = timeout(PATIENCE, command.stdin(Stdio::null()).kill_on_drop(true).output()).await;
    match output {
        Ok(Ok(output)) if output.status.success() => Ok(()),
        Ok(Ok(output)) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Ok(Err(why)) => Err(why.to_string()),
        Err(_elapsed) => Err("it takes too long".to_owned()),
    }
}

/// A folder that holds what `install` puts there. It gets its name when it is complete, so a broken installation is not
/// taken for one.
async fn installed(name: &str, install: impl AsyncFnOnce(&Path) -> Result<(), String>) -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if !folder.exists() {
        let building = folder.with_extension(format!("{}.part", std::process::id()));
        fs::create_dir_all(&building).map_err(|why| why.to_string())?;
        install(&building).await?;
        // Another run may have been faster.
        if fs::rename(&building, &folder).is_err() {
            fs::remove_dir_all(&building).map_err(|why| why.to_string())?;
        }
    }
    Ok(folder)
}

/// Talks to a script that has begun: restarts the server when it asks, until it is done.
async fn follow(mut child: Child, mut server: Running) {
    let mut told = child.stdin.take().unwrap();
    let mut says = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut restarts = 0;
    let mut done = false;
    while let Some(line) = timeout(PATIENCE, says.next_line()).await.expect("the script goes on").unwrap() {
        match line.as_str() {
            "RESTART" => {
                let port = server.port();
                let log = server.stop().await;
                server = Running::start(log, port).await;
                restarts += 1;
                told.write_all(b"RESTARTED\n").await.unwrap();
            }
            "DONE" => done = true,
            other => eprintln!("{other}"),
        }
    }
    let status = timeout(PATIENCE, child.wait()).await.expect("the script ends").unwrap();
    assert!(status.success() && done, "the script failed: {status}");
    assert_eq!(restarts, 1, "the script went through a restart");
    server.stop().await;
}

fn piped(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn pythons_client_works_unmodified() {
    let install = async |folder: &Path| {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--only-binary", ":all:", "--target"]).arg(folder).args(PYTHON);
        run(&mut pip).await
    };
    match installed(&PYTHON[0].replace("==", "-"), install).await {
        Err(why) => not_run(&format!("Python's client cannot be had: {why}")),
        Ok(folder) => {
            for log in lasting() {
                let server = Running::start(log, 0).await;
                let mut python = Command::new("python3");
                python.arg(script("python_client.py")).arg(server.url()).env("PYTHONPATH", &folder);
                follow(piped(&mut python), server).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_client_works_unmodified() {
    let install = async |folder: &Path| {
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]).arg(folder).args(NODE);
        run(&mut npm).await
    };
    match installed("kurrentdb-client-1.3.1", install).await {
        Err(why) => not_run(&format!("Node's client cannot be had: {why}")),
        Ok(folder) => {
            // A module finds its dependencies beside itself.
            let here = folder.join("node_client.mjs");
            fs::copy(script("node_client.mjs"), &here).unwrap();
            for log in lasting() {
                let server = Running::start(log, 0).await;
                let mut node = Command::new("node");
                node.arg(&here).arg(server.url());
                follow(piped(&mut node), server).await;
            }
        }
    }
}
