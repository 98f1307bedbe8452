//! Loads the BPF object.
