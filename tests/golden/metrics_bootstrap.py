"""Intervals of scikit-learn's Jaccard over drawn blocks of pixels: the oracle of tests/metrics_bootstrap.rs.

    python tests/golden/metrics_bootstrap.py > tests/golden/metrics_bootstrap.json

Draw i picks blocks with the generator of src/net/rng.rs seeded with `seed + i`, as tests/golden/net_rng.py has it. The
pixels of the picked blocks are put one after the other and scored as they are; nothing is summed by block.
"""

import json
import sys
from pathlib import Path

import numpy as np
import sklearn
from sklearn.metrics import jaccard_score

sys.path.insert(0, str(Path(__file__).parent))
import net_rng


def scene(rng, height, width, classes):
    """Patches of classes, a corner without labels, a map that is wrong in places; the last class is rare."""
    patch = rng.integers(1, classes, size=(height // 9 + 1, width // 9 + 1))
    truth = np.kron(patch, np.ones((9, 9), int))[:height, :width]
    truth[: height // 4, width // 2 :] = 0
    truth[-3:, -5:] = classes
    blotches = rng.random((height // 12 + 1, width // 12 + 1)).repeat(12, 0).repeat(12, 1)[:height, :width]
    wrong = rng.random((height, width)) < blotches
    mapped = np.where(wrong, rng.integers(1, classes + 1, size=(height, width)), truth)
    mapped[truth == 0] = 1
    return truth, mapped


def blocks_of(truth, mapped, side):
    for top in range(0, truth.shape[0], side):
        for left in range(0, truth.shape[1], side):
            t, m = (a[top : top + side, left : left + side].ravel() for a in (truth, mapped))
            if (t != 0).any():
                yield t[t != 0], m[t != 0]


def case(scenes, side, samples, confidence, seed):
    blocks = [block for truth, mapped in scenes for block in blocks_of(truth, mapped, side)]
    labels = sorted({int(v) for block in blocks for array in block for v in array})
    scores, means = {label: [] for label in labels}, []
    for sample in range(samples):
        generator = net_rng.seeded(seed + sample)
        picked = [blocks[net_rng.below(generator, len(blocks))] for _ in blocks]
        truth, mapped = (np.concatenate(part) for part in zip(*picked))
        means.append(jaccard_score(truth, mapped, average="macro"))
        present = np.union1d(truth, mapped)
        for label, score in zip(present, jaccard_score(truth, mapped, labels=present, average=None)):
            scores[int(label)].append(score)
    outside = (1 - confidence) / 2
    interval = lambda values: np.quantile(values, [outside, 1 - outside]).tolist()
    return {
        "scenes": [{"truth": rows(truth), "map": rows(mapped)} for truth, mapped in scenes],
        "block": side,
        "samples": samples,
        "confidence": confidence,
        "seed": seed,
        "blocks": len(blocks),
        "mean": interval(means),
        "jaccard": {str(label): interval(values) for label, values in scores.items()},
    }


def rows(array):
    """A digit a pixel."""
    return ["".join(map(str, row)) for row in array]


def main():
    rng = np.random.default_rng(7)
    first, second = scene(rng, 50, 67, 5), scene(rng, 33, 40, 4)
    cases = [
        case([first, second], 16, 60, 0.95, 11),
        case([first], 32, 45, 0.8, 300),
        case([second], 16, 1, 0.5, 0),
    ]
    lines = ",\n".join(json.dumps(record, separators=(",", ":")) for record in cases)
    sys.stdout.write(f'{{"scikit_learn":"{sklearn.__version__}","cases":[\n{lines}\n]}}\n')


main()
