//! Contestants measured in turns, so that what disturbs the machine disturbs all of them alike.
//!
//! A round goes through the sides there and back (A B B A; with three, A B C C B A): a machine
//! that slows down steadily favours none. Each round gives one cost a side and so one ratio; the
//! verdict is the median of the ratios of many rounds, not the ratio of two medians.

use anyhow::Result;

use crate::interval::Interval;

/// What each side cost, round by round.
#[derive(Debug)]
pub(crate) struct Contest {
    /// By side, then by round.
    costs: Vec<Vec<f64>>,
}

impl Contest {
    /// Runs the sides in turns. `measure` runs a slice of a side and says its cost.
    pub(crate) fn run(
        rounds: usize,
        sides: usize,
        mut measure: impl FnMut(usize) -> Result<f64>,
    ) -> Result<Self> {
        let [contest] = Self::run_many(rounds, sides, |side| Ok([measure(side)?]))?;
        Ok(contest)
    }

    /// The same where a slice has several costs: a contest for each.
    pub(crate) fn run_many<const N: usize>(
        rounds: usize,
        sides: usize,
        mut measure: impl FnMut(usize) -> Result<[f64; N]>,
    ) -> Result<[Self; N]> {
        let mut contests = [(); N].map(|()| Self {
            costs: vec![Vec::with_capacity(rounds); sides],
        });
        for side in 0..sides {
            // Caches, buffers and threads as they will be.
            measure(side)?;
        }
        for _ in 0..rounds {
            let mut there = Vec::with_capacity(sides);
            for side in 0..sides {
                there.push(measure(side)?);
            }
            for side in (0..sides).rev() {
                let back = measure(side)?;
                for (kind, contest) in contests.iter_mut().enumerate() {
                    let cost = f64::midpoint(there[side][kind], back[kind]);
                    contest.costs[side].push(cost);
                }
            }
        }
        Ok(contests)
    }

    /// What a side cost.
    pub(crate) fn cost(&self, side: usize) -> Interval {
        Interval::of(&self.costs[side])
    }

    /// What a side cost, in costs of the other.
    pub(crate) fn ratio(&self, side: usize, other: usize) -> Interval {
        self.per_round(|costs| costs[side] / costs[other])
    }

    /// Any figure that is made of the costs of one round.
    pub(crate) fn per_round(&self, figure: impl Fn(&[f64]) -> f64) -> Interval {
        let rounds = self.costs.first().map_or(0, Vec::len);
        let figures: Vec<f64> = (0..rounds)
            .map(|round| {
                let costs: Vec<f64> = self.costs.iter().map(|side| side[round]).collect();
                figure(&costs)
            })
            .collect();
        Interval::of(&figures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_visited_there_and_back() {
        let mut visits = Vec::new();
        let contest = Contest::run(2, 3, |side| {
            visits.push(side);
            Ok(1.0)
        });
        assert!(contest.is_ok());
        assert_eq!(visits, [0, 1, 2, 0, 1, 2, 2, 1, 0, 0, 1, 2, 2, 1, 0]);
    }

    /// Every visit is slower than the one before: the ratio of equal sides must not see it.
    #[test]
    fn a_steady_drift_favours_no_side() {
        let mut time = 100.0;
        let contest = Contest::run(20, 2, |_| {
            time += 1.0;
            Ok(time)
        })
        .expect("no side fails");
        assert!((contest.ratio(0, 1).median - 1.0).abs() < 1e-9);
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let mut round = 0.0;
        let contest = Contest::run(9, 2, |side| {
            round += 0.25;
            Ok(if side == 0 { 3.0 } else { 1.5 } * f64::from(round as u32 + 1))
        })
        .expect("no side fails");
        let ratio = contest.ratio(0, 1);
        assert!((1.5..=2.5).contains(&ratio.median), "{ratio:?}");
        assert!(contest.cost(0).median > contest.cost(1).median);
    }

    #[test]
    fn a_failing_side_ends_it() {
        assert!(Contest::run(1, 1, |_| anyhow::bail!("no socket")).is_err());
    }
}
