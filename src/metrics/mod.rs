//! Confusion matrix, Jaccard and friends.
