//! The `cartulary` binary.
fn main() {}
