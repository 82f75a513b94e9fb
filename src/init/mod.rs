//! A first configuration: where the access comes from, what is found on the cloud, and the text of `ehos.yaml`.

pub mod choice;
mod password;
pub mod source;
pub mod text;
