//! The built function against real sockets: every numbered case of the fault list, named by its number.

mod happy;
mod settle;
mod stop;
mod support;
