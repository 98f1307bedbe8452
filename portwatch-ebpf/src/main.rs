//! The kernel side of portwatch.
//!
//! `probes` turn a hook's context into the same few calls: `owners` remembers who took which
//! socket's port, `fail` reports a refused call with every holder that `walk` finds, `traffic`
//! tells of ports taken and let go. `sock` and `task` hold every read of a kernel struct.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(
    clippy::needless_pass_by_value,
    reason = "aya's macros hand the context over by value"
)]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "fields are cut to the width the kernel gives them; the panic path of a checked \
              conversion would not pass the verifier"
)]
#![cfg_attr(
    feature = "flat",
    expect(
        dead_code,
        unused_imports,
        reason = "the scan of the bind tables needs `bpf_loop`: what only serves it is left over"
    )
)]

#[macro_use]
mod diagnostics;
mod config;
mod fail;
mod holder;
mod last_close;
mod maps;
mod notes;
mod owners;
mod probes;
mod registers;
mod sock;
mod stats;
mod task;
mod traffic;
mod walk;
mod watched;

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
