"""trainhost strengthen (A35): the weak skill that was planted is found, its share rises, and a short decay tells what the whole run will."""
import hashlib
import json
import random
import shutil
import signal
import unittest

from trainhost_run import RunTest, read_log

SEEDS = (1, 2, 3)
STABLE, TOKENS = 28672, 40960
ALPHABETS = {"letters": "abcdefghijkl", "digits": "0123456789", "signs": "+-*/=<>()[]"}

RECIPE = """
[run]
directory = "{directory}"
tokens = {tokens}
{sources}
[tokenizer]
plugin = "byte"
[packing]
sequence_length = 64
[model]
plugin = "bigram"
[schedule]
peak_lr = 0.03
warmup = "0 steps"
decay = "30%"
[[phase]]
name = "stable"
until = "{stable} tokens"
mix = {{ {mix} }}
[[phase]]
name = "annealing"
mix = {{ {decay_mix} }}
[training]
batch = 512
micro_batch = 256
[checkpoint]
keep = 9
always_keep = ["end of stable"]
[evaluation]
every = "25%"
tokens = 4096
"""


def skill(alphabet, seed):
    """Text in which every character is followed by one of two: about 0.7 nats a byte for who knows which."""
    chance = random.Random(seed)
    follow = {c: chance.sample(alphabet, 2) for c in alphabet}
    lines = []
    for _ in range(400):
        line = chance.choice(alphabet)
        while len(line) < 160:
            line += chance.choice(follow[line[-1]])
        lines.append(line)
    return "\n\n".join(lines)


def noise(seed):
    chance = random.Random(seed)
    return "\n\n".join("".join(chance.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(160)) for _ in range(400))


def toml(mix):
    return ", ".join(f"{source} = {share}" for source, share in mix.items())


def hashes(folder):
    return {path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()}


class StrengthenTest(RunTest):
    STABLE_MIX = {"letters": 0.6, "digits": 0.38, "signs": 0.02}
    MIX = {"letters": 0.5, "digits": 0.48, "signs": 0.02}

    def setUp(self):
        super().setUp()
        self.texts = {name: skill(alphabet, seed) for seed, (name, alphabet) in enumerate(ALPHABETS.items())}

    def write(self, directory, mix, decay_mix, name=None):
        sources = ""
        for source, text in self.texts.items():
            (self.scratch / f"{source}.txt").write_text(text)
            sources += f'[[source]]\nname = "{source}"\npaths = ["{self.scratch}/{source}.txt"]\nheld_out = 0.1\n'
        path = self.scratch / f"{name or directory}.toml"
        path.write_text(RECIPE.format(directory=self.scratch / directory, tokens=TOKENS, stable=STABLE, sources=sources, mix=toml(mix),
                                      decay_mix=toml(decay_mix)))
        return path

    def train(self, directory, mix, decay_mix):
        self.trainhost("--recipe", self.write(directory, mix, decay_mix))
        return self.scratch / directory

    def strengthen(self, *arguments, expect=0):
        return self.trainhost("strengthen", "--run", self.scratch / "run", *arguments, "--output", self.scratch / "trial", expect=expect)

    def last_losses(self, directory):
        last = [line for line in read_log(directory / "log" / "metrics.jsonl") if line["kind"] == "evaluation"][-1]
        return {source: row["loss_per_byte"] for source, row in last["sources"].items()}

    def test_the_planted_skill_is_picked_and_the_short_decay_tells_the_sign_of_the_whole_run(self):
        run = self.train("run", self.STABLE_MIX, self.MIX)
        equal = {source: 1 for source in ALPHABETS}
        reference = self.train("reference", equal, equal)
        before = hashes(run)
        found = json.loads(self.strengthen("--reference", reference, "--length", "20%", "--json").stdout)
        self.assertEqual(hashes(run), before, "the run is only read")
        self.assertEqual((found["weak"], found["step"], found["tokens"]), ("signs", STABLE // 512, TOKENS // 5))
        self.assertEqual({source: row["target"] for source, row in found["sources"].items()}, self.last_losses(reference))
        for source, share in self.MIX.items():
            self.assertAlmostEqual(found["present_mix"][source], share, places=12)
            self.assertAlmostEqual(found["proposed_mix"][source], share / 2 + (source == "signs") / 2, places=12)
        self.assertTrue(found["accepted"], found)
        self.assertEqual(found["seeds_better"], len(SEEDS))

        # The decays: from the stable checkpoint, the learning rate in a line to 0, and the losses that are reported.
        changes = {}
        for arm in ("present", "proposed"):
            panels = []
            for seed in SEEDS:
                directory = self.scratch / "trial" / arm / f"seed-{seed}"
                steps = [line for line in read_log(directory / "log" / "metrics.jsonl") if line["kind"] == "step"]
                self.assertEqual([line["step"] for line in steps], list(range(57, 73)))
                for i, line in enumerate(steps):
                    self.assertAlmostEqual(line["learning_rate"], 0.03 * (1 - i / 16), places=12)
                panels.append(self.last_losses(directory))
            changes[arm] = panels
        for source, effect in found["effects"].items():
            for arm, panels in changes.items():
                self.assertAlmostEqual(effect[arm], sum(panel[source] for panel in panels) / len(SEEDS), places=12)
        rise = {source: effect["change"] for source, effect in found["effects"].items()}
        self.assertAlmostEqual(found["gain"], -rise["signs"], places=12)
        self.assertAlmostEqual(found["cost"], rise["letters"] + rise["digits"], places=12)

        # Whole runs, from their first step, that differ in the mix of their annealing.
        present = self.write("whole", self.STABLE_MIX, self.MIX, name="present_run")
        proposed = self.write("whole", self.STABLE_MIX, found["proposed_mix"], name="proposed_run")
        whole = json.loads(self.trainhost("compare", present, proposed, "--seeds", 3, "--output", self.scratch / "whole", "--json").stdout)
        before, after = (row["losses"] for row in whole["sources"]["signs"])
        short = [after["signs"] - before["signs"] for before, after in zip(changes["present"], changes["proposed"])]
        for seed, (change, whole_change) in enumerate(zip(short, [b - a for a, b in zip(before, after)]), 1):
            self.assertEqual(change < 0, whole_change < 0, f"seed {seed}: {change} and {whole_change}")

        log = self.scratch / "trial" / "present" / "seed-1" / "log" / "metrics.jsonl"
        size = log.stat().st_size
        table = self.strengthen("--reference", reference, "--length", "20%")
        self.assertEqual(table.stderr.count("is finished already"), 6)
        self.assertEqual(log.stat().st_size, size)
        self.assertRegex(table.stdout, r"(?m)^signs .* weakest$")
        self.assertIn("accepted: signs is lower in 3 of 3 seeds, gains", table.stdout)
        self.assertIn('from "end of stable" on:\nmix = { digits = 0.24, letters = 0.25, signs = 0.51 }\n', table.stdout)

    def test_text_that_cannot_be_learnt_is_refused(self):
        self.texts["signs"] = noise(9)
        mix = {"letters": 0.4, "digits": 0.3, "signs": 0.3}
        self.train("run", mix, mix)
        found = json.loads(self.strengthen("--target", "signs=1", "--target", "letters=0.5", "--target", "digits=0.5", "--length", "20%",
                                           "--json").stdout)
        self.assertEqual(found["weak"], "signs")
        self.assertFalse(found["accepted"], found)
        self.assertNotIn("mix = {", self.strengthen("--target", "signs=1", "--target", "letters=0.5", "--target", "digits=0.5", "--length",
                                                    "20%").stdout)

    def test_nothing_is_weak_below_its_target(self):
        self.train("run", self.STABLE_MIX, self.MIX)
        table = self.strengthen("--target", "letters=9", "--seeds", 2, "--length", "4 steps")
        self.assertIn("after decays of 2048 tokens", table.stdout)
        self.assertIn("no source is above its target", table.stdout)
        self.assertFalse((self.scratch / "trial" / "proposed").exists())

    def test_another_trial_in_the_same_place_is_refused(self):
        self.train("run", self.STABLE_MIX, self.MIX)
        target = ("--target", "signs=0.1", "--seeds", 2)
        self.strengthen(*target, "--length", "2048 tokens")
        before = hashes(self.scratch / "trial" / "present" / "seed-1")
        refused = self.strengthen(*target, "--length", "4096 tokens", expect=78).stderr
        self.assertRegex(refused, "trial/present/seed-1: holds a run of another recipe .* remove it, or name another --output")
        self.assertEqual(hashes(self.scratch / "trial" / "present" / "seed-1"), before)

    def test_from_any_checkpoint_and_what_is_refused(self):
        self.train("run", self.STABLE_MIX, self.MIX)
        target = ("--target", "signs=0.1")
        end = json.loads(self.strengthen(*target, "--step", 80, "--length", "2048 tokens", "--seeds", 2, "--json").stdout)
        self.assertEqual((end["step"], end["tokens"]), (80, 2048))
        self.assertLess(end["learning_rate"], 0.01)
        shutil.rmtree(self.scratch / "trial")
        middle = json.loads(self.strengthen(*target, "--step", 48, "--length", "2048 tokens", "--seeds", 2, "--json").stdout)
        self.assertEqual((middle["step"], middle["tokens"], middle["learning_rate"]), (48, 2048, 0.03))
        for source, share in self.STABLE_MIX.items():
            self.assertAlmostEqual(middle["present_mix"][source], share, places=12)
        for arguments, problem in (((), "give --reference RUN_DIRECTORY or --target SOURCE=LOSS"),
                                   (("--target", "signs"), '--target is "signs", expected SOURCE=LOSS'),
                                   (("--target", "poems=1"), 'names the source "poems", which .*run does not have'),
                                   ((*target, "--seeds", 1), "--seeds is 1, expected 2 or more"),
                                   ((*target, "--share", 1), "--share is 1, expected a number above 0 and below 1"),
                                   ((*target, "--length", "10"), '--length: expected an amount such as "500 steps"'),
                                   ((*target, "--length", "0 steps"), '--length: expected more than 0, found "0 steps"'),
                                   ((*target, "--step", 3), "has no checkpoint of step 3"),
                                   (("--reference", self.scratch), "is no run directory")):
            with self.subTest(arguments):
                refused = self.strengthen(*arguments, expect=64).stderr
                self.assertRegex(refused, problem)
                self.assertEqual(refused.count("\n"), 1, refused)

    def test_what_was_stopped_goes_on(self):
        self.train("run", self.STABLE_MIX, self.MIX)
        arguments = ("strengthen", "--run", self.scratch / "run", "--target", "signs=0.1", "--length", "3000%", "--seeds", 2, "--output",
                     self.scratch / "trial")
        process = self.start(*map(str, arguments))
        self.wait_for_step("trial/present/seed-1", 100)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 75, output)
        self.assertIn("the same command goes on", output)
        log = self.scratch / "trial" / "present" / "seed-1.log"
        size = log.stat().st_size
        process = self.start(*map(str, arguments))
        self.wait_for_text(log, "resumed after step", size)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


if __name__ == "__main__":
    unittest.main()
