//! Bytes to events: the only bridge between what was captured and what is believed.

pub mod event;
