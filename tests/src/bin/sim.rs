//! `cargo sim <seed>`: see [`tests::sim`].

use std::process::ExitCode;

/// The allocator of the shop's own binary: a simulation is little else than small allocations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tests::sim::program::main()
}
