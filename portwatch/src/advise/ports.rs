//! Lists of ports as `net.ipv4.ip_local_reserved_ports` has them: `8080,9148-9150`.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A set of ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortList {
    /// Sorted, not empty, neither overlapping nor touching.
    ranges: Vec<RangeInclusive<u16>>,
}

/// A list that is not of the kernel's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a list of ports such as `8080,9148-9150`")]
pub struct NotAPortList;

impl PortList {
    /// Adds one port; a port that is there already changes nothing.
    pub fn insert(&mut self, port: u16) {
        self.ranges.push(port..=port);
        self.tidy();
    }

    /// Whether the port is in the list.
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        self.ranges.iter().any(|range| range.contains(&port))
    }

    /// How many ports of `low..=high` are in the list.
    #[must_use]
    pub fn count_within(&self, low: u16, high: u16) -> u32 {
        let within = self.ranges.iter().map(|range| {
            let (from, to) = (*range.start().max(&low), *range.end().min(&high));
            u32::from(to)
                .saturating_add(1)
                .saturating_sub(u32::from(from))
        });
        within.sum()
    }

    fn tidy(&mut self) {
        self.ranges
            .sort_by_key(|range| (*range.start(), *range.end()));
        let mut tidy: Vec<RangeInclusive<u16>> = Vec::with_capacity(self.ranges.len());
        for range in self.ranges.drain(..) {
            match tidy.last_mut() {
                Some(last) if *range.start() <= last.end().saturating_add(1) => {
                    *last = *last.start()..=*last.end().max(range.end());
                }
                Some(_) | None => tidy.push(range),
            }
        }
        self.ranges = tidy;
    }
}

impl FromStr for PortList {
    type Err = NotAPortList;

    fn from_str(text: &str) -> Result<Self, NotAPortList> {
        let mut list = Self::default();
        let parts = text
            .trim()
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        for part in parts {
            let (low, high) = part.split_once('-').unwrap_or((part, part));
            let low: u16 = low.trim().parse().map_err(|_| NotAPortList)?;
            let high: u16 = high.trim().parse().map_err(|_| NotAPortList)?;
            if low > high {
                return Err(NotAPortList);
            }
            list.ranges.push(low..=high);
        }
        list.tidy();
        Ok(list)
    }
}

impl fmt::Display for PortList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.ranges.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            let (low, high) = (range.start(), range.end());
            write!(f, "{low}")?;
            if low != high {
                write!(f, "-{high}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str, port: u16) -> String {
        let mut list: PortList = text.parse().unwrap();
        list.insert(port);
        list.to_string()
    }

    #[test]
    fn a_port_joins_what_is_set() {
        assert_eq!(with("", 60001), "60001");
        assert_eq!(with("\n", 60001), "60001");
        assert_eq!(with("8080,9148-9150", 60001), "8080,9148-9150,60001");
        assert_eq!(with("8080,9148-9150", 9149), "8080,9148-9150");
        assert_eq!(with("8080,9148-9150", 9151), "8080,9148-9151");
        assert_eq!(with("8080,8082", 8081), "8080-8082");
        assert_eq!(with("9000,80", 443), "80,443,9000");
    }

    #[test]
    fn the_ends_of_the_space_do_not_overflow() {
        assert_eq!(with("65534", 65535), "65534-65535");
        assert_eq!(with("1-65535", 65535), "1-65535");
        assert_eq!(with("1", 0), "0-1");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["x", "70000", "5-", "9-5", "1 2", "-", "1-2-3"] {
            assert_eq!(text.parse::<PortList>(), Err(NotAPortList), "{text}");
        }
    }

    #[test]
    fn ports_within_a_range_are_counted() {
        let list: PortList = "10-12,20,60000-65535".parse().unwrap();
        let count = |low, high| list.count_within(low, high);
        assert_eq!(count(1, 9), 0);
        assert_eq!(count(11, 20), 3);
        assert_eq!(count(12, 19), 1);
        assert_eq!(count(13, 19), 0);
        assert_eq!(count(65535, 65535), 1);
        assert_eq!(count(1, 65535), 4 + 5536);
    }

    #[test]
    fn contains_is_inclusive() {
        let list: PortList = "10-12,20".parse().unwrap();
        let inside: Vec<_> = (9..=21).filter(|port| list.contains(*port)).collect();
        assert_eq!(inside, [10, 11, 12, 20]);
    }
}
