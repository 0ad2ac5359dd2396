//! Every peer does what it is compared for, and the example fails as it is said to.

// Elsewhere than on Linux there are no peers.
#![cfg(target_os = "linux")]

/// A module for each peer with these tests, so that a failure names it.
macro_rules! peers {
    ($tests:tt $($module:ident: $name:literal;)*) => {
        const TESTED: &[&str] = &[$($name),*];

        $(mod $module {
            peers! { @ $name: $tests }
        })*
    };
    (@ $name:literal: [$($test:ident)*]) => {
        $(#[test] fn $test() { super::$test($name); })*
    };
}

mod echo;
mod example;
mod fanout;
mod server;
mod udp;
mod unix;
