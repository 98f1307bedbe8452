//! Sockets older than the probes.
