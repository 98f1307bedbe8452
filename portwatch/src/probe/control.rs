//! The maps through which user space steers the probes and reads their counters.

use crate::snapshot::range::peer_words;
use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, MapError, PerCpuArray},
};
use portwatch_common::{Config, Counter, Counters, HookId, watched};
use std::collections::HashSet;
use std::net::SocketAddr;

/// Why the maps cannot be used: they are our own, so this is a defect or a lack of memory.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The object has no such map.
    #[error("the BPF object has no map `{0}`")]
    NoMap(&'static str),
    /// The kernel refused.
    #[error("the map `{name}` cannot be used")]
    Map {
        /// The map.
        name: &'static str,
        /// The kernel's or aya's reason.
        #[source]
        source: MapError,
    },
}

/// Totals of the kernel side since the start, all CPUs together, by [`HookId`] and [`Counter`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals([[u64; Counter::COUNT as usize]; HookId::COUNT as usize]);

impl Totals {
    /// One counter of one hook.
    #[must_use]
    pub fn get(&self, hook: u32, counter: u32) -> u64 {
        let row = self.0.get(hook as usize);
        row.and_then(|row| row.get(counter as usize))
            .copied()
            .unwrap_or_default()
    }

    /// Adds what one CPU counted at one hook.
    pub fn add(&mut self, hook: u32, counters: &[u64; Counter::COUNT as usize]) {
        let Some(row) = self.0.get_mut(hook as usize) else {
            return;
        };
        for (total, count) in row.iter_mut().zip(counters) {
            *total = total.wrapping_add(*count);
        }
    }
}

/// Handles of CONFIG, STATS, LOSS_TOLD and WATCHED.
pub struct Control {
    config: Array<MapData, ConfigValue>,
    stats: PerCpuArray<MapData, CountersValue>,
    loss_told: Array<MapData, u32>,
    watched: HashMap<MapData, u64, u64>,
    netns: HashMap<MapData, u32, u32>,
    current: Config,
}

impl Control {
    /// Takes the maps out of a loaded object.
    ///
    /// # Errors
    /// A map is missing or of another type.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self, ControlError> {
        Ok(Self {
            config: take(ebpf, "CONFIG")?,
            stats: take(ebpf, "STATS")?,
            loss_told: take(ebpf, "LOSS_TOLD")?,
            watched: take(ebpf, "WATCHED")?,
            netns: take(ebpf, "NETNS")?,
            current: Config::default(),
        })
    }

    /// Says what is wanted of the probes; no namespace = all of them. More namespaces than the map
    /// holds are all wanted as well: the filter behind correlate sorts them out.
    ///
    /// # Errors
    /// The kernel refused the write.
    pub fn want(
        &mut self,
        traffic: bool,
        refused: bool,
        netns: &[u32],
    ) -> Result<(), ControlError> {
        let stored = netns
            .iter()
            .try_for_each(|inum| self.netns.insert(inum, 1, 0));
        self.current.only_netns = u32::from(!netns.is_empty() && stored.is_ok());
        self.current.traffic = u32::from(traffic);
        self.current.refused = u32::from(refused);
        self.write()
    }

    /// Says what functions of the kernel serve, as [`Config::served`].
    ///
    /// # Errors
    /// The kernel refused the write.
    pub fn serve(&mut self, served: u32) -> Result<(), ControlError> {
        self.current.served = served;
        self.write()
    }

    /// From now on a socket without an entry is younger than the probes.
    ///
    /// # Errors
    /// The kernel refused the write.
    pub fn snapshot_done(&mut self) -> Result<(), ControlError> {
        self.current.snapshot_done = 1;
        self.write()
    }

    fn write(&mut self) -> Result<(), ControlError> {
        self.config
            .set(0, ConfigValue(self.current), 0)
            .map_err(|source| ControlError::Map {
                name: "CONFIG",
                source,
            })
    }

    /// Reads every counter.
    ///
    /// # Errors
    /// The kernel refused the read.
    pub fn totals(&self) -> Result<Totals, ControlError> {
        let mut totals = Totals::default();
        for hook in 0..HookId::COUNT {
            let cpus = self
                .stats
                .get(&hook, 0)
                .map_err(|source| ControlError::Map {
                    name: "STATS",
                    source,
                })?;
            for CountersValue(Counters { values }) in cpus.iter() {
                totals.add(hook, values);
            }
        }
        Ok(totals)
    }

    /// The kernel side has said that something was lost, and will not say it again before
    /// [`Self::let_losses_wake`].
    ///
    /// # Errors
    /// The kernel refused the read.
    pub fn loss_was_told(&self) -> Result<bool, ControlError> {
        let told = self
            .loss_told
            .get(&0, 0)
            .map_err(|source| ControlError::Map {
                name: "LOSS_TOLD",
                source,
            })?;
        Ok(told != 0)
    }

    /// The next loss wakes us again. To be called before the counters are read.
    ///
    /// # Errors
    /// The kernel refused the write.
    pub fn let_losses_wake(&mut self) -> Result<(), ControlError> {
        self.loss_told
            .set(0, 0, 0)
            .map_err(|source| ControlError::Map {
                name: "LOSS_TOLD",
                source,
            })
    }

    /// Stops watching processes and the ports they wanted; one that is not watched is fine. These ports
    /// are found by a look at every key, so all processes at once.
    pub fn unwatch_processes(&mut self, tgids: &HashSet<u32>) {
        if tgids.is_empty() {
            return;
        }
        let keys = self.watched.keys().flatten();
        let over = |key: &u64| watched::of_process(*key).is_some_and(|tgid| tgids.contains(&tgid));
        for key in keys.filter(over).collect::<Vec<_>>() {
            // The kernel side removes keys as well, so "not found" is an ordinary answer.
            let _ = self.watched.remove(&key);
        }
    }

    /// Stops watching where a process connects to.
    pub fn unwatch_destination(&mut self, tgid: u32, to: SocketAddr) {
        let key = watched::destination(tgid, peer_words(to.ip()), to.port().to_be());
        let _ = self.watched.remove(&key);
    }

    /// Stops watching a holder's socket.
    pub fn unwatch_socket(&mut self, cookie: u64) {
        let _ = self.watched.remove(&cookie);
    }
}

/// Takes one map out of the object as its type.
fn take<T: TryFrom<aya::maps::Map, Error = MapError>>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<T, ControlError> {
    let map = ebpf.take_map(name).ok_or(ControlError::NoMap(name))?;
    T::try_from(map).map_err(|source| ControlError::Map { name, source })
}

/// [`Config`] as a map's value.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
struct ConfigValue(Config);

// SAFETY: `Config` is `repr(C)` and holds nothing but `u32`s, so it is plain old data.
unsafe impl aya::Pod for ConfigValue {}

/// [`Counters`] as a map's value.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
struct CountersValue(Counters);

// SAFETY: `Counters` is `repr(C)` and holds nothing but `u64`s, so it is plain old data.
unsafe impl aya::Pod for CountersValue {}
