//! Compiles the protocol's .proto files without protoc.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true);
    compiler.open_files(["shared.proto", "streams.proto", "server.proto", "gossip.proto"])?;
    let files = compiler.file_descriptor_set();
    tonic_prost_build::configure()
        .bytes(".")
        .btree_map(".")
        .build_client(false)
        .emit_rerun_if_changed(false)
        .compile_fds(files)?;
    Ok(())
}
