//! Ends the build with one sentence where there is no epoll, instead of a hundred errors.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        println!("cargo::error=edgeloop is built on epoll and runs on Linux only");
    }
}
