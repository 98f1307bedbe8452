//! Real programs: whose port is taken, and who takes it.
//!
//! `install-programs` brings what they need. Every test says `SKIPPED` when its program is missing.

mod ceph;
mod clients;
mod daemons;
mod fleet;
mod full;
mod halves;
mod java;
mod nginx;
mod page;
mod postgres;
mod python;
mod scene;
mod servers;
mod systemd;
