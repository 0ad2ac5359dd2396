//! `edgeloop bench` as its users run it: the program, real sockets, and servers that err.
//!
//! Runs are short, and nothing here depends on how fast the machine is: what is expected follows
//! from what was sent, or is a bound with its reason beside it.

mod addresses;
mod arguments;
mod bytes;
mod compare;
mod costs;
mod datagrams;
mod exchanges;
mod files;
mod honesty;
mod interrupts;
mod losses;
mod modes;
mod others;
mod outputs;
mod pauses;
mod profiles;
mod rates;
mod run;
mod schema;
mod searches;
#[path = "../serve/mod.rs"]
mod serve;
mod services;
mod speaking;
mod survival;
mod unix;
#[path = "../valid/mod.rs"]
mod valid;
mod words;
