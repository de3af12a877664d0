//! The built function against real sockets: every numbered case of the fault list, named by its number.

mod happy;
mod life;
mod process;
mod records;
mod streaming;
mod support;
