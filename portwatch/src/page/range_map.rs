//! The range as a strip of ports: how often each part was picked from, and the services inside it.

use super::scene::Scene;
use super::words::{number, text};
use crate::advise::PortList;

/// Parts of the strip.
const PARTS: usize = 192;
/// Services that are listed.
const LISTED: usize = 60;
/// Height of the tallest bar.
const TALL: f64 = 70.0;

/// A bar of the strip.
pub(super) struct Bar {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) title: String,
}

/// A service whose port the kernel may hand out.
pub(super) struct Inside {
    pub(super) x: f64,
    pub(super) port: u16,
    pub(super) transport: String,
    pub(super) program: String,
    pub(super) taken: String,
    pub(super) failed: String,
    pub(super) lost: bool,
    pub(super) reserved: bool,
}

/// The strip.
pub(super) struct RangeMap {
    pub(super) low: u16,
    pub(super) high: u16,
    pub(super) reserved: String,
    pub(super) picked: String,
    pub(super) bars: Vec<Bar>,
    pub(super) inside: Vec<Inside>,
    pub(super) more: usize,
}

/// The map of a scene whose range is known.
#[expect(clippy::cast_precision_loss, reason = "places on a page")]
pub(super) fn range_map(scene: &Scene, left: f64, width: f64) -> Option<RangeMap> {
    let (low, high) = scene.range?;
    let count = f64::from(high) - f64::from(low) + 1.0;
    let parts = PARTS.min(usize::from(high - low) + 1);
    let mut sums = vec![0_u64; parts];
    let ports = scene.picked.iter().enumerate();
    for (port, picked) in
        ports.filter(|(port, _)| (usize::from(low)..=usize::from(high)).contains(port))
    {
        sums[(port - usize::from(low)) * parts / (usize::from(high - low) + 1)] +=
            u64::from(*picked);
    }
    let most = sums.iter().copied().max().unwrap_or(0).max(1) as f64;
    let each = width / parts as f64;
    let bars = sums.iter().enumerate().filter(|(_, sum)| **sum > 0);
    let bars = bars.map(|(part, sum)| {
        let height = ((*sum as f64 / most) * TALL).max(1.0);
        let first = usize::from(low) + part * (usize::from(high - low) + 1) / parts;
        Bar {
            x: round(left + part as f64 * each),
            y: round(TALL - height),
            width: round((each - 0.6).max(0.6)),
            height: round(height),
            title: format!("{} ports taken from {first} on", number(*sum)),
        }
    });
    let reserved: PortList = scene.reserved.parse().unwrap_or_default();
    let mut services: Vec<_> = scene
        .services
        .iter()
        .filter(|((port, _), _)| (low..=high).contains(port))
        .collect();
    services.sort_by_key(|(key, service)| {
        (
            std::cmp::Reverse(service.failed),
            std::cmp::Reverse(service.taken),
            **key,
        )
    });
    let more = services.len().saturating_sub(LISTED);
    services.truncate(LISTED);
    let inside = services
        .into_iter()
        .map(|((port, transport), service)| Inside {
            x: round(left + (f64::from(*port) - f64::from(low)) / count * width),
            port: *port,
            transport: transport.word(),
            program: text(&service.program),
            taken: number(service.taken),
            failed: number(service.failed),
            lost: service.failed > 0,
            reserved: reserved.contains(*port),
        });
    Some(RangeMap {
        low,
        high,
        reserved: text(&scene.reserved),
        picked: number(sums.iter().sum()),
        bars: bars.collect(),
        inside: inside.collect(),
        more,
    })
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
