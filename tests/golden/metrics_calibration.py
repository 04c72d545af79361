"""Calibration of random probabilities by scikit-learn: the oracle of tests/metrics_calibration.rs.

    python tests/golden/metrics_calibration.py > tests/golden/metrics_calibration.json
"""

import json
import sys

import numpy as np
import sklearn
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, brier_score_loss

BINS = 15


def case(rng, codes, pixels, sharpness, digits):
    codes = np.array(codes)
    logits = rng.normal(size=(pixels, codes.size)) * sharpness
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    p = np.round(p, digits)  # as short decimals in the file; rows need not sum to 1 exactly
    p[:, -1] = np.maximum(np.round(1 - p[:, :-1].sum(1), digits), 0)
    p = p.astype(np.float32)
    truth = np.where(rng.random(pixels) < 0.6, codes[p.argmax(1)], rng.choice(codes, pixels))
    truth[rng.random(pixels) < 0.1] = 0
    kept, exact = truth[truth != 0], p[truth != 0].astype(np.float64)
    confidence, right = exact.max(1), codes[exact.argmax(1)] == kept
    accuracies, confidences = calibration_curve(right, confidence, n_bins=BINS, strategy="uniform")
    # calibration_curve leaves empty bins out, and counts nothing.
    counts = np.bincount(np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], confidence), minlength=BINS)
    weights = counts[counts > 0] / counts.sum()
    y = (kept[:, None] == codes).astype(float)
    brier = ((exact - y) ** 2).sum(1).mean()
    ordinary = np.allclose(exact.sum(1), 1, atol=1e-6)
    if ordinary:
        labels = np.sort(codes)
        known = brier_score_loss(kept, exact / exact.sum(1, keepdims=True), labels=labels, scale_by_half=False)
        assert abs(known - brier) < 1e-5, (known, brier)
    return {
        "codes": codes.tolist(),
        "truth": truth.tolist(),
        "probabilities": [[float(f"{v:.{digits}f}") for v in plane] for plane in p.T.tolist()],
        "pixels": int(kept.size),
        "ece": float((weights * np.abs(accuracies - confidences)).sum()),
        "brier": float(brier),
        "confidence": float(confidence.mean()),
        "accuracy": float(accuracy_score(np.ones(right.size, bool), right)),
        "counts": counts.tolist(),
        "accuracies": accuracies.tolist(),
        "confidences": confidences.tolist(),
    }


def main():
    rng = np.random.default_rng(5)
    cases = [
        case(rng, [1, 2, 3, 4, 5, 6], 300, 2.0, 4),
        case(rng, [2, 7], 200, 0.7, 3),
        case(rng, [3, 4, 9], 150, 6.0, 5),
        case(rng, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16], 80, 0.3, 4),
    ]
    lines = ",\n".join(json.dumps(record, separators=(",", ":")) for record in cases)
    sys.stdout.write(f'{{"scikit_learn":"{sklearn.__version__}","cases":[\n{lines}\n]}}\n')


main()
