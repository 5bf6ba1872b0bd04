"""MC-muP: the learning rate that is best for a narrow minicpm is best, within a factor of 2, for a wide one.

TRAINHOST_LONG_TESTS=1 sweeps the widths 64 to 512. Prints the final held-out losses in nats per byte, a line for each width."""
import json
import os
import unittest

from trainhost_run import RunTest

LONG = "TRAINHOST_LONG_TESTS" in os.environ
WIDTHS = (64, 128, 256, 512) if LONG else (64, 256)
STEPS = 60 if LONG else 40
STEP_TOKENS = 512 if LONG else 256
OWN_RATE = 0.01  # the recipe's
RATES = [OWN_RATE * 2.0**power for power in (range(-5, 2) if LONG else range(-4, 1))]
CHANGES = {"batch = 512\nmicro_batch = 256": f"batch = {STEP_TOKENS}", 'every = "20%"\nkeep = 2': 'every = "100%"\nkeep = 1',
           'every = "25%"\ntokens = 2048': 'every = "100%"\ntokens = 4096\nsources = ["english"]'}


class LearningRateTransferTest(RunTest):
    def losses(self, width):
        """The final held-out loss with each of RATES, the mean of two seeds."""
        model = f'plugin = "minicpm"\nlayers = 2\nwidth = {width}\nheads = {width // 32}\nfeed_forward = {width * 5 // 2}'
        recipe = self.recipe("run", model, tokens=STEPS * STEP_TOKENS, more="[metrics]\ntelemetry = false", name=f"width_{width}.toml", **CHANGES)
        variants = [argument for rate in RATES if rate != OWN_RATE
                    for argument in ("--variant", f"{rate:g}: schedule.peak_lr={rate:g}")]
        done = self.trainhost("compare", recipe, *variants, "--seeds", 2, "--json", "--output", self.scratch / "out" / str(width), timeout=3600)
        rows = {row["name"]: row["mean"] for row in json.loads(done.stdout)["sources"]["english"]}
        return [rows[f"width_{width}" if rate == OWN_RATE else f"{rate:g}"] for rate in RATES]

    def test_the_best_learning_rate_moves_by_at_most_a_factor_of_two(self):
        print(f"\n{'width':>8}" + "".join(f"{rate:10g}" for rate in RATES))
        best = []
        for width in WIDTHS:
            losses = self.losses(width)
            print(f"{width:8}" + "".join(f"{loss:10.4f}" for loss in losses), flush=True)
            best.append(losses.index(min(losses)))
            self.assertIn(best[-1], range(1, len(RATES) - 1), "the best one is inside of the grid")
        self.assertLessEqual(max(best) - min(best), 1)


if __name__ == "__main__":
    unittest.main()
