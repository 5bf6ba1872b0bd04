"""Writes mixers/online_data_mixing.json: shares of the bandit of online data mixing, computed by NumPy from the formula of arXiv 2312.02406.

Run:  python tests/golden/online_data_mixing.py    (needs numpy; the version is recorded in the file)

The losses of the rounds are recorded, too, so that a test feeds exactly the same numbers. Losses are null where a source had no token.
"""

import json
import pathlib

import numpy

CASES = {
    "of_the_paper": dict(recipe=[0.7, 0.2, 0.1], reward_per_nat=1.0, prior=0.0, rounds=40),
    "of_the_code": dict(recipe=[0.7, 0.2, 0.1], reward_per_nat=0.1, prior=0.0, rounds=40),
    "with_a_prior": dict(recipe=[0.6, 0.1, 0.1, 0.2], reward_per_nat=1.0, prior=0.25, rounds=40),
    "with_a_source_left_out": dict(recipe=[0.5, 0.0, 0.3, 0.2], reward_per_nat=1.0, prior=0.0, rounds=40),
}


def epsilon(t, sources):
    with numpy.errstate(divide="ignore"):
        return numpy.minimum(1 / sources, numpy.sqrt(numpy.log(sources) / numpy.float64(sources * t)))


def losses(case, t, generator):
    """Falling, each source at its own height; now and then one had no token."""
    values = numpy.linspace(1.0, 4.0, len(case["recipe"])) * (1 + 3 / (t + 3)) + generator.normal(0, 0.05, len(case["recipe"]))
    if t % 7 == 3:
        values[t % len(values)] = numpy.nan
    values[numpy.array(case["recipe"]) == 0] = numpy.nan
    return values


def trace(case, generator):
    recipe = numpy.array(case["recipe"])
    part = recipe > 0
    count = part.sum()
    rewards, rounds = numpy.zeros(len(recipe)), []
    for t in range(1, case["rounds"] + 1):
        exponents = epsilon(t - 1, count) * rewards[part]
        gibbs = numpy.exp(exponents - numpy.logaddexp.reduce(exponents))
        shares = numpy.zeros(len(recipe))
        shares[part] = (1 - count * epsilon(t, count)) * gibbs + epsilon(t, count)
        shares = case["prior"] * recipe + (1 - case["prior"]) * shares
        found = losses(case, t, generator)
        rounds.append({"shares": shares.tolist(), "losses": [None if numpy.isnan(loss) else loss for loss in found]})
        learnt = ~numpy.isnan(found)
        rewards[learnt] += case["reward_per_nat"] * found[learnt] / shares[learnt]
    return rounds


def main():
    generator = numpy.random.default_rng(7)
    traces = {name: {**{key: case[key] for key in ("recipe", "reward_per_nat", "prior")}, "rounds": trace(case, generator)}
              for name, case in CASES.items()}
    path = pathlib.Path(__file__).parent / "mixers" / "online_data_mixing.json"
    text = json.dumps({"numpy": numpy.__version__, "traces": traces})
    path.write_text(text.replace("{\"shares\"", "\n{\"shares\"") + "\n")  # a round a line


if __name__ == "__main__":
    main()
