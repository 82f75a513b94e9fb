//! Rules of other programs, under plain names, to compare with.
