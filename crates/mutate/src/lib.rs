//! Mutations: known ways to break the code, and a copy of the tree to build it with one of them.

// The layers, lowest first: a module names only modules above it in this list. A test holds that.
mod mutation;
mod laboratory;

pub use laboratory::Laboratory;
pub use mutation::{Mutation, read_all, root};
