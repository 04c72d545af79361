"""Reference values for src/net/rng.rs: xoshiro256** and splitmix64 on Python's unbounded integers.

    python tests/golden/net_rng.py > tests/golden/net_rng.json

Integers are written as strings where they may pass 2**53 in other readers; `below_big` stays a number.
"""

import json

MASK = 2**64 - 1


def splitmix64(x):
    while True:
        x = (x + 0x9E3779B97F4A7C15) & MASK
        z = x
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        yield z ^ (z >> 31)


def rotl(x, k):
    return ((x << k) | (x >> (64 - k))) & MASK


def xoshiro256starstar(s):
    s = list(s)
    while True:
        yield (rotl((s[1] * 5) & MASK, 7) * 9) & MASK
        t = (s[1] << 17) & MASK
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = rotl(s[3], 45)


def seeded(seed):
    mixer = splitmix64(seed)
    return xoshiro256starstar([next(mixer) for _ in range(4)])


def below(generator, n):
    # Unbiased: of the 2**64 inputs, those whose product's low half is under 2**64 mod n are drawn again.
    while True:
        product = next(generator) * n
        if product & MASK >= 2**64 % n:
            return product >> 64


def shuffled(generator, n):
    items = list(range(n))
    for last in range(n - 1, 0, -1):
        other = below(generator, last + 1)
        items[last], items[other] = items[other], items[last]
    return items


def take(n, draw):
    return [draw() for _ in range(n)]


def case(seed):
    def fresh(draw):
        generator = seeded(seed)
        return lambda: draw(generator)

    return {
        "seed": str(seed),
        "next": take(8, fresh(lambda g: str(next(g)))),
        "uniform": take(8, fresh(lambda g: (next(g) >> 11) / 2**53)),
        "below_10": take(32, fresh(lambda g: below(g, 10))),
        "below_big": take(32, fresh(lambda g: below(g, 12297829382473034411))),
        "shuffled": shuffled(seeded(seed), 20),
    }


if __name__ == "__main__":
    known = splitmix64(1234567)
    assert [next(known) for _ in range(2)] == [6457827717110365317, 3203168211198807973]
    reference = xoshiro256starstar([1, 2, 3, 4])
    golden = {
        "from_1234": [str(next(reference)) for _ in range(16)],
        "seeds": [case(seed) for seed in (0, 42, MASK)],
    }
    print(json.dumps(golden, indent=1))
