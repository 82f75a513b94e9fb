//! Everything that can be wrong, found before a server is made.
