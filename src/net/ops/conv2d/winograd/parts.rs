//! Images whose channels lie in one tensor, or in two side by side.

/// `[N, H, W, channels]`, the first `split` channels in one tensor, the others in another.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Parts<'a, T> {
    values: [&'a [T]; 2],
    split: usize,
    channels: usize,
}

impl<'a, T> Parts<'a, T> {
    /// All channels in one tensor.
    pub(in super::super) fn whole(values: &'a [T], channels: usize) -> Self {
        Self { values: [values, &[]], split: channels, channels }
    }

    /// The first `split` of `channels` channels in the first tensor.
    pub(in super::super) fn joined(values: [&'a [T]; 2], split: usize, channels: usize) -> Self {
        assert!(split > 0 && split < channels, "one of two images without channels");
        Self { values, split, channels }
    }

    /// Values of both tensors.
    pub(super) fn len(&self) -> usize {
        self.values[0].len() + self.values[1].len()
    }

    pub(super) fn channels(&self) -> usize {
        self.channels
    }

    /// Where channel `channel` of the first pixel lies, and the values from one pixel to the next.
    #[inline(always)]
    pub(super) fn at(&self, channel: usize) -> (*const T, usize) {
        let [first, rest] = self.values;
        if channel < self.split {
            (first.as_ptr().wrapping_add(channel), self.split)
        } else {
            (rest.as_ptr().wrapping_add(channel - self.split), self.channels - self.split)
        }
    }
}
