//! The rules beside the table. The table itself is tested against kernels in `tests/offsets.rs`.

use super::*;

fn complete() -> Offsets {
    Offsets {
        net_hashinfo: 0,
        ..Offsets::ZERO
    }
}

fn member(bit_offset: u32, bit_size: Option<u32>, size: u32) -> Member {
    Member {
        bit_offset,
        bit_size,
        size,
        is_pointer: false,
    }
}

#[test]
fn bits_lie_in_one_byte() {
    assert_eq!(bits(&member(152, Some(4), 1)), Ok(pack_bits(19, 0, 4)));
    assert_eq!(bits(&member(157, Some(1), 1)), Ok(pack_bits(19, 5, 1)));
    assert_eq!(
        bits(&member(160, None, 1)),
        Ok(pack_bits(20, 0, 8)),
        "a byte of its own"
    );
    assert_eq!(bits(&member(156, Some(5), 1)), Err(Cause::Bits));
    assert_eq!(bits(&member(160, None, 4)), Err(Cause::Bits));
    assert_eq!(bits(&member(160, Some(u32::MAX), 4)), Err(Cause::Bits));
    assert_eq!(bits(&member(0x1_0000 * 8, Some(1), 1)), Err(Cause::Value));
}

#[test]
fn owners_are_reached_one_way_or_the_other() {
    let no_owners = Offsets {
        tb_owners: ABSENT,
        ..complete()
    };
    assert_eq!(check(&complete()), Ok(()));
    assert_eq!(check(&no_owners), Ok(()));
    for half in [
        Offsets {
            tb_bhash2: ABSENT,
            ..no_owners
        },
        Offsets {
            tb2_bhash_node: ABSENT,
            ..no_owners
        },
        Offsets {
            tb2_owners: ABSENT,
            ..no_owners
        },
    ] {
        assert_eq!(check(&half), Err(Gap::Owners));
    }
}

#[test]
fn hashinfo_is_reached_one_way_or_the_other() {
    let embedded = Offsets {
        net_tcp_death_row_is_pointer: 0,
        ..complete()
    };
    assert_eq!(check(&embedded), Ok(()));
    let absent = Offsets {
        net_hashinfo: ABSENT,
        ..embedded
    };
    assert_eq!(check(&absent), Err(Gap::Hashinfo));
    let pointer = Offsets {
        net_tcp_death_row_is_pointer: 1,
        ..absent
    };
    assert_eq!(check(&pointer), Ok(()));
    assert_eq!(
        check(&Offsets {
            death_row_hashinfo: ABSENT,
            ..pointer
        }),
        Err(Gap::Hashinfo),
        "no way on from the pointer"
    );
}

#[test]
fn the_udp_table_is_reached_one_way_or_the_other() {
    let until_7_0 = Offsets {
        net_udp_table: ABSENT,
        ..complete()
    };
    let since_7_1 = Offsets {
        proto_udp_table: ABSENT,
        ..complete()
    };
    assert_eq!((check(&until_7_0), check(&since_7_1)), (Ok(()), Ok(())));
    assert_eq!(
        check(&Offsets {
            proto_udp_table: ABSENT,
            ..until_7_0
        }),
        Err(Gap::UdpTable)
    );
}

#[test]
fn half_of_a_form_is_none_of_it() {
    let mut offsets = Offsets {
        inet_flag_no_port: ABSENT,
        inet_freebind: 5,
        ..complete()
    };
    all_or_none(&mut offsets);
    assert_eq!(offsets.inet_flags, ABSENT);
    assert_eq!(offsets.inet_flag_freebind, ABSENT);
    assert_eq!(offsets.inet_freebind, 5);
    assert_eq!(
        (offsets.tb_owners, offsets.tb_bhash2),
        (0, ABSENT),
        "one way to the owners"
    );
    let mut offsets = Offsets {
        tb_owners: ABSENT,
        inet_no_port: ABSENT,
        ..complete()
    };
    all_or_none(&mut offsets);
    assert_eq!((offsets.inet_freebind, offsets.tb_bhash2), (ABSENT, 0));
}

#[test]
fn registers_are_those_of_one_processor_or_the_other() {
    let arm64 = Offsets {
        regs_orig_ax: ABSENT,
        regs_di: ABSENT,
        regs_si: ABSENT,
        regs_r8: ABSENT,
        ..complete()
    };
    assert_eq!(check(&arm64), Ok(()));
    for neither in [
        Offsets {
            regs_array: ABSENT,
            ..arm64
        },
        Offsets {
            regs_di: ABSENT,
            ..complete()
        },
    ] {
        assert_eq!(check(&neither), Err(Gap::Registers));
    }
}
