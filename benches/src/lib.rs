//! What the programs of this crate share: counting instructions with callgrind.

pub mod callgrind;
