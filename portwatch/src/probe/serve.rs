//! Functions of the kernel for what is to be told: each by a trampoline, else by a kprobe, and another
//! set of functions where one of a set is refused. Every refusal is told, also where something else
//! serves in its place.

use super::attach::{Attached, Choice, attach_one};
use super::functions::{Carrier, DUTIES, Duty, Function, Point};
use super::hooks::Target;
use super::load::Loaded;
use crate::report::BackendName;
use aya::programs::Program;
use portwatch_common::Config;

/// The ways that a function can be hooked, the better one first.
const BACKENDS: [BackendName; 2] = [BackendName::Trampoline, BackendName::Kprobe];

/// A function that could not be hooked, where, and why.
type Refusal = (&'static Function, Target, String);

/// What one way holds so far.
type Held = Vec<(BackendName, &'static str, Target)>;

/// Lets functions of the kernel serve a duty, if they can: all of one way, each by what is allowed.
pub(super) fn serve(loaded: &mut Loaded, duty: &Duty, choice: Choice, attached: &mut Attached) {
    if choice == Choice::Only(BackendName::Tracepoint) {
        return;
    }
    let missing = duty.needs & !attached.served;
    if missing != 0 {
        untried(duty, missing, choice, attached);
        return;
    }
    let mut refused = Vec::new();
    for way in duty.ways {
        let mut held = Vec::new();
        let done = way
            .iter()
            .all(|function| by(loaded, function, choice, &mut held, &mut refused));
        if done {
            attached.served |= duty.bit;
            for (backend, program, target) in &held {
                attached.trampolines |= *backend == BackendName::Trampoline;
                attached.kprobes |= *backend == BackendName::Kprobe;
                attached.attached(program, *target);
            }
            for (function, target, reason) in refused {
                if let Some(instead) = instead(function, way, loaded) {
                    attached.refused(target, reason, &instead);
                }
            }
            return;
        }
        for (_, program, _) in held.into_iter().rev() {
            take_off(loaded, program);
        }
    }
    for (_, target, reason) in refused {
        attached.refused(target, reason, &lost(duty));
    }
}

/// What tells the same as a refused function; `None` where the kernel has no such function: that it
/// has another in its place is no refusal.
fn instead(refused: &Function, way: &[Function], loaded: &Loaded) -> Option<String> {
    let names: Vec<&str> = way.iter().map(|function| function.name).collect();
    if names.contains(&refused.name) {
        return Some("nothing: a kprobe serves in its place".to_owned());
    }
    if loaded.absent.contains(refused.name) {
        return None;
    }
    let lacks = way.iter().find_map(|function| function.lacks);
    let lost = lacks.map_or("nothing".to_owned(), |lacks| {
        format!("{lacks}; else nothing")
    });
    Some(format!("{lost}: {} in its place", names.join(" and ")))
}

/// Says of a duty's functions why none of them was tried.
fn untried(duty: &Duty, missing: u32, choice: Choice, attached: &mut Attached) {
    let Some(backend) = BACKENDS.into_iter().find(|one| choice.allows(*one)) else {
        return;
    };
    let needed = DUTIES.iter().filter(|duty| duty.bit & missing != 0);
    let needed: Vec<&str> = needed.map(|duty| duty.what).collect();
    let reason = format!(
        "not tried: it is of no use where no function tells {}",
        needed.join(" and ")
    );
    for function in duty.ways.first().into_iter().copied().flatten() {
        if let Some(carrier) = function.carriers(backend).first() {
            let target = target(backend, function.name, carrier);
            attached.refused(target, reason.clone(), &lost(duty));
        }
    }
}

/// What is lost where no function serves a duty: whatever was chosen, the exits of system calls tell
/// the rest, but not when a port is let go.
fn lost(duty: &Duty) -> String {
    match duty.bit {
        Config::SERVED_RELEASE => duty.what.to_owned(),
        _ => format!("{}, in what no system call of 64 bits does", duty.what),
    }
}

/// Attaches the programs of one function: trampolines, else kprobes.
fn by(
    loaded: &mut Loaded,
    function: &'static Function,
    choice: Choice,
    held: &mut Held,
    refused: &mut Vec<Refusal>,
) -> bool {
    let mut allowed = BACKENDS.into_iter().filter(|one| choice.allows(*one));
    allowed.any(|backend| {
        let before = held.len();
        for carrier in function.carriers(backend) {
            let target = target(backend, function.name, carrier);
            let fits = loaded.unfit.get(function.name).cloned().map_or(Ok(()), Err);
            let attached = fits.and_then(|()| attach_one(loaded, carrier.program, target, None));
            if let Err(reason) = attached {
                refused.push((function, target, reason));
                for (_, program, _) in held.drain(before..).rev() {
                    take_off(loaded, program);
                }
                return false;
            }
            held.push((backend, carrier.program, target));
        }
        true
    })
}

fn target(backend: BackendName, function: &'static str, carrier: &Carrier) -> Target {
    match (backend, carrier.point) {
        (BackendName::Trampoline, Point::Entry) => Target::Fentry(function),
        (BackendName::Trampoline, Point::Exit) => Target::Fexit(function),
        (BackendName::Kprobe | BackendName::Tracepoint, Point::Entry) => Target::Kprobe(function),
        (BackendName::Kprobe | BackendName::Tracepoint, Point::Exit) => Target::Kretprobe(function),
    }
}

/// Takes a program out of the kernel again, from wherever it is attached.
fn take_off(loaded: &mut Loaded, program: &str) {
    // It may be off already: kprobes of two functions share a program.
    let _ = match loaded.ebpf.program_mut(program) {
        Some(Program::FEntry(program)) => program.unload(),
        Some(Program::FExit(program)) => program.unload(),
        Some(Program::KProbe(program)) => program.unload(),
        _ => Ok(()),
    };
}
