//! Without the tracer: every made holder is what it says, and the kernel refuses the binder.

use anyhow::{Context, Result};
use portwatch_tests::puppet::Puppet;
use portwatch_tests::stage::Stage;

use crate::causes;
use crate::play::refused;

#[test]
fn every_made_holder_blocks_the_binder() -> Result<()> {
    for (name, case) in causes::ALL {
        let Some(stage) = Stage::set()? else {
            return Ok(());
        };
        let _made = (case.make)(&stage.netns).with_context(|| format!("making: {name}"))?;
        let mut binder = Puppet::start(&stage.netns, "made-binder")?;
        refused(&mut binder, case.kind).with_context(|| format!("against: {name}"))?;
    }
    Ok(())
}
