//! User data of servers: cloud-init templates with `{markup}`, those that are in the program, and the values of a node.

pub mod builtin_templates;
pub mod cloudinit;
pub mod node;
