//! Without the tracer: every made holder is what it says, and the kernel refuses the binder.

use anyhow::{Context, Result};
use portwatch_tests::puppet::Puppet;
use portwatch_tests::stage::Stage;

use crate::causes;
use crate::play::{Case, refused};

#[test]
fn every_made_holder_blocks_the_binder() -> Result<()> {
    let cases: [(&str, Case); 18] = [
        ("established", causes::ESTABLISHED),
        ("syn-sent", causes::SYN_SENT),
        ("close-wait", causes::CLOSE_WAIT),
        ("fin-wait", causes::FIN_WAIT),
        ("connected UDP", causes::UDP_CONNECTED),
        ("autobound UDP", causes::UDP_AUTOBOUND),
        ("UDP", causes::UDP_BOUND),
        ("TIME_WAIT", causes::TIME_WAIT),
        ("TIME_WAIT of the dead", causes::TIME_WAIT_OF_THE_DEAD),
        ("server TIME_WAIT", causes::SERVER_TIME_WAIT),
        ("orphan", causes::ORPHAN),
        ("orphan by default", causes::ORPHAN_BY_DEFAULT),
        ("accepted", causes::ACCEPTED),
        ("listener", causes::LISTENER),
        ("listener without bind", causes::AUTOBOUND_LISTENER),
        ("dual-stack listener", causes::DUAL_STACK),
        ("bound only", causes::BOUND_ONLY),
        ("bind(0)", causes::EPHEMERAL_BIND),
    ];
    for (name, case) in cases {
        let Some(stage) = Stage::set()? else {
            return Ok(());
        };
        let _made = (case.make)(&stage.netns).with_context(|| format!("making: {name}"))?;
        let mut binder = Puppet::start(&stage.netns, "made-binder")?;
        refused(&mut binder, case.kind).with_context(|| format!("against: {name}"))?;
    }
    Ok(())
}
