//! Who held the ports of a namespace when, added up in cells of time and ports.
//!
//! Bounded whatever comes: as the run grows, two columns of time become one; a cell remembers its
//! largest programs and adds the others up.

/// Columns of time.
pub(super) const COLUMNS: usize = 240;
/// Rows of ports.
pub(super) const ROWS: usize = 128;
/// Ports of a row.
pub(super) const PORTS: u32 = 65_536 / 128;
/// Programs that a cell remembers.
const REMEMBERED: usize = 6;
/// Stands for the programs that a cell does not remember.
pub(super) const OTHERS: u32 = u32::MAX;

/// Nanoseconds of a column in the beginning.
const FINEST: i64 = 10_000_000;

/// Columns of time, the same for the whole page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    /// Nanoseconds since 1970 of the left end.
    pub(super) began: i64,
    /// Nanoseconds of a column.
    pub(super) column: i64,
}

impl Axis {
    /// Of what lasts from `began` to `ended`.
    pub(super) fn of(began: i64, ended: i64) -> Self {
        let column = FINEST;
        let mut axis = Self { began, column };
        while axis.end() < ended && axis.column < i64::MAX / 1024 {
            axis.column *= 2;
        }
        axis
    }

    pub(super) fn end(self) -> i64 {
        self.left(COLUMNS)
    }

    /// Left end of a column.
    pub(super) fn left(self, column: usize) -> i64 {
        let column = i64::try_from(column).unwrap_or(i64::MAX);
        self.began
            .saturating_add(self.column.saturating_mul(column))
    }
}

/// Port time of one program in a cell, or of all.
#[derive(Clone, Debug, Default)]
struct Cell(Vec<(u32, u64)>);

impl Cell {
    fn add(&mut self, program: u32, amount: u64) {
        let full = self.0.len() >= REMEMBERED;
        match self.0.iter_mut().find(|(known, _)| *known == program) {
            Some((_, sum)) => *sum += amount,
            None if full && program != OTHERS => self.add(OTHERS, amount),
            None => self.0.push((program, amount)),
        }
    }
}

/// The cells of one namespace.
#[derive(Debug)]
pub(super) struct Grid {
    axis: Axis,
    cells: Vec<Cell>,
}

impl Grid {
    pub(super) fn new(began: i64) -> Self {
        Self {
            axis: Axis {
                began,
                column: FINEST,
            },
            cells: vec![Cell::default(); COLUMNS * ROWS],
        }
    }

    /// A program held a port from `since` until `until`.
    pub(super) fn add(&mut self, program: u32, port: u16, since: i64, until: i64) {
        while until > self.axis.end() && self.axis.column < i64::MAX / 1024 {
            self.halve();
        }
        let Axis { began, column } = self.axis;
        let row = (u32::from(port) / PORTS) as usize;
        let (since, until) = (since.max(began), until.max(began + 1).max(since + 1));
        let first = place(since - began, column);
        let last = place(until - began - 1, column);
        for at in first..=last {
            let left = self.axis.left(at);
            let inside = until.min(left + column) - since.max(left);
            let amount = u64::try_from(inside).unwrap_or(0);
            self.cells[at * ROWS + row].add(program, amount);
        }
    }

    /// Two columns become one.
    fn halve(&mut self) {
        self.axis.column *= 2;
        for at in 0..COLUMNS {
            for row in 0..ROWS {
                let mut sum = Cell::default();
                for from in [2 * at, 2 * at + 1] {
                    if from < COLUMNS {
                        let cell = std::mem::take(&mut self.cells[from * ROWS + row]);
                        cell.0
                            .iter()
                            .for_each(|(who, amount)| sum.add(*who, *amount));
                    }
                }
                self.cells[at * ROWS + row] = sum;
            }
        }
    }

    /// The cells as they are with the columns of `axis`, which begins no later and is no finer.
    pub(super) fn on(mut self, axis: Axis) -> Self {
        while self.axis.column < axis.column {
            self.halve();
        }
        let shift = place(self.axis.began.saturating_sub(axis.began), axis.column);
        let mut cells = vec![Cell::default(); COLUMNS * ROWS];
        for at in 0..COLUMNS {
            let to = (at + shift).min(COLUMNS - 1);
            for row in 0..ROWS {
                let cell = std::mem::take(&mut self.cells[at * ROWS + row]);
                let sum = &mut cells[to * ROWS + row];
                cell.0
                    .iter()
                    .for_each(|(who, amount)| sum.add(*who, *amount));
            }
        }
        Self { axis, cells }
    }

    /// Ports held on average, by the program that held most and by all.
    pub(super) fn cell(&self, column: usize, row: usize) -> Option<(u32, f64)> {
        let cell = &self.cells[column * ROWS + row].0;
        let (most, _) = cell.iter().max_by_key(|(_, amount)| *amount)?;
        let all: u64 = cell.iter().map(|(_, amount)| amount).sum();
        #[expect(clippy::cast_precision_loss, reason = "an average, to be looked at")]
        Some((*most, all as f64 / self.axis.column as f64))
    }

    /// Port time of each program.
    pub(super) fn programs(&self) -> Vec<(u32, u64)> {
        let mut sums = std::collections::HashMap::new();
        for (program, amount) in self.cells.iter().flat_map(|cell| &cell.0) {
            *sums.entry(*program).or_insert(0_u64) += amount;
        }
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.sort_by_key(|(program, amount)| (std::cmp::Reverse(*amount), *program));
        sums
    }
}

/// The column of a time behind the left end.
fn place(since: i64, column: i64) -> usize {
    usize::try_from(since.max(0) / column)
        .unwrap_or(0)
        .min(COLUMNS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    #[test]
    fn a_long_hold_is_seen_in_every_column_and_time_grows() {
        let mut grid = Grid::new(0);
        grid.add(1, 40_000, 0, S);
        let row = 40_000 / PORTS as usize;
        assert_eq!(grid.cell(0, row), Some((1, 1.0)));
        assert_eq!(grid.cell(99, row), Some((1, 1.0)));
        assert_eq!(grid.cell(100, row), None);
        grid.add(2, 40_001, S / 2, 12 * S);
        assert_eq!(grid.axis.column, 8 * FINEST);
        // Of 80 ms from 480 ms on: the first all of it, the second 60 ms.
        let (most, held) = grid.cell(6, row).unwrap();
        assert_eq!((most, held), (1, 1.75));
        let programs = grid.programs();
        assert_eq!(programs, [(2, 23 * S as u64 / 2), (1, S as u64)]);
    }

    #[test]
    fn programs_beyond_the_remembered_are_added_up() {
        let mut grid = Grid::new(0);
        (0..100).for_each(|program| grid.add(program, 1, 0, FINEST));
        let programs = grid.programs();
        assert_eq!(programs[0], (OTHERS, 94 * FINEST as u64));
        assert_eq!(programs.len(), 7);
    }

    #[test]
    fn grids_of_later_runs_are_put_in_their_place() {
        let column = FINEST * 4;
        let mut grid = Grid::new(120 * column);
        grid.add(7, 0, 120 * column, 120 * column + column / 2);
        let axis = Axis::of(0, 240 * column);
        assert_eq!(axis.column, column);
        let grid = grid.on(axis);
        assert_eq!(grid.cell(120, 0), Some((7, 0.5)));
    }
}
