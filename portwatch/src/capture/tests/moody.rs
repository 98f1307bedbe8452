//! Facts that are never the same twice: a replay that asked the machine would be found out.

#![expect(clippy::manual_is_multiple_of, reason = "moods, not multiples")]

use super::made::S;
use crate::decode::event::{Comm, Holder, Ktime, NetnsId, Owner, OwnerSource, Tgid, Transport};
use crate::enrich::facts::{
    Connection, Facts, NetnsFacts, PortFacts, ProcessFacts, RangeFacts, RangeGroup, RangeQuestion,
    SocketUser,
};
use crate::enrich::kernel_user::KernelUser;

/// A machine whose answers change from one question to the next.
#[derive(Default)]
pub(super) struct Moody(u32);

impl Moody {
    fn next(&mut self) -> u32 {
        self.0 += 1;
        self.0
    }
}

impl Facts for Moody {
    fn sees_processes(&mut self) -> bool {
        self.next() % 6 != 0
    }

    fn process(&mut self, tgid: Tgid, start: Ktime) -> Option<ProcessFacts> {
        let n = self.next();
        (n % 5 != 0).then(|| ProcessFacts {
            tgid,
            start: Ktime(start.0 / 10_000_000 * 10_000_000),
            comm: Comm::from(format!("mood-{}", n / 3).as_bytes()),
            ppid: None,
            session: None,
            group: None,
            forked_only: false,
            uid: Some(n / 4),
            exe: (n % 3 > 0).then(|| b"/usr/bin/\xff".to_vec()),
            cmdline: Some(vec![b"a".to_vec(), format!("{}", n / 7).into_bytes()]),
            cmdline_truncated: n % 2 == 0,
            cgroup: Some("/system.slice/a.service".to_owned()),
            systemd_unit: Some((n % 2 == 0).then(|| "a.service".to_owned())),
            container: (n % 3 > 0).then_some(None),
            socket_unit: (n % 4 == 0).then(|| "a.socket".to_owned()),
            container_runtime: None,
            container_name: None,
            pod_uid: None,
        })
    }

    fn process_lately(&mut self, tgid: Tgid, start: Ktime) -> Option<ProcessFacts> {
        self.process(tgid, start)
    }

    fn socket_users(&mut self, inodes: &[u64], _: Ktime) -> Option<Vec<(u64, SocketUser)>> {
        let n = self.next();
        let user = |inode: &u64| {
            let user = SocketUser {
                tgid: Tgid(5 + n % 2),
                start: Ktime(900 * S),
                comm: Comm::from(&b"holder"[..]),
            };
            (*inode, user)
        };
        (n % 4 != 0).then(|| inodes.iter().map(user).collect())
    }

    fn netns(&mut self, _: NetnsId, _: Option<Tgid>) -> NetnsFacts {
        NetnsFacts {
            reserved: Some(self.next().to_string()),
            reach: None,
        }
    }

    fn device(&mut self, _: NetnsId, index: u32) -> Option<String> {
        Some(format!("eth{index}"))
    }

    fn kernel_user(&mut self, _: NetnsId, _: Tgid, _: Transport, port: u16) -> Option<KernelUser> {
        let n = self.next();
        (n % 2 == 0).then(|| KernelUser {
            kind: "vxlan".to_owned(),
            name: format!("vx{port}-{n}"),
            address: None,
        })
    }

    fn cgroup(&mut self, id: u64) -> Option<String> {
        let n = self.next();
        (n % 2 == 0).then(|| format!("/c/{id}/{n}"))
    }

    fn range(&mut self, question: &RangeQuestion) -> Option<RangeFacts> {
        let n = self.next();
        let seen = crate::decode::blind::Seen {
            family: crate::decode::event::Family::Ipv4,
            protocol: question.protocol,
            state: 1,
            local: ([10, 10, 10, 1].into(), question.low),
            peer: ([10, 10, 10, 2].into(), 6836),
            device: 0,
            inode: 70_001,
            cookie: 101,
            uid: 167,
            v6only: false,
        };
        let holder = Holder {
            socket: crate::decode::blind::socket(&seen).ok()?,
            owner: None,
            l3mdev: 0,
            connect_only_bucket: true,
            bound_bucket: false,
            accepted_at: None,
            kernel_function: None,
            older: false,
        };
        let group = RangeGroup {
            holder,
            users: Vec::new(),
            sockets: n,
            count: n,
            ports: n,
            shared: Vec::new(),
            peers: 1,
            stale_bucket: false,
        };
        Some(RangeFacts {
            at: Ktime(1_012 * S + u64::from(n)),
            groups: vec![group],
            sockets: n,
            missed: 0,
            looked_for_users: true,
        })
    }

    fn closers(&mut self, cookies: &[u64]) -> Vec<(u64, Owner)> {
        let n = self.next();
        let mut closer = crate::correlate::testing::owner(OwnerSource::Release, None);
        closer.tgid = Tgid(n % 3);
        cookies
            .iter()
            .map(|cookie| (*cookie, closer.clone()))
            .collect()
    }

    fn time_wait_left(
        &mut self,
        _: NetnsId,
        _: Tgid,
        connections: &[Connection],
    ) -> Vec<Option<u32>> {
        let n = self.next();
        connections.iter().map(|_| Some(n)).collect()
    }

    fn port(&mut self, _: NetnsId, _: Tgid, _: Option<u16>, _: Option<u16>) -> Option<PortFacts> {
        None
    }
}
