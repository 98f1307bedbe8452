//! One test per cause: the holder is made while the tracer watches.

use anyhow::Result;
use portwatch_tests::make;

use crate::play::{Case, Verdict, tracer_first};

const CONNECTION: Verdict = Verdict {
    causes: &["outbound-connection"],
    certainties: &["exact"],
    kinds: &["connection"],
    states: &["established"],
    origin: Some("ephemeral-connect"),
    named: true,
    has_socket: true,
};

pub(crate) const ESTABLISHED: Case = Case {
    make: make::established,
    kind: "tcp4",
    right: CONNECTION,
};

pub(crate) const SYN_SENT: Case = Case {
    make: make::syn_sent,
    kind: "tcp4",
    right: Verdict {
        states: &["syn_sent"],
        ..CONNECTION
    },
};

pub(crate) const CLOSE_WAIT: Case = Case {
    make: make::close_wait,
    kind: "tcp4",
    right: Verdict {
        states: &["close_wait"],
        ..CONNECTION
    },
};

pub(crate) const FIN_WAIT: Case = Case {
    make: make::fin_wait,
    kind: "tcp4",
    right: Verdict {
        states: &["fin_wait2"],
        ..CONNECTION
    },
};

pub(crate) const UDP_CONNECTED: Case = Case {
    make: make::udp_connected,
    kind: "udp4",
    right: Verdict {
        kinds: &["udp"],
        ..CONNECTION
    },
};

pub(crate) const UDP_AUTOBOUND: Case = Case {
    make: make::udp_autobound,
    kind: "udp4",
    right: Verdict {
        kinds: &["udp"],
        states: &["unconnected"],
        origin: Some("ephemeral-autobind"),
        ..CONNECTION
    },
};

pub(crate) const UDP_BOUND: Case = Case {
    make: make::udp_bound,
    kind: "udp4",
    right: Verdict {
        causes: &["udp-socket"],
        kinds: &["udp"],
        states: &["unconnected"],
        origin: Some("explicit-bind"),
        ..CONNECTION
    },
};

pub(crate) const TIME_WAIT: Case = Case {
    make: make::time_wait,
    kind: "tcp4",
    right: Verdict {
        causes: &["outbound-time-wait"],
        kinds: &["time-wait"],
        states: &["time_wait"],
        has_socket: false,
        ..CONNECTION
    },
};

pub(crate) const TIME_WAIT_OF_THE_DEAD: Case = Case {
    make: make::time_wait_of_the_dead,
    ..TIME_WAIT
};

pub(crate) const SERVER_TIME_WAIT: Case = Case {
    make: make::server_time_wait,
    kind: "tcp4",
    right: Verdict {
        causes: &["server-time-wait"],
        certainties: &["exact", "remembered"],
        kinds: &["time-wait"],
        states: &["time_wait"],
        origin: Some("accepted"),
        named: true,
        has_socket: false,
    },
};

pub(crate) const ORPHAN: Case = Case {
    make: make::orphan,
    kind: "tcp4",
    right: Verdict {
        causes: &["orphan"],
        kinds: &["orphan"],
        states: &["fin_wait2"],
        has_socket: false,
        ..CONNECTION
    },
};

/// Below 60 s of `tcp_fin_timeout` the kernel keeps FIN_WAIT2 in a TIME_WAIT socket; `ss` and
/// /proc call both FIN_WAIT2.
pub(crate) const ORPHAN_BY_DEFAULT: Case = Case {
    make: make::orphan_by_default,
    ..ORPHAN
};

pub(crate) const ACCEPTED: Case = Case {
    make: make::accepted,
    kind: "tcp4",
    right: Verdict {
        causes: &["accepted-connection"],
        kinds: &["accepted"],
        origin: Some("accepted"),
        ..CONNECTION
    },
};

pub(crate) const LISTENER: Case = Case {
    make: make::listener,
    kind: "tcp4",
    right: Verdict {
        causes: &["listener"],
        kinds: &["listener"],
        states: &["listen"],
        origin: Some("explicit-bind"),
        ..CONNECTION
    },
};

pub(crate) const DUAL_STACK: Case = Case {
    make: make::dual_stack_listener,
    right: Verdict {
        causes: &["dual-stack-listener"],
        ..LISTENER.right
    },
    ..LISTENER
};

pub(crate) const AUTOBOUND_LISTENER: Case = Case {
    make: make::autobound_listener,
    right: Verdict {
        origin: Some("ephemeral-autobind"),
        ..LISTENER.right
    },
    ..LISTENER
};

pub(crate) const BOUND_ONLY: Case = Case {
    make: make::bound_only,
    kind: "tcp4",
    right: Verdict {
        causes: &["bound-not-listening"],
        kinds: &["bound"],
        states: &["bound"],
        origin: Some("explicit-bind"),
        ..CONNECTION
    },
};

pub(crate) const EPHEMERAL_BIND: Case = Case {
    make: make::ephemeral_bind,
    kind: "tcp4",
    right: Verdict {
        causes: &["ephemeral-bind"],
        kinds: &["bound"],
        states: &["bound"],
        origin: Some("ephemeral-bind"),
        ..CONNECTION
    },
};

const TO_ITSELF: Case = Case {
    make: make::connected_to_itself,
    ..ESTABLISHED
};

/// The port came from bind(0), whatever the socket did then.
const BOUND_THEN_CONNECTED: Case = Case {
    make: make::bound_then_connected,
    right: Verdict {
        kinds: &["connection"],
        states: &["established"],
        ..EPHEMERAL_BIND.right
    },
    ..EPHEMERAL_BIND
};

/// All of them.
pub(crate) const ALL: [(&str, Case); 20] = [
    ("established", ESTABLISHED),
    ("syn-sent", SYN_SENT),
    ("close-wait", CLOSE_WAIT),
    ("fin-wait", FIN_WAIT),
    ("connected UDP", UDP_CONNECTED),
    ("autobound UDP", UDP_AUTOBOUND),
    ("UDP", UDP_BOUND),
    ("TIME_WAIT", TIME_WAIT),
    ("TIME_WAIT of the dead", TIME_WAIT_OF_THE_DEAD),
    ("server TIME_WAIT", SERVER_TIME_WAIT),
    ("orphan", ORPHAN),
    ("orphan by default", ORPHAN_BY_DEFAULT),
    ("accepted", ACCEPTED),
    ("listener", LISTENER),
    ("listener without bind", AUTOBOUND_LISTENER),
    ("dual-stack listener", DUAL_STACK),
    ("bound only", BOUND_ONLY),
    ("bind(0)", EPHEMERAL_BIND),
    ("bind(0), then connect", BOUND_THEN_CONNECTED),
    ("connected to itself", TO_ITSELF),
];

#[test]
fn outbound_connection_established() -> Result<()> {
    tracer_first(&ESTABLISHED)
}

#[test]
fn outbound_connection_syn_sent() -> Result<()> {
    tracer_first(&SYN_SENT)
}

#[test]
fn outbound_connection_close_wait() -> Result<()> {
    tracer_first(&CLOSE_WAIT)
}

#[test]
fn outbound_connection_fin_wait() -> Result<()> {
    tracer_first(&FIN_WAIT)
}

#[test]
fn outbound_connection_udp() -> Result<()> {
    tracer_first(&UDP_CONNECTED)
}

#[test]
fn outbound_connection_udp_autobound() -> Result<()> {
    tracer_first(&UDP_AUTOBOUND)
}

#[test]
fn udp_socket() -> Result<()> {
    tracer_first(&UDP_BOUND)
}

#[test]
fn outbound_time_wait() -> Result<()> {
    tracer_first(&TIME_WAIT)
}

#[test]
fn outbound_time_wait_of_a_process_that_is_gone() -> Result<()> {
    tracer_first(&TIME_WAIT_OF_THE_DEAD)
}

#[test]
fn server_time_wait() -> Result<()> {
    tracer_first(&SERVER_TIME_WAIT)
}

#[test]
fn orphan() -> Result<()> {
    tracer_first(&ORPHAN)
}

#[test]
fn orphan_by_default() -> Result<()> {
    tracer_first(&ORPHAN_BY_DEFAULT)
}

#[test]
fn accepted_connection() -> Result<()> {
    tracer_first(&ACCEPTED)
}

#[test]
fn listener() -> Result<()> {
    tracer_first(&LISTENER)
}

#[test]
fn listener_without_bind() -> Result<()> {
    tracer_first(&AUTOBOUND_LISTENER)
}

#[test]
fn dual_stack_listener() -> Result<()> {
    tracer_first(&DUAL_STACK)
}

#[test]
fn bound_not_listening() -> Result<()> {
    tracer_first(&BOUND_ONLY)
}

#[test]
fn ephemeral_bind() -> Result<()> {
    tracer_first(&EPHEMERAL_BIND)
}

#[test]
fn ephemeral_bind_then_connect() -> Result<()> {
    tracer_first(&BOUND_THEN_CONNECTED)
}

#[test]
fn outbound_connection_to_itself() -> Result<()> {
    tracer_first(&TO_ITSELF)
}
