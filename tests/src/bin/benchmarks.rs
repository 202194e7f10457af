//! `cargo benchmarks <name>… | all`: see [`tests::benches`].

use std::process::ExitCode;

/// The allocator of the shop's own binary: the server that is measured is this program, run a second time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tests::benches::main()
}
