//! The probes' own words (`-vv`), in builds with the feature `probe-log`.

use aya::Ebpf;
use aya_log::EbpfLogger;
use tokio::io::{Interest, unix::AsyncFd};

/// Passes them to the log as long as the runtime lives. Without them the tracer works as well, so
/// a failure is only logged.
pub fn listen(ebpf: &mut Ebpf) {
    let logger = match EbpfLogger::init(ebpf) {
        Ok(logger) => logger,
        Err(error) => {
            log::warn!("the probes' diagnostics cannot be read: {error}");
            return;
        }
    };
    // SAFETY: an `EbpfLogger` owns its ring's descriptor and gives the same one as long as it lives.
    let logger = unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) };
    let mut logger = match logger {
        Ok(logger) => logger,
        Err(error) => {
            log::warn!(
                "the probes' diagnostics cannot be waited for: {}",
                std::io::Error::from(error)
            );
            return;
        }
    };
    tokio::spawn(async move {
        while let Ok(mut guard) = logger.readable_mut().await {
            guard.get_inner_mut().flush();
            guard.clear_ready();
        }
    });
}
