//! Histories of a simulated site: ehos looks, plans and acts on it, tick by tick, while things happen.

mod site;
mod story;
mod traps;
