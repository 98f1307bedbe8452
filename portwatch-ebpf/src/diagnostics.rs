//! The probes' own words, through aya-log: only with the feature `log`, which a release has not.

/// Logs at level debug; nothing at all without the feature.
#[cfg(feature = "log")]
macro_rules! diagnose {
    ($($word:tt)*) => { aya_log_ebpf::debug!($($word)*) };
}

/// Logs at level debug; nothing at all without the feature.
#[cfg(not(feature = "log"))]
macro_rules! diagnose {
    ($($word:tt)*) => {};
}
