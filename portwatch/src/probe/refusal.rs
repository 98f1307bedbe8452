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
        } => rejection(io_error, &verifier_log.to_string()),
        ProgramError::SyscallError(error) => error.io_error.to_string(),
        ProgramError::TracePointError(error) => chain(error),
        other => chain(other),
    }
}

/// Lines of the verifier's log that are told.
const LINES: usize = 6;
/// Characters of each at most.
const WIDTH: usize = 200;

/// The end of the verifier's log: it says there what it did not like, after thousands of lines.
fn rejection(errno: &std::io::Error, log: &str) -> String {
    let mut tail: Vec<String> = log
        .lines()
        .rev()
        .filter(|line| !line.trim().is_empty())
        .take(LINES)
        .map(|line| line.chars().take(WIDTH).collect())
        .collect();
    if tail.is_empty() {
        return errno.to_string();
    }
    tail.reverse();
    format!("{errno}; the verifier's last lines: {}", tail.join(" | "))
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

#[cfg(test)]
mod tests;
