//! Everything that is tested from outside: real processes, real files, real ports. One binary, so
//! that it is linked once.

mod support;

mod authzen;
mod cli;
mod entity_format;
mod house;
mod properties;
mod reload;
mod serve;
