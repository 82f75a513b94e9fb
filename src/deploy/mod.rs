//! Servers that ehos boots once and looks after until they are of use: golden images and the central manager.

pub mod console;
pub mod image;
pub mod master;
pub mod prerequisites;
pub mod ssh;
