//! Why the kernel refused a program, short enough for a line.

use aya::programs::ProgramError;

/// The kernel's reason for refusing a program, in a line or a few.
#[must_use]
pub fn program_reason(error: &ProgramError) -> String {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "aya's error enum is non_exhaustive; the rest tell themselves well enough"
    )]
    match error {
        ProgramError::LoadError {
            io_error,
            verifier_log,
        } => {
            let log = verifier_log.to_string();
            let tail: Vec<&str> = log.lines().rev().take(6).collect();
            if tail.is_empty() {
                return io_error.to_string();
            }
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            format!(
                "{io_error}; the verifier's last lines: {}",
                tail.join(" | ")
            )
        }
        ProgramError::SyscallError(error) => error.io_error.to_string(),
        ProgramError::TracePointError(error) => chain(error),
        other => chain(other),
    }
}

/// An error with its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
