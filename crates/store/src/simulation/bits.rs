//! Bits that flip: in files of a store that stands still, and under one that works.
