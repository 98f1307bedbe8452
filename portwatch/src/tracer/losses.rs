//! Tells what the kernel side dropped, soon after it happened and without polling.
//!
//! A loss that stands behind no record wakes us by one of its own, then keeps quiet until
//! [`Control::let_losses_wake`]. That is called once a second at most, so that a loss that goes on
//! costs a wake-up a second; a timer is armed only while one is outstanding.

use crate::decode::event::Ktime;
use crate::pipeline::Pipeline;
use crate::probe::control::{Control, ControlError, Totals};
use crate::probe::losses;
use crate::probe::misses::Misses;
use crate::sink::SinkError;
use std::time::Duration;
use tokio::time::Instant;

/// How often a loss that goes on wakes us at most.
const EVERY: Duration = Duration::from_secs(1);

/// What was told, and when to look again.
#[derive(Debug)]
pub(super) struct Losses {
    told: Totals,
    misses: Misses,
    /// Not before this are the programs asked again.
    ask_after: Instant,
    /// Not before this may a loss wake us again.
    quiet_until: Instant,
    /// When to look although nothing wakes us.
    pub(super) due: Option<Instant>,
}

impl Losses {
    /// Nothing was lost so far.
    pub(super) fn new(misses: Misses) -> Self {
        Self {
            told: Totals::default(),
            misses,
            ask_after: Instant::now(),
            quiet_until: Instant::now(),
            due: None,
        }
    }

    /// Tells what was lost since the last call. A kernel that does not let us look is told once by
    /// the log, and changes nothing else.
    ///
    /// # Errors
    /// The output is closed or broken.
    pub(super) fn tell(
        &mut self,
        control: &mut Control,
        pipeline: &mut Pipeline,
        now: Ktime,
    ) -> Result<(), SinkError> {
        let totals = match self.look(control) {
            Ok(totals) => totals,
            Err(error) => {
                log::error!("what was lost is not known: {error}");
                return Ok(());
            }
        };
        let mut lost = losses::since(&self.told, &totals);
        self.told = totals;
        // A look at each program costs a file of /proc: not for every wake-up.
        if self.ask_after <= Instant::now() {
            lost.extend(self.misses.since());
            self.ask_after = Instant::now() + EVERY;
        }
        if lost.is_empty() {
            return Ok(());
        }
        pipeline.lost(now, lost)
    }

    /// As [`Self::tell`], at the end: nobody looks later.
    ///
    /// # Errors
    /// As [`Self::tell`].
    pub(super) fn tell_last(
        &mut self,
        control: &mut Control,
        pipeline: &mut Pipeline,
        now: Ktime,
    ) -> Result<(), SinkError> {
        self.ask_after = Instant::now();
        self.tell(control, pipeline, now)
    }

    fn look(&mut self, control: &mut Control) -> Result<Totals, ControlError> {
        self.due = None;
        if control.loss_was_told()? {
            let now = Instant::now();
            if now < self.quiet_until {
                self.due = Some(self.quiet_until);
            } else {
                control.let_losses_wake()?;
                self.quiet_until = now + EVERY;
            }
        }
        control.totals()
    }
}
