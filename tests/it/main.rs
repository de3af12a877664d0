//! The built function against real sockets: every numbered case of the fault list, named by its number.

mod acceptance;
mod events;
mod support;
mod token;
