//! This program, run a second time: what is measured is a process of its own, and goes with its value.
//!
//! It says where it listens in the first line of its output and answers each line of its input with one of JSON. When
//! its input ends, so does it, whatever has become of us.

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

/// The other process.
pub struct Again {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// Where it listens.
    pub addr: SocketAddr,
}

impl Again {
    /// Runs this program under a hidden name, and waits until it listens.
    pub fn start<A: AsRef<OsStr>>(name: &str, args: impl IntoIterator<Item = A>) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.arg(name).args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("this program starts again");
        let input = child.stdin.take();
        let mut output = BufReader::new(child.stdout.take().expect("its output"));
        let addr = line(&mut output)["listening"].as_str().and_then(|addr| addr.parse().ok());
        Self { child, input, output, addr: addr.expect("an address") }
    }

    /// Asks for its figures.
    pub fn figures(&mut self) -> Value {
        let input = self.input.as_mut().expect("it has not been told to end");
        input.write_all(b"\n").and_then(|()| input.flush()).expect("it listens");
        line(&mut self.output)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it in order.
    pub fn stop(mut self) {
        drop(self.input.take());
        let ended = self.child.wait().expect("it ends");
        assert!(ended.success(), "it ended with {ended}");
    }
}

impl Drop for Again {
    fn drop(&mut self) {
        // The end of its input ends it; whoever is in haste does not wait for that.
        drop(self.input.take());
        let _dead = self.child.kill();
        let _waited = self.child.wait();
    }
}

fn line(output: &mut BufReader<ChildStdout>) -> Value {
    let mut line = String::new();
    output.read_line(&mut line).expect("a line of the other process");
    serde_json::from_str(&line).expect("a line of JSON: the other process has said why above")
}

/// In the other process: says where it listens.
pub fn listening(addr: SocketAddr) {
    say(&json!({ "listening": addr.to_string() }));
}

/// In the other process: says one line.
pub fn say(line: &Value) {
    let mut out = std::io::stdout().lock();
    // Whoever asked may be gone; then standard input has ended too.
    let _gone = writeln!(out, "{line}").and_then(|()| out.flush());
}
