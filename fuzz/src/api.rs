//! Of the library's `api`.

shared! {
    input = "../../crates/edgeloop/src/api/input/mod.rs";
    time = "../../crates/edgeloop/src/api/time.rs";
}
