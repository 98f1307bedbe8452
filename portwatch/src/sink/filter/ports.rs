//! One port or a range of them, as `--port` takes it.

use std::fmt;
use std::num::IntErrorKind;
use std::str::FromStr;

/// Ports from `low` to `high`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    low: u16,
    high: u16,
}

impl Ports {
    /// `port` is one of them.
    #[must_use]
    pub fn contains(self, port: u16) -> bool {
        (self.low..=self.high).contains(&port)
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.low == self.high {
            true => write!(f, "{}", self.low),
            false => write!(f, "{}-{}", self.low, self.high),
        }
    }
}

/// What is wrong with a port or a range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortsError {
    /// Nothing between two commas, or nothing at all.
    #[error("a port is missing; write for example 60001 or 8000-9000")]
    Empty,
    /// Not a number.
    #[error("`{0}` is not a port number; write for example 60001 or 8000-9000")]
    NotANumber(String),
    /// 0, or above 65535.
    #[error("port {0} does not exist; ports go from 1 to 65535")]
    OutOfRange(String),
    /// The first is above the second.
    #[error("the range {0}-{1} runs backwards; write {1}-{0}")]
    Backwards(u16, u16),
}

impl FromStr for Ports {
    type Err = PortsError;

    fn from_str(text: &str) -> Result<Self, PortsError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(PortsError::Empty);
        }
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        let (low, high) = (port(low)?, port(high)?);
        match low > high {
            true => Err(PortsError::Backwards(low, high)),
            false => Ok(Self { low, high }),
        }
    }
}

fn port(text: &str) -> Result<u16, PortsError> {
    let text = text.trim();
    match text.parse::<u16>() {
        Ok(0) => Err(PortsError::OutOfRange(text.to_owned())),
        Ok(port) if text.starts_with(|c: char| c.is_ascii_digit()) => Ok(port),
        Err(error) if *error.kind() == IntErrorKind::Empty => Err(PortsError::Empty),
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => {
            Err(PortsError::OutOfRange(text.to_owned()))
        }
        Ok(_) | Err(_) => Err(PortsError::NotANumber(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Ports, PortsError> {
        text.parse()
    }

    #[test]
    fn ports_and_ranges() {
        assert_eq!(
            parse("60001"),
            Ok(Ports {
                low: 60001,
                high: 60001
            })
        );
        assert_eq!(
            parse(" 8000 - 9000 "),
            Ok(Ports {
                low: 8000,
                high: 9000
            })
        );
        assert_eq!(parse("1-65535").unwrap().to_string(), "1-65535");
        assert_eq!(parse("80-80").unwrap().to_string(), "80");
    }

    #[test]
    fn every_bad_shape_has_its_reason() {
        let number = |text: &str| PortsError::NotANumber(text.to_owned());
        let outside = |text: &str| PortsError::OutOfRange(text.to_owned());
        for (text, error) in [
            ("", PortsError::Empty),
            ("  ", PortsError::Empty),
            ("-", PortsError::Empty),
            ("80-", PortsError::Empty),
            ("-80", PortsError::Empty),
            ("0", outside("0")),
            ("0-80", outside("0")),
            ("65536", outside("65536")),
            ("70000", outside("70000")),
            ("99999999999999999999", outside("99999999999999999999")),
            ("http", number("http")),
            ("80a", number("80a")),
            ("+80", number("+80")),
            ("8.0", number("8.0")),
            ("1-2-3", number("2-3")),
            ("90-80", PortsError::Backwards(90, 80)),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }
}
