//! What is taken out of reports before anyone sees them: `--cmdline`, `--redact`.
//!
//! Works on the verdict, never before it: what is hidden still decided who is named.

mod address;
mod cmdline;
mod find;
mod numbers;
#[cfg(test)]
mod tests;
mod texts;
mod uid;

pub use cmdline::Cmdline;

use crate::report::{Body, Conflict, Endpoint, HolderProcess, Process, Report, Wanted};
pub(crate) use address::Pseudonyms;
pub use numbers::{RedactKey, RedactKeyError};
pub(crate) use texts::Texts;
pub(crate) use uid::{UserNames, Users};

/// Takes things out of reports. Clones give the same pseudonyms.
#[derive(Clone, Debug)]
pub struct Redact {
    cmdline: Cmdline,
    uid: bool,
    texts: Texts,
}

impl Redact {
    /// `address`: addresses are replaced by pseudonyms, the same one for the same address; wildcard
    /// and loopback stay. `uid`: user ids go.
    #[must_use]
    pub fn new(cmdline: Cmdline, address: bool, uid: bool) -> Self {
        Self {
            cmdline,
            uid,
            texts: Texts {
                addresses: address.then(|| Pseudonyms::new(None)),
                users: uid.then_some(Users::Word),
            },
        }
    }

    /// The same with pseudonyms that every run with this key gives.
    #[must_use]
    pub fn keyed(mut self, key: Option<RedactKey>) -> Self {
        let addresses = &mut self.texts.addresses;
        *addresses = addresses.take().map(|_| Pseudonyms::new(key));
        self
    }

    /// The same for a capture that was redacted: the pseudonyms of addresses in it stay.
    #[must_use]
    pub fn once(mut self) -> Self {
        let addresses = &mut self.texts.addresses;
        *addresses = addresses.take().map(Pseudonyms::once);
        self
    }

    /// Addresses are replaced.
    #[must_use]
    pub fn hides_addresses(&self) -> bool {
        self.texts.addresses.is_some()
    }

    /// Redacts `report` in place.
    pub fn apply(&mut self, report: &mut Report) {
        match &mut report.body {
            // Nothing else in it is of anyone.
            Body::Start(start) => self.texts.filters(&mut start.filters),
            // These tell of the losses and the counts.
            Body::Lost(_) | Body::Summary(_) => {}
            Body::Conflict(conflict) => self.conflict(conflict),
            Body::Resolved(resolved) => {
                self.wanted(&mut resolved.wanted);
                self.ends(&mut resolved.serves);
                self.process(&mut resolved.requester);
                self.text(&mut resolved.message);
            }
            Body::Refused(refused) => {
                self.wanted(&mut refused.wanted);
                self.process(&mut refused.requester);
                self.text(&mut refused.message);
            }
            Body::Assign(assign) => {
                self.endpoints(&mut assign.local, assign.peer.as_mut());
                self.process(&mut assign.process);
            }
            Body::Release(release) => {
                self.endpoints(&mut release.local, release.peer.as_mut());
                self.process(&mut release.process);
            }
        }
    }

    fn conflict(&mut self, conflict: &mut Conflict) {
        self.wanted(&mut conflict.wanted);
        self.ends(&mut conflict.serves);
        self.process(&mut conflict.requester);
        for holder in &mut conflict.holders {
            self.endpoints(&mut holder.local, holder.peer.as_mut());
            if self.uid {
                holder.uid = None;
            }
            for text in [&mut holder.device, &mut holder.kernel_user] {
                text.iter_mut().for_each(|text| self.text(text));
            }
            holder
                .processes
                .iter_mut()
                .for_each(|process| self.holder_process(process));
        }
        for tally in conflict.tally.iter_mut().flatten() {
            if let Some(Some(process)) = &mut tally.process {
                self.holder_process(process);
            }
            if let Some(Some(peer)) = &mut tally.peer {
                self.text(&mut peer.address);
            }
            if let Some(source) = &mut tally.source {
                self.text(source);
            }
        }
        self.text(&mut conflict.message);
        for advice in &mut conflict.advice {
            self.text(&mut advice.text);
            advice
                .command
                .iter_mut()
                .for_each(|command| self.text(command));
        }
    }

    fn ends(&mut self, ends: &mut [Endpoint]) {
        for end in ends {
            self.text(&mut end.address);
        }
    }

    fn wanted(&mut self, wanted: &mut Wanted) {
        self.text(&mut wanted.address);
        if let Some(destination) = &mut wanted.destination {
            self.text(&mut destination.address);
        }
        let device = wanted.device.iter_mut().flatten();
        for text in wanted.netns_path.iter_mut().chain(device) {
            self.text(text);
        }
    }

    fn endpoints(&mut self, local: &mut Endpoint, peer: Option<&mut Endpoint>) {
        self.text(&mut local.address);
        if let Some(peer) = peer {
            self.text(&mut peer.address);
        }
    }

    /// Replaces what is hidden anywhere in `text`.
    pub fn text(&self, text: &mut String) {
        self.texts.text(text);
    }

    /// Fields of both kinds of processes; raw bytes would tell what the text no longer does.
    fn shared(&mut self, shared: Shared<'_>) {
        let Shared {
            comm,
            comm_bytes,
            exe,
            exe_bytes,
            cmdline,
            cmdline_bytes,
            truncated,
            uid,
            cgroup,
            unit,
            socket_unit,
            container,
            container_name,
        } = shared;
        self.cmdline.apply(cmdline, cmdline_bytes, truncated);
        if self.uid {
            *uid = None;
        }
        if !self.texts.hides() {
            return;
        }
        self.text(comm);
        exe.iter_mut()
            .chain(cmdline.iter_mut().flatten())
            .chain(cgroup)
            .chain(unit.iter_mut().flatten())
            .chain(socket_unit)
            .chain(container.iter_mut().flatten())
            .chain(container_name)
            .for_each(|text| self.text(text));
        (*comm_bytes, *exe_bytes, *cmdline_bytes) = (None, None, None);
    }

    fn process(&mut self, process: &mut Process) {
        let Process {
            pid: _,
            tid: _,
            ppid: _,
            comm,
            comm_bytes,
            exe,
            exe_bytes,
            cmdline,
            cmdline_bytes,
            cmdline_truncated: truncated,
            uid,
            start_time: _,
            cgroup,
            systemd_unit: unit,
            socket_unit,
            container,
            container_runtime: _,
            container_name,
            pod_uid: _,
        } = process;
        self.shared(Shared {
            comm,
            comm_bytes,
            exe,
            exe_bytes,
            cmdline,
            cmdline_bytes,
            truncated,
            uid,
            cgroup,
            unit,
            socket_unit,
            container,
            container_name,
        });
    }

    fn holder_process(&mut self, process: &mut HolderProcess) {
        let HolderProcess {
            pid: _,
            comm,
            comm_bytes,
            exe,
            exe_bytes,
            cmdline,
            cmdline_bytes,
            cmdline_truncated: truncated,
            uid,
            start_time: _,
            cgroup,
            systemd_unit: unit,
            socket_unit,
            container,
            container_runtime: _,
            container_name,
            pod_uid: _,
            has_socket: _,
            alive: _,
            seen: _,
        } = process;
        self.shared(Shared {
            comm,
            comm_bytes,
            exe,
            exe_bytes,
            cmdline,
            cmdline_bytes,
            truncated,
            uid,
            cgroup,
            unit,
            socket_unit,
            container,
            container_name,
        });
    }
}

struct Shared<'a> {
    comm: &'a mut String,
    comm_bytes: &'a mut Option<String>,
    exe: &'a mut Option<String>,
    exe_bytes: &'a mut Option<String>,
    cmdline: &'a mut Option<Vec<String>>,
    cmdline_bytes: &'a mut Option<Vec<String>>,
    truncated: &'a mut bool,
    uid: &'a mut Option<u32>,
    cgroup: &'a mut Option<String>,
    unit: &'a mut Option<Option<String>>,
    socket_unit: &'a mut Option<String>,
    container: &'a mut Option<Option<String>>,
    container_name: &'a mut Option<String>,
}
