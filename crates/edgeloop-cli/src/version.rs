//! What `--version` says beyond the number: commit, target and compiler, as the build script found
//! them.

use std::sync::LazyLock;

/// The text behind the name of the tool.
pub(crate) static LONG: LazyLock<String> = LazyLock::new(|| {
    // The fuzz targets share this file, and are built without the script.
    let commit = option_env!("BUILD_COMMIT").unwrap_or("unknown");
    let target = option_env!("BUILD_TARGET").unwrap_or("unknown");
    let linked = if cfg!(target_feature = "crt-static") { ", statically linked" } else { "" };
    let rustc = option_env!("BUILD_RUSTC").unwrap_or("unknown");
    let rustc = rustc.strip_prefix("rustc ").unwrap_or(rustc);
    let version = env!("CARGO_PKG_VERSION");
    format!("{version}\ncommit: {commit}\ntarget: {target}{linked}\nrustc: {rustc}")
});
