//! The layouts of this build's records.

use super::layout::Code::{Born, Clock, Last, Like, Raw, Time};
use super::layout::Home::{Context, Own, Socket};
use super::layout::{Code, Field, Home, Layout};
use portwatch_common as wire;

const fn f(width: usize, home: Home, code: Code) -> Field {
    #[expect(clippy::cast_possible_truncation, reason = "1, 2, 4 or 8")]
    Field::new(width as u8, home, code)
}

/// [`wire::RecordHeader`] of a record that stands alone: fields 0 to 4.
const HEADER: [Field; 5] = [
    f(2, Context, Raw),
    f(2, Context, Raw),
    f(4, Own, Last),
    f(8, Own, Time),
    f(8, Context, Last),
];

/// The same with an id that counts.
const NUMBERED: [Field; 5] = [HEADER[0], HEADER[1], HEADER[2], HEADER[3], f(8, Own, Last)];

/// [`wire::Task`] right behind the header: fields 5 to 12.
const TASK: [Field; 8] = [
    f(4, Context, Raw),
    f(4, Context, Like(5)),
    f(4, Context, Raw),
    f(4, Context, Raw),
    f(8, Context, Clock),
    f(8, Context, Last),
    f(8, Context, Raw),
    f(8, Context, Raw),
];

/// [`wire::Sock`].
const SOCK: [Field; 22] = [
    f(8, Socket, Last),
    f(8, Socket, Last),
    f(8, Socket, Last),
    f(8, Socket, Last),
    f(8, Socket, Last),
    f(8, Socket, Last),
    f(8, Socket, Last),
    f(4, Socket, Last),
    f(4, Socket, Raw),
    f(4, Socket, Last),
    f(4, Socket, Last),
    f(2, Context, Raw),
    f(2, Context, Raw),
    f(2, Socket, Raw),
    f(2, Socket, Raw),
    f(1, Context, Raw),
    f(1, Context, Raw),
    f(1, Context, Raw),
    f(1, Context, Raw),
    f(4, Context, Raw),
    // Cookie and inode of the namespace follow in assignments only.
    f(8, Context, Last),
    f(4, Context, Raw),
];

/// Number of `Sock::port` in a record that has its socket right behind the task.
const PORT: u8 = 5 + 8 + 13;

/// [`wire::Owner`] of a closed socket: nearly always the process that closes it.
const OWNER: [Field; 13] = [
    f(8, Context, Raw),
    f(8, Context, Raw),
    f(8, Context, Like(9)),
    f(8, Own, Born),
    f(8, Own, Last),
    f(8, Own, Last),
    f(8, Context, Last),
    f(4, Context, Like(5)),
    f(4, Context, Raw),
    f(1, Context, Raw),
    f(1, Context, Raw),
    f(2, Own, Like(PORT)),
    f(4, Context, Raw),
];

/// Of the [`wire::Owner`] of a holder, nothing is the same as anything.
const HOLDER_OWNER: [Field; 13] = [
    f(8, Own, Raw),
    f(8, Own, Raw),
    f(8, Own, Clock),
    f(8, Own, Clock),
    f(8, Own, Last),
    f(8, Own, Last),
    f(8, Own, Last),
    f(4, Own, Last),
    f(4, Own, Last),
    f(1, Own, Raw),
    f(1, Own, Raw),
    f(2, Own, Last),
    f(4, Own, Last),
];

fn join(parts: &[&[Field]]) -> Vec<Field> {
    parts.concat()
}

/// The layouts of this build's records.
#[must_use]
pub fn own() -> Vec<Layout> {
    use wire::RecordKind;
    let sock = &SOCK[..20];
    let failure = join(&[
        &NUMBERED,
        &TASK,
        sock,
        // The sockaddr.
        &[f(8, Own, Last), f(8, Own, Last), f(4, Own, Last)],
        &[f(2, Own, Last), f(2, Own, Last)],
        // Namespace, errno, counts, bucket, call, flags, range.
        &[f(8, Own, Last), f(4, Own, Last), f(4, Own, Last)],
        &[f(4, Own, Last); 6],
        &[f(1, Own, Raw); 4],
        &[f(2, Own, Last); 2],
    ]);
    let rest_of_holder = join(&[
        &[f(4, Own, Last); 2],
        &[f(8, Own, Last)], // fastreuse, fastreuseport and padding
        &[f(8, Own, Last)], // accepted_at
        &[f(8, Own, Last); 6],
    ]);
    let layouts = [
        (
            RecordKind::ASSIGN,
            size_of::<wire::AssignRecord>(),
            join(&[&HEADER, &TASK, &SOCK, &[f(1, Context, Raw); 4]]),
        ),
        (
            RecordKind::RELEASE,
            size_of::<wire::ReleaseRecord>(),
            join(&[
                &HEADER,
                &TASK,
                sock,
                &OWNER,
                &[f(8, Context, Last), f(4, Context, Raw), f(4, Context, Raw)],
            ]),
        ),
        (
            RecordKind::FAILURE,
            size_of::<wire::FailureRecord>(),
            failure.clone(),
        ),
        (
            RecordKind::REFUSED,
            size_of::<wire::FailureRecord>(),
            failure,
        ),
        (
            RecordKind::HOLDER,
            size_of::<wire::HolderRecord>(),
            join(&[&NUMBERED, sock, &HOLDER_OWNER, &rest_of_holder]),
        ),
        (
            RecordKind::EXIT,
            size_of::<wire::ExitRecord>(),
            join(&[&HEADER, &TASK]),
        ),
    ];
    layouts
        .into_iter()
        .filter_map(|(kind, size, fields)| {
            let size = u16::try_from(size).ok()?;
            Some(Layout { kind, size, fields })
        })
        .collect()
}
