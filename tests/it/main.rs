//! The built function against real sockets: every numbered case of the fault list, named by its number.

mod acceptance;
mod events;
mod life;
mod one_fire;
mod process;
mod records;
mod settle;
mod stop;
mod streaming;
mod support;
mod token;
