//! Of the library's `store`.

shared! {
    output = "../../crates/edgeloop/src/store/output.rs";
    pieces = "../../crates/edgeloop/src/store/pieces.rs";
    pipes = "../../crates/edgeloop/src/store/pipes.rs";
    shared = "../../crates/edgeloop/src/store/shared.rs";
    wheel = "../../crates/edgeloop/src/store/wheel/mod.rs";
}
