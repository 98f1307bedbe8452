//! Plays batches of cells before the tracer.

use anyhow::{Context, Result, ensure};
use portwatch_tests::contract::Conflict;
use portwatch_tests::event::Event;
use portwatch_tests::stage::Stage;
use portwatch_tests::tracer::Tracer;
use portwatch_tests::wait;

use super::build::build;
use super::cell::{At, Cell, Device, Flag, Options};
use super::made::{Scene, remove};
use super::truth::{Tally, Truth};
use super::world::{Attempt, BINDER, World};

/// Everything of one run.
pub(crate) struct Play {
    world: World,
    /// Of a run that makes the holders first, each batch has its own.
    tracer: Option<Tracer>,
    late: bool,
    tally: Tally,
}

/// A cell with its scenes: all holders, and one for each socket that is to be tried alone.
struct Played<'a> {
    cell: &'a Cell,
    whole: Scene,
    attempt: Attempt,
    alone: Vec<Option<Scene>>,
    blocks: Vec<Option<bool>>,
    alone_attempts: Vec<Attempt>,
    /// Without all that are blamed another call fails: listen() where it was bind().
    again: bool,
}

/// Two sockets like this cannot have one port: what was to be told before it has been told.
const FENCE: Options = Options {
    at: At::Any4,
    v6only: false,
    reuseaddr: Flag::Off,
    reuseport: Flag::Off,
    other_user: false,
    device: Device::None,
};

impl Play {
    pub(crate) fn new(stage: Stage, late: bool) -> Result<Self> {
        let world = World::new(stage)?;
        let tracer = if late { None } else { Some(start(&world)?) };
        Ok(Self {
            world,
            tracer,
            late,
            tally: Tally::default(),
        })
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(crate) fn finish(mut self) -> Result<()> {
        self.world.clear()?;
        match self.tracer {
            Some(tracer) => ended(tracer),
            None => Ok(()),
        }
    }

    /// Plays the cells and tells of each what is wrong about its reports.
    pub(crate) fn batch(&mut self, cells: &[Cell]) -> Result<Vec<Vec<String>>> {
        let mut played = Vec::with_capacity(cells.len());
        for cell in cells {
            played.push(self.set(cell)?);
        }
        let mut tracer = match self.tracer.take() {
            Some(tracer) => tracer,
            None => start(&self.world)?,
        };
        for cell in &mut played {
            self.attempts(cell)?;
        }
        let events = self.fence(&mut tracer)?;
        let mut wrong = Vec::with_capacity(cells.len());
        for played in &mut played {
            wrong.push(self.judge(played, &events)?);
        }
        let events = self.fence(&mut tracer)?;
        for (played, wrong) in played.iter().zip(&mut wrong) {
            let udp = played.cell.binder_udp;
            let again = told(&events, played.whole.port, udp, self.binder()).len();
            if again != usize::from(played.again) {
                wrong.push(format!("told again {again} times"));
            }
        }
        self.world.clear()?;
        if self.late {
            ended(tracer)?;
        } else {
            self.tracer = Some(tracer);
        }
        Ok(wrong)
    }

    /// Makes the scenes of a cell.
    fn set<'a>(&mut self, cell: &'a Cell) -> Result<Played<'a>> {
        self.tally.cells += 1;
        let whole = self.build(cell)?;
        let mut alone = Vec::new();
        for kept in 0..whole.made.len() {
            let scene = self.build(cell)?;
            // The kernel picks among listeners that share a port.
            let same = scene.made.len() == whole.made.len();
            // A connection that waits dies with its listener.
            let mut good = same && (whole.made[kept].slot.is_some() || !whole.made[kept].waits());
            for (index, made) in scene.made.iter().enumerate() {
                if good && index != kept {
                    good = remove(&mut self.world, made)?;
                }
            }
            // SOCK_DESTROY of a connection that is not quite there yet ends its listener.
            if let Some(kept) = scene.made.get(kept).filter(|made| made.state == "listen")
                && let Some(slot) = kept.slot
            {
                good = good && self.world.look(kept.actor, slot)?.listens;
            }
            alone.push(good.then_some(scene));
        }
        Ok(Played {
            cell,
            whole,
            attempt: Attempt::Unfit,
            alone,
            blocks: Vec::new(),
            alone_attempts: Vec::new(),
            again: false,
        })
    }

    fn build(&mut self, cell: &Cell) -> Result<Scene> {
        self.tally.scenes += 1;
        let scene = build(&mut self.world, cell)?;
        let made = |number| scene.made.iter().any(|made| made.holder == number);
        let unmade = (0..cell.holders.len()).filter(|&number| !made(number));
        self.tally.unmade += unmade.count() as u64;
        Ok(scene)
    }

    /// Lets the binder try in every scene.
    fn attempts(&mut self, played: &mut Played<'_>) -> Result<()> {
        let (binder, udp) = (&played.cell.binder, played.cell.binder_udp);
        played.attempt = self.world.attempt(binder, udp, played.whole.port)?;
        match played.attempt.call() {
            Some(_) => self.tally.refused += 1,
            None => self.tally.free += 1,
        }
        for scene in &played.alone {
            let attempt = match scene {
                Some(scene) => self.world.attempt(binder, udp, scene.port)?,
                None => Attempt::Unfit,
            };
            played.alone_attempts.push(attempt);
            let lasted = match scene {
                Some(scene) if attempt == Attempt::Free => self.world.lasts(scene)?,
                Some(_) | None => true,
            };
            played.blocks.push(match (scene, played.attempt) {
                (None, _) | (_, Attempt::Free | Attempt::Unfit) => None,
                (Some(_), _) if !lasted => None,
                (Some(_), call) => Some(attempt == call),
            });
        }
        Ok(())
    }

    fn judge(&mut self, played: &mut Played<'_>, events: &[Event]) -> Result<Vec<String>> {
        let udp = played.cell.binder_udp;
        let binder = self.binder();
        let truth = Truth {
            cell: played.cell,
            scene: &played.whole,
            attempt: played.attempt,
            blocks: played.blocks.clone(),
            late: self.late,
        };
        let reports = told(events, played.whole.port, udp, binder);
        let report = reports.first().copied();
        let mut wrong = truth.compare(report, &mut self.world, &mut self.tally);
        if reports.len() > 1 {
            wrong.push(format!("told {} times", reports.len()));
        }
        if let Some(report) = report {
            wrong.extend(self.gone(played, report)?);
        }
        for (kept, scene) in played.alone.iter().enumerate() {
            let Some(scene) = scene else { continue };
            let attempt = played.alone_attempts[kept];
            let left = Scene {
                port: scene.port,
                made: vec![scene.made[kept].clone()],
                refused: Vec::new(),
            };
            let truth = Truth {
                cell: played.cell,
                scene: &left,
                attempt,
                blocks: vec![Some(attempt.call().is_some())],
                late: self.late,
            };
            let report = told(events, scene.port, udp, binder).first().copied();
            let alone = truth.compare(report, &mut self.world, &mut self.tally);
            wrong.extend(alone.into_iter().map(|wrong| format!("alone: {wrong}")));
        }
        if !self.late {
            wrong.extend(self.on_the_way(&played.whole, events));
        }
        Ok(wrong)
    }

    /// Without all that are blamed the call must succeed.
    fn gone(&mut self, played: &mut Played<'_>, report: &Conflict) -> Result<Vec<String>> {
        let Played { cell, whole, .. } = played;
        let mut all = report.truncated != Some(true);
        for holder in report.holders.iter().filter(|holder| holder.blocking) {
            let made = whole.made.iter().find(|made| made.is(holder));
            all = match made {
                Some(made) => remove(&mut self.world, made)? && all,
                None => false,
            };
        }
        if !all {
            return Ok(Vec::new());
        }
        let attempt = self
            .world
            .attempt(&cell.binder, cell.binder_udp, whole.port)?;
        played.again = attempt.call().is_some();
        let same = attempt == played.attempt;
        Ok(same
            .then(|| "all that are blamed are gone, and it fails still".to_owned())
            .into_iter()
            .collect())
    }

    /// Holders that were refused the port themselves are told like any binder.
    fn on_the_way(&self, scene: &Scene, events: &[Event]) -> Option<String> {
        let told: usize = [super::world::FIRST, super::world::SECOND]
            .iter()
            .flat_map(|&actor| [(actor, false), (actor, true)])
            .map(|(actor, udp)| told(events, scene.port, udp, self.world.actor(actor).pid()).len())
            .sum();
        let refused = scene.refused.len();
        (told != refused).then(|| format!("{refused} holders were refused, {told} are told"))
    }

    fn binder(&self) -> u32 {
        self.world.actor(BINDER).pid()
    }

    /// All that was told up to now.
    fn fence(&mut self, tracer: &mut Tracer) -> Result<Vec<Event>> {
        let fence = Cell {
            holders: vec![super::cell::Holder {
                way: super::cell::Way::Listen,
                options: FENCE,
                second_process: false,
            }],
            binder: FENCE,
            binder_udp: false,
        };
        let scene = build(&mut self.world, &fence)?;
        ensure!(scene.made.len() == 1, "no fence at {}", scene.port);
        let attempt = self.world.attempt(&FENCE, false, scene.port)?;
        ensure!(attempt == Attempt::Bind, "the fence does not stand");
        tracer.wait_for("fence", wait::PATIENCE, |event| {
            event
                .conflict()
                .is_some_and(|conflict| conflict.wanted.port == Some(scene.port))
        })?;
        // What the whole machine lost is among them; a report of ours that is lost is missed.
        Ok(tracer.take_seen())
    }
}

fn start(world: &World) -> Result<Tracer> {
    Tracer::start(world.netns(), &["--neighbours", "--incident-timeout", "1s"])
}

fn ended(tracer: Tracer) -> Result<()> {
    let trace = tracer.finish().context("it did not end well")?;
    ensure!(trace.status.success(), "{}", trace.talk);
    Ok(())
}

/// The conflicts of one process over one port.
fn told(events: &[Event], port: u16, udp: bool, pid: u32) -> Vec<&Conflict> {
    let transport = if udp { "udp" } else { "tcp" };
    let conflicts = events.iter().filter_map(Event::conflict);
    conflicts
        .filter(|conflict| {
            conflict.wanted.port == Some(port)
                && conflict.wanted.transport == transport
                && conflict.requester.pid == pid
        })
        .collect()
}
