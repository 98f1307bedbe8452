//! Some of many things that come one after the other, spread evenly over all of them.

/// At most so many.
#[derive(Debug)]
pub(super) struct Thinned<T, const MOST: usize> {
    kept: Vec<T>,
    /// One of so many is kept.
    each: u64,
    seen: u64,
}

impl<T, const MOST: usize> Default for Thinned<T, MOST> {
    fn default() -> Self {
        Self {
            kept: Vec::new(),
            each: 1,
            seen: 0,
        }
    }
}

impl<T, const MOST: usize> Thinned<T, MOST> {
    /// One more comes.
    pub(super) fn push(&mut self, make: impl FnOnce() -> T) {
        if self.seen.is_multiple_of(self.each) {
            self.kept.push(make());
            if self.kept.len() > MOST {
                let mut every_other = false;
                self.kept.retain(|_| {
                    every_other = !every_other;
                    every_other
                });
                self.each *= 2;
            }
        }
        self.seen += 1;
    }

    /// In order; the first is always among them.
    pub(super) fn kept(&self) -> &[T] {
        &self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::Thinned;

    #[test]
    fn what_is_kept_is_spread_over_all() {
        for count in [1, 7, 8, 9, 100, 12_345_u64] {
            let mut thinned = Thinned::<u64, 8>::default();
            (0..count).for_each(|n| thinned.push(|| n));
            let kept = thinned.kept();
            let least = usize::try_from(count.min(4)).unwrap();
            assert!((least..=8).contains(&kept.len()), "{kept:?}");
            assert_eq!(kept[0], 0);
            let steps: Vec<_> = kept.windows(2).map(|two| two[1] - two[0]).collect();
            assert!(steps.iter().all(|step| *step == steps[0]), "{kept:?}");
            let last = kept.last().unwrap();
            assert!(
                count - last <= steps.first().copied().unwrap_or(1),
                "{kept:?}"
            );
        }
    }
}
