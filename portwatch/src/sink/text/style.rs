//! Colours, or none.

use anstyle::{AnsiColor, Style};

/// The styles of a text; all empty where colours are not wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Palette {
    /// CONFLICT, LOST, warnings.
    pub alarm: Style,
    /// RESOLVED.
    pub relief: Style,
    /// Who has the port.
    pub culprit: Style,
    /// The sentence.
    pub strong: Style,
    /// Commands.
    pub command: Style,
    /// Labels and times.
    pub faint: Style,
}

impl Palette {
    /// No colours.
    pub const PLAIN: Self = Self {
        alarm: Style::new(),
        relief: Style::new(),
        culprit: Style::new(),
        strong: Style::new(),
        command: Style::new(),
        faint: Style::new(),
    };

    /// The 16 colours that every theme knows.
    pub const COLOURED: Self = Self {
        alarm: AnsiColor::Red.on_default().bold(),
        relief: AnsiColor::Green.on_default().bold(),
        culprit: AnsiColor::Yellow.on_default().bold(),
        strong: Style::new().bold(),
        command: AnsiColor::Cyan.on_default(),
        faint: Style::new().dimmed(),
    };

    /// [`Palette::COLOURED`] or [`Palette::PLAIN`].
    #[must_use]
    pub fn new(coloured: bool) -> Self {
        if coloured {
            Self::COLOURED
        } else {
            Self::PLAIN
        }
    }

    /// `text` in `style`.
    #[must_use]
    pub fn paint(&self, style: Style, text: &str) -> String {
        format!("{style}{text}{style:#}")
    }
}
