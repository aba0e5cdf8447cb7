//! `src/model/onnx/onnx.proto` to `proto.rs` beside it. No protoc is needed.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../src/model/onnx");
    let files = protox::compile([folder.join("onnx.proto")], [&folder])?;
    let made = tempfile();
    std::fs::create_dir_all(&made)?;
    let mut config = prost_build::Config::new();
    // Shared with the file's bytes instead of copied.
    config.bytes(["."]).disable_comments(["."]).out_dir(&made).compile_fds(files)?;
    let code = std::fs::read_to_string(made.join("onnx.rs"))?;
    let head = "// Made from onnx.proto by tests/interop/proto; SPDX-License-Identifier: Apache-2.0\n";
    std::fs::write(folder.join("proto.rs"), format!("{head}{code}"))?;
    Ok(std::fs::remove_dir_all(made)?)
}

fn tempfile() -> std::path::PathBuf {
    std::env::temp_dir().join(format!("onnx-proto-{}", std::process::id()))
}
