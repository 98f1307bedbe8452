//! For tests only: hooks that are refused although the kernel would take them, so that what takes
//! their place can be tried on any kernel.

use super::hooks::Target;
use std::sync::OnceLock;

/// `KIND:TARGET` as the start line names them, separated by commas; `*` for any target.
const REFUSED: &str = "PORTWATCH_ASSUME_REFUSED";

/// Why the hook is refused, if it is to be.
pub(super) fn refusal(target: Target) -> Option<String> {
    static LIST: OnceLock<Vec<String>> = OnceLock::new();
    let list = LIST.get_or_init(|| {
        let words = std::env::var(REFUSED).unwrap_or_default();
        words.split(',').map(str::to_owned).collect()
    });
    let (kind, name) = (target.kind(), target.name());
    list.iter()
        .filter_map(|word| word.split_once(':'))
        .any(|(k, t)| k == kind && (t == name || t == "*"))
        .then(|| format!("{REFUSED} says so"))
}
