//! Events in, verdicts out: no bytes, no /proc, no clock, no I/O.
