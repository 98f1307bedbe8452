use super::rejection;
use std::io;

#[test]
fn a_long_log_comes_to_its_last_lines() {
    let mut log: String = (0..10_000)
        .map(|line| format!("{line}: (bf) r1 = r6\n"))
        .collect();
    log.push_str("R1 invalid mem access 'scalar'\nprocessed 10000 insns (limit 1000000)\n");
    let told = rejection(&io::Error::from_raw_os_error(libc_eacces()), &log);
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(told.starts_with("Permission denied"), "{told}");
    assert!(
        told.contains("R1 invalid mem access 'scalar' | processed 10000 insns"),
        "{told}"
    );
    assert!(
        told.contains("9999: (bf)") && !told.contains("9995: (bf)"),
        "{told}"
    );
}

#[test]
fn a_line_without_end_is_cut() {
    let told = rejection(
        &io::Error::from_raw_os_error(libc_eacces()),
        &"x".repeat(100_000),
    );
    assert!(told.len() < 2000, "{} bytes", told.len());
}

#[test]
fn without_a_log_the_errno_is_all() {
    let told = rejection(&io::Error::from_raw_os_error(libc_eacces()), "");
    assert_eq!(told, "Permission denied (os error 13)");
}

fn libc_eacces() -> i32 {
    nix::errno::Errno::EACCES as i32
}
