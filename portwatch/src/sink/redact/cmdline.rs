//! How much of a command line is told.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// `--cmdline`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cmdline {
    /// Nothing.
    None,
    /// The first argument, which names the program.
    Argv0,
    /// All of it.
    #[default]
    Full,
}

impl Cmdline {
    pub(super) fn apply(
        self,
        text: &mut Option<Vec<String>>,
        bytes: &mut Option<Vec<String>>,
        truncated: &mut bool,
    ) {
        match self {
            Self::Full => {}
            Self::None => {
                (*text, *bytes, *truncated) = (None, None, false);
            }
            Self::Argv0 => {
                // The cut hit the last argument: the first is whole when there are others.
                *truncated &= text.as_ref().is_some_and(|text| text.len() <= 1);
                text.iter_mut().for_each(|text| text.truncate(1));
                bytes.iter_mut().for_each(|bytes| bytes.truncate(1));
                if bytes
                    .as_ref()
                    .is_some_and(|bytes| bytes.iter().all(|arg| is_utf8(arg)))
                {
                    *bytes = None;
                }
            }
        }
    }
}

/// The text beside it tells the same.
fn is_utf8(base64: &str) -> bool {
    STANDARD
        .decode(base64)
        .is_ok_and(|bytes| str::from_utf8(&bytes).is_ok())
}
