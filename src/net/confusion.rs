//! The hold-out's confusion matrix, counted straight from logits.

use rayon::prelude::*;

use super::IGNORE;

/// Pixels counted by one thread at a time.
const CHUNK: usize = 1 << 14;

/// Pixel counts by truth (row) and prediction (column).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Confusion {
    classes: usize,
    counts: Vec<u64>,
}

impl Confusion {
    pub(crate) fn new(classes: usize) -> Self {
        Self { classes, counts: vec![0; classes * classes] }
    }

    /// Of counts that were made elsewhere: `[classes, classes]`, truth by prediction.
    pub(crate) fn of_counts(classes: usize, counts: Vec<u64>) -> Self {
        assert_eq!(counts.len(), classes * classes, "a square of counts");
        Self { classes, counts }
    }

    /// The counts, `[classes, classes]`.
    pub(crate) fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Counts pixels: `logits` is `[pixels, classes]`, `truth` class indices, [`IGNORE`] left out. The prediction is the
    /// class of the highest logit, the first of equals.
    pub(crate) fn add_logits(&mut self, logits: &[f32], truth: &[u8]) {
        let classes = self.classes;
        let parts: Vec<Vec<u64>> = logits
            .par_chunks(CHUNK * classes)
            .zip(truth.par_chunks(CHUNK))
            .map(|(logits, truth)| {
                let mut counts = vec![0; classes * classes];
                for (pixel, &truth) in logits.chunks_exact(classes).zip(truth) {
                    if truth != IGNORE {
                        counts[usize::from(truth) * classes + argmax(pixel)] += 1;
                    }
                }
                counts
            })
            .collect();
        for part in parts {
            for (count, more) in self.counts.iter_mut().zip(part) {
                *count += more;
            }
        }
    }

    /// Intersection over union by class index; `None` for a class that the truth does not hold.
    pub(crate) fn jaccard(&self) -> Vec<Option<f64>> {
        (0..self.classes)
            .map(|class| {
                let hit = self.counts[class * self.classes + class];
                let truth: u64 = self.counts[class * self.classes..][..self.classes].iter().sum();
                let predicted: u64 = self.counts.iter().skip(class).step_by(self.classes).sum();
                (truth > 0).then(|| hit as f64 / (truth + predicted - hit) as f64)
            })
            .collect()
    }
}

/// The index of the highest value, the first of equals.
pub(crate) fn argmax(values: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate().skip(1) {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

/// Mean over the classes that occur; `None` when none does.
pub(crate) fn mean(jaccard: &[Option<f64>]) -> Option<f64> {
    let present: Vec<f64> = jaccard.iter().copied().flatten().collect();
    (!present.is_empty()).then(|| present.iter().sum::<f64>() / present.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One-hot logits.
    fn logits(predicted: &[usize], classes: usize) -> Vec<f32> {
        predicted.iter().flat_map(|&p| (0..classes).map(move |c| f32::from(u8::from(c == p)))).collect()
    }

    #[test]
    fn equals_scikit_learn() {
        // jaccard_score([0,0,1,1,1,2], [0,1,1,1,2,2], average=None) = [1/2, 1/2, 1/2]; the seventh pixel has no label.
        let mut confusion = Confusion::new(4);
        confusion.add_logits(&logits(&[0, 1, 1, 1, 2, 2, 3], 4), &[0, 0, 1, 1, 1, 2, IGNORE]);
        assert_eq!(confusion.jaccard(), [Some(0.5), Some(0.5), Some(0.5), None]);
        assert_eq!(mean(&confusion.jaccard()), Some(0.5));
        // jaccard_score([0,0,0,2], [0,0,1,1], average=None) = [2/3, 0, 0]: class 1 is not in the truth.
        let mut confusion = Confusion::new(3);
        confusion.add_logits(&logits(&[0, 0, 1, 1], 3), &[0, 0, 0, 2]);
        assert_eq!(confusion.jaccard(), [Some(2.0 / 3.0), None, Some(0.0)]);
        assert_eq!(mean(&confusion.jaccard()), Some(1.0 / 3.0));
    }

    #[test]
    fn counts_the_same_in_one_go_and_in_pieces_beyond_a_chunk() {
        let pixels = 2 * CHUNK + 77;
        let truth: Vec<u8> = (0..pixels).map(|i| (i * 7 % 3) as u8).collect();
        let predicted: Vec<usize> = (0..pixels).map(|i| i * 5 % 3).collect();
        let logits = logits(&predicted, 3);
        let mut whole = Confusion::new(3);
        whole.add_logits(&logits, &truth);
        let mut pieces = Confusion::new(3);
        for (l, t) in logits.chunks(3 * 1000).zip(truth.chunks(1000)) {
            pieces.add_logits(l, t);
        }
        assert_eq!(whole, pieces);
        assert_eq!(whole.counts.iter().sum::<u64>(), pixels as u64);
    }

    #[test]
    fn without_a_label_there_is_no_mean() {
        let mut confusion = Confusion::new(2);
        confusion.add_logits(&logits(&[0, 1], 2), &[IGNORE, IGNORE]);
        assert_eq!(mean(&confusion.jaccard()), None);
        assert_eq!(argmax(&[1.0, 1.0, 0.0]), 0);
    }
}
