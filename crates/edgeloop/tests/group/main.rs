//! Groups of loops on real sockets (C52).

mod ends;
mod limits;
mod messages;
mod spreading;
mod vocabulary;
