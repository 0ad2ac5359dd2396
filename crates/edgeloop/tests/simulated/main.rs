//! The simulated kernel as its users have it: handlers of all kinds, and what is said when one
//! fails.

mod chat;
mod datagrams;
mod failures;
mod frames;
mod lines;
mod outbound;
mod proxy;
mod relay;
mod relay_ended;
mod relay_shapes;
mod relay_waits;
mod seeds;
mod steps;
mod stop;
mod unix;
