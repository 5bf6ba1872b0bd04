"""The example plugins, as their author has them: copied from an installed SDK, built and tested against nothing else, then trained with."""
import math
import multiprocessing.pool
import pathlib
import shutil
import tempfile
import unittest

from sdk_install_test import NOTHING_OF_OURS, install, run
from trainhost_run import MINICPM, SOURCE, RunTest, read_log, training_log

LIBTORCH = SOURCE / "third_party" / "libtorch" / "torch"
EXAMPLES = {"gru": [f"-DLIBTORCH={LIBTORCH}"], "shampoo": [], "words": [], "points": [], "online": []}  # with what cmake is told; the slowest to build first

# 12 sequences of 64 tokens a step, one at a time through the model, so that two processes can share them.
STEP_TOKENS, STEPS = 768, 16
SHARED = {"batch = 512\nmicro_batch = 256": f"batch = {STEP_TOKENS}\nmicro_batch = 64"}
PEAK = 0.01


def curve(share):
    """The monotone cubic through 0: 0, 25%: 1, 75%: 1, 100%: 0.1. Level at the inner points; at the ends the parabola's slope, 4/3 of the secant."""
    if share < 0.25:
        t = share / 0.25
        return t * t * (3 - 2 * t) + 4 / 3 * t * (1 - t) ** 2
    t = max(0.0, (share - 0.75) / 0.25)
    return 1 - 0.9 * (t * t * (3 - 2 * t) - 4 / 3 * t * t * (1 - t))


def exp3(rounds):
    """The shares of each round, from what the log says of the losses before it."""
    count = len(rounds[0])
    epsilon = [1 / count] + [min(1 / count, math.sqrt(math.log(count) / (count * t))) for t in range(1, len(rounds) + 1)]
    rewards, shares = dict.fromkeys(rounds[0], 0.0), dict.fromkeys(rounds[0], 1 / count)
    for t, sources in enumerate(rounds, start=1):
        for name, source in sources.items():
            if source["tokens"] > 0:
                rewards[name] += source["loss_per_token"] / shares[name]
        growth = {name: math.exp(epsilon[t - 1] * (reward - max(rewards.values()))) for name, reward in rewards.items()}
        shares = {name: (1 - count * epsilon[t]) * growth[name] / sum(growth.values()) + epsilon[t] for name in growth}
        yield shares


class ExamplesTest(RunTest):
    @classmethod
    def setUpClass(cls):
        cls.home = pathlib.Path(tempfile.mkdtemp(prefix="trainhost_test_"))
        cls.addClassCleanup(shutil.rmtree, cls.home, ignore_errors=True)
        install(cls.home / "prefix", "sdk")
        cls.examples = cls.home / "examples"
        shutil.copytree(cls.home / "prefix" / "share" / "doc" / "trainhost-sdk" / "examples", cls.examples)
        with multiprocessing.pool.ThreadPool(2) as pool:
            cls.said = dict(zip(EXAMPLES, pool.map(cls.build_and_test, EXAMPLES, chunksize=1)))

    @classmethod
    def build_and_test(cls, name):
        """What the compilers said."""
        stranger = {**NOTHING_OF_OURS, "HOME": str(cls.home)}
        options = {"cwd": cls.examples / name, "env": stranger}
        run("cmake", "-G", "Ninja", "-B", "build", f"-DCMAKE_PREFIX_PATH={cls.home}/prefix", *EXAMPLES[name], **options)
        said = run("cmake", "--build", "build", **options)
        tested = run("ctest", "--test-dir", "build", "--output-on-failure", "--no-tests=error", **options)
        return said + tested

    def setUp(self):
        super().setUp()
        self.environment["OMP_NUM_THREADS"] = "1"

    def plugin(self, name):
        return self.examples / name / "build" / f"{name}.so"

    def train(self, directory, table, *settings, processes=1, model=MINICPM, steps=STEPS):
        self.trainhost("--recipe", self.spread_recipe(directory, model, steps), "--processes", processes, *self.set(table, *settings))

    def spread_recipe(self, directory, model=MINICPM, steps=STEPS):
        return self.recipe(directory, model, tokens=f'{STEP_TOKENS * steps}\nreduction = "fixed"', name=f"{directory}.toml",
                           **SHARED, **{"optimizer.beta2 = 0.99": ""})

    @staticmethod
    def set(*settings):
        return [word for setting in settings for word in ("--set", setting)]

    def weights(self, directory):
        """All weights as one file, whatever wrote them."""
        output = self.scratch / f"{directory}.safetensors"
        self.trainhost("checkpoints", "consolidate", self.scratch / directory, "--output", output)
        return output.read_bytes()

    def assert_same_run(self, first, second):
        self.assertEqual(self.weights(first), self.weights(second), second)
        self.assertEqual(training_log(self.scratch / first), training_log(self.scratch / second), second)

    def steps_of(self, directory):
        return [line for line in read_log(self.scratch / directory / "log" / "metrics.jsonl") if line["kind"] == "step"]

    def trains_alone_and_on_two_processes(self, table, *settings, model=MINICPM):
        """The same bits both ways, and something is learnt; gives the steps' lines of the log."""
        self.train("alone", table, *settings, model=model)
        self.train("two", table, *settings, "parallel.sharding=parameters", processes=2, model=model)
        self.assert_same_run("alone", "two")
        steps = self.steps_of("alone")
        self.assertEqual(len(steps), STEPS)
        self.assertLess(steps[-1]["loss"], steps[0]["loss"] - 0.2)
        return steps

    def test_they_build_without_warnings_and_pass_their_tests(self):
        folders = sorted(path.name for path in self.examples.iterdir())
        self.assertEqual(folders, sorted(EXAMPLES))
        for name, said in self.said.items():
            self.assertNotIn("warning:", said, name)
            self.assertIn("100% tests passed, 0 tests failed out of 2", said, name)

    def test_points_trains_along_its_curve(self):
        points = "0%: 0, 25%: 1, 75%: 1, 100%: 0.1"
        steps = self.trains_alone_and_on_two_processes(f"schedule={{plugin='{self.plugin('points')}', peak_lr={PEAK}, points='{points}'}}")
        for step, line in enumerate(steps):
            self.assertAlmostEqual(line["learning_rate"], PEAK * curve(step / STEPS), delta=1e-14, msg=f"step {step + 1}")

    def test_points_says_where_its_points_are_wrong(self):
        done = self.trainhost("--recipe", self.spread_recipe("wrong"), *self.set(
            f"schedule={{plugin='{self.plugin('points')}', peak_lr=1, points='0%: 1, 100%; 0'}}"), expect=78)
        self.assertIn('points, character 8: found "100%; 0", expected a position, as 2%, 500 steps or 5M tokens', done.stderr)

    def test_shampoo_trains(self):
        self.trains_alone_and_on_two_processes(f"optimizer={{plugin='{self.plugin('shampoo')}', every=3, largest_side=64}}")

    def test_shampoo_goes_on_with_its_states_on_another_number_of_processes(self):
        table = f"optimizer={{plugin='{self.plugin('shampoo')}', every=3, largest_side=64}}"
        self.train("alone", table, steps=40)
        self.stop_and_go_on("chain", table, steps=40)
        self.assert_same_run("alone", "chain")

    def test_online_trains_by_its_equations_and_goes_on_with_its_state(self):
        self.trains_alone_and_on_two_processes(*self.online())
        rounds = [line["sources"] for line in read_log(self.scratch / "alone" / "log" / "metrics.jsonl") if line["kind"] == "mix"]
        self.assertEqual(len(rounds), STEPS // 2)
        for expected, sources in zip(exp3(rounds), rounds, strict=True):
            for name, source in sources.items():
                self.assertAlmostEqual(source["weight"], expected[name], delta=1e-12)
        self.assertNotEqual(rounds[-1], rounds[-2], "the shares move")
        self.train("long", *self.online(), steps=40)
        self.stop_and_go_on("chain", *self.online(), steps=40)
        self.assert_same_run("long", "chain")

    def online(self):
        """Settings for rounds of two steps over two sources, in both phases."""
        mixes = [f"phase.{name}.mix={{english=0.5, questions=0.5}}" for name in ("stable", "annealing")]
        return [f"mixer={{plugin='{self.plugin('online')}', round='{2 * STEP_TOKENS} tokens'}}", *mixes]

    def stop_and_go_on(self, directory, *settings, steps):
        """Stopped alone in the middle, ended on two processes."""
        recipe = self.spread_recipe(directory, steps=steps)
        code, output = self.stop_after_step(recipe, directory, steps // 3, arguments=self.set(*settings))
        self.assertEqual(code, 75, output)
        self.assertLess(len(self.steps_of(directory)), steps)
        self.trainhost("--recipe", recipe, "--processes", 2, *self.set(*settings, "parallel.sharding=optimizer"))

    def test_gru_trains_and_writes(self):
        model = f'plugin = "{self.plugin("gru")}"\nlayers = 2\nwidth = 32\nstate = 48\ndropout = 0.1'
        self.trains_alone_and_on_two_processes("training.recompute=1", model=model)
        written = self.trainhost("generate", "--run", self.scratch / "alone", "--prompt", "The", "--tokens", 8).stdout
        self.assertTrue(written.startswith("The"), written)

    def test_words_trains(self):
        self.trains_alone_and_on_two_processes(f"tokenizer={{plugin='{self.plugin('words')}', vocabulary_size=512}}")


if __name__ == "__main__":
    unittest.main()
