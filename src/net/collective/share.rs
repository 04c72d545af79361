//! Which patches of a batch a rank computes.

use std::ops::Range;

/// A batch of patches shared out among ranks in their order: the first ranks have one more where it does not divide.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share {
    /// The rank whose share it is.
    pub rank: usize,
    /// Ranks in all.
    pub ranks: usize,
    /// Patches of the batch.
    pub patches: usize,
}

impl Share {
    /// The patches of `rank`.
    #[must_use]
    pub fn of(&self, rank: usize) -> Range<usize> {
        let (each, more) = (self.patches / self.ranks, self.patches % self.ranks);
        let first = rank * each + rank.min(more);
        first..first + each + usize::from(rank < more)
    }

    /// The patches of this rank.
    #[must_use]
    pub fn mine(&self) -> Range<usize> {
        self.of(self.rank)
    }

    /// Whether every rank has a patch.
    #[must_use]
    pub fn is_for_all(&self) -> bool {
        self.patches >= self.ranks
    }

    /// Rows of an image operand of the whole batch, given those of this rank's share: every patch has as many.
    pub(crate) fn rows_of_all(&self, mine: usize) -> usize {
        mine / self.mine().len().max(1) * self.patches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_follow_each_other_and_leave_nothing_out() {
        for ranks in 1..6 {
            for patches in 0..14 {
                let share = Share { rank: 0, ranks, patches };
                let mut next = 0;
                for rank in 0..ranks {
                    let part = share.of(rank);
                    assert_eq!(part.start, next);
                    assert!(part.len() == patches / ranks || part.len() == patches.div_ceil(ranks));
                    next = part.end;
                }
                assert_eq!(next, patches);
                assert_eq!(share.is_for_all(), (0..ranks).all(|rank| !share.of(rank).is_empty()));
            }
        }
    }

    #[test]
    fn rows_of_all_are_those_of_equal_patches() {
        let share = Share { rank: 1, ranks: 2, patches: 5 };
        assert_eq!(share.mine(), 3..5);
        assert_eq!(share.rows_of_all(2 * 64), 5 * 64);
    }
}
