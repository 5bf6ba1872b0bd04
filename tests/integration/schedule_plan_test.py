"""`trainhost plan --schedule`: learning rate, mix and batch over the token axis as text, picture and numbers, before there is any data."""
import json
import math
import unittest
import xml.etree.ElementTree

from trainhost_run import SOURCE, RunTest, training_log

SVG = "{http://www.w3.org/2000/svg}"
RECIPE = """[run]
directory = "run"
tokens = 1000000
[[source]]
name = "english"
paths = ["none.txt"]
[[source]]
name = "chinese & <poems>"
paths = ["none.txt"]
[packing]
sequence_length = 100
[training]
batch = {batch}
{schedule}
[[phase]]
name = "stable"
until = "75%"
mix = {{ english = 3.0, "chinese & <poems>" = 1.0 }}
[[phase]]
name = "annealing"
mix = {{ english = 0.02, "chinese & <poems>" = 0.98 }}
batch = 2000
"""
WSD = '[schedule]\npeak_lr = 0.01\nwarmup = "10%"\ndecay = "25%"\nshape = "linear"'

AS_ASCII = """\
learning rate
     0.01 |      :#############################################.
          |     .################################################.
          |    .###################################################.
          |    ######################################################:
          |   #########################################################:
          |  ############################################################:.
          | :##############################################################:.
        0 |.#################################################################:.
          +---------------------------------------------------+----------------
           0 tokens                                           750.0k       1.0M
           stable                                             annealing

mix
  english |75% :::::::::::::::::::::::::::::::::::::::::::::::2% ..............
chinese & |25% ...............................................98% #############
          +---------------------------------------------------+----------------
           0 tokens                                           750.0k       1.0M
           stable                                             annealing

batch, in tokens a step
     2.0k |                                                   #################
          |                                                   #################
          |####################################################################
        0 |####################################################################
          +---------------------------------------------------+----------------
           0 tokens                                           750.0k       1.0M
           stable                                             annealing
"""


class SchedulePlanTest(RunTest):
    def plan(self, *arguments, schedule=WSD, batch=1000, expect=0, locale="C"):
        recipe = self.scratch / "recipe.toml"
        recipe.write_text(RECIPE.format(schedule=schedule, batch=batch))
        self.environment["LC_ALL"] = locale
        return self.trainhost("plan", "--schedule", "--recipe", recipe, *arguments, expect=expect)

    def facts(self, **recipe):
        return json.loads(self.plan("--json", **recipe).stdout)

    def test_numbers_follow_the_closed_forms(self):
        facts = self.facts()
        self.assertEqual([(phase["name"], phase["first_step"], phase["end_step"], phase["end_token"]) for phase in facts["phases"]],
                         [("stable", 0, 750, 750_000), ("annealing", 750, 875, 1_000_000)])
        steps = facts["step"]
        self.assertTrue({0, 749, 750, 874} <= set(steps))
        self.assertEqual(steps, sorted(set(steps)))
        self.assertGreater(len(steps), 400)
        for i, step in enumerate(steps):
            tokens = step * 1000 if step < 750 else 750_000 + (step - 750) * 2000
            rate = 0.01 * min(tokens / 100_000, 1, (1_000_000 - tokens) / 250_000)
            stage = "warmup" if tokens < 100_000 else "stable" if tokens < 750_000 else "decay"
            self.assertEqual((facts["tokens"][i], facts["batch"][i], facts["stage"][i]), (tokens, 1000 if step < 750 else 2000, stage))
            self.assertAlmostEqual(facts["learning_rate"][i], rate, delta=1e-12)
            self.assertAlmostEqual(facts["mix"]["english"][i], 0.75 if step < 750 else 0.02, delta=1e-12)
            self.assertAlmostEqual(facts["mix"]["chinese & <poems>"][i], 0.25 if step < 750 else 0.98, delta=1e-12)

    def test_every_schedule_can_be_planned(self):
        for plugin, more in (("cosine", ""), ("wcsd", ""), ("wsd_s", ""), ("sgdr", ""), ("linear", ""), ("inverse_sqrt", ""), ("step", ""),
                             ("expression", ""), ("power", "coefficient = 10.0"), ("constant", "")):
            with self.subTest(plugin):
                rate = "lr" if plugin == "constant" else "peak_lr"
                facts = self.facts(schedule=f'[schedule]\nplugin = "{plugin}"\n{rate} = 0.01\n{more}')
                self.assertEqual(len(facts["learning_rate"]), len(facts["step"]))
                self.assertLessEqual(max(facts["learning_rate"]), 0.01)

    def test_a_long_run_shows_its_borders_and_about_512_steps(self):
        facts = self.facts(batch=100)
        self.assertEqual(facts["phases"][-1]["end_step"], 7500 + 125)
        self.assertTrue({0, 7499, 7500, 7624} <= set(facts["step"]))
        self.assertTrue(500 < len(facts["step"]) < 530, len(facts["step"]))

    def test_text_is_the_golden_one(self):
        text = self.plan().stdout
        self.assertEqual(text, AS_ASCII)
        blocks = self.plan(locale="C.UTF-8").stdout
        self.assertIn("  english │75% ▆▆▆", blocks)
        self.assertIn("2% ▁▁▁", blocks)
        self.assertIn("└───", blocks)
        self.assertEqual(len(blocks.splitlines()), len(text.splitlines()))

    def test_picture_is_a_whole_svg_with_a_series_for_each_quantity(self):
        file = self.scratch / "schedule.svg"
        self.plan("--svg", file)
        root = xml.etree.ElementTree.parse(file).getroot()
        self.assertEqual(root.tag, SVG + "svg")
        series = {element.get("data-series"): element for element in root.iter() if element.get("class") == "series"}
        self.assertEqual(list(series), ["learning rate", "english", "chinese & <poems>", "batch"])
        words = [element.text for element in root.iter(SVG + "text")]
        for word in ("learning rate", "mix: share of each source", "batch, in tokens a step", "stable", "annealing", "chinese & <poems>", "0.01",
                     "100%", "2.0k", "tokens"):
            self.assertIn(word, words)
        self.assertEqual(len([line for line in root.iter(SVG + "line") if line.get("class") == "border"]), 3)
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        self.assertNotIn("http", text)  # needs nothing from elsewhere

        def points(name):
            return [tuple(map(float, point.split(","))) for point in series[name].get("points").split()]
        # The peak is the top of the plot and its end the bottom; the two sources fill theirs.
        rates = [y for _, y in points("learning rate")]
        self.assertAlmostEqual(max(rates) - min(rates), 240, delta=0.1)
        self.assertTrue(all(90 <= x <= 930 for name in series for x, _ in points(name)))
        shares = [y for name in ("english", "chinese & <poems>") for _, y in points(name)]
        self.assertAlmostEqual(max(shares) - min(shares), 200, delta=0.1)
        self.assertFalse(any(math.isnan(y) for name in series for _, y in points(name)))

    def test_a_run_has_the_learning_rates_of_its_plan(self):
        for plugin, more in (("expression", 'lr = "peak_lr * (phase == 0 ? 1 : 1 - phase_progress)"'), ("wsd_s", 'budgets = "30%, 100%"')):
            with self.subTest(plugin):
                recipe = self.recipe(plugin, **{"peak_lr = 0.01": f'plugin = "{plugin}"\npeak_lr = 0.01\n{more}'})
                facts = json.loads(self.trainhost("plan", "--schedule", "--json", "--recipe", recipe).stdout)
                self.trainhost("--recipe", recipe)
                steps = [line for line in training_log(self.scratch / plugin) if line["kind"] == "step"]
                self.assertEqual(len(steps), 40)
                self.assertEqual([line["learning_rate"] for line in steps], facts["learning_rate"])
                self.assertEqual(facts["step"], list(range(40)))

    def test_a_supervised_phase_begins_at_the_learning_rate_that_the_decay_ends_at(self):  # A34, A38
        facts = json.loads(self.trainhost("plan", "--schedule", "--json", "--recipe", SOURCE / "recipes" / "supervised.toml").stdout)
        annealing, supervised = facts["phases"][1:]
        self.assertEqual((annealing["name"], supervised["name"]), ("annealing", "supervised"))
        rates = dict(zip(facts["step"], facts["learning_rate"]))
        end_of_decay = 0.01 * 0.1
        self.assertGreater(rates[supervised["first_step"] - 1], end_of_decay)
        self.assertEqual({rate for step, rate in rates.items() if step >= supervised["first_step"]}, {end_of_decay})

        phases = {'name = "annealing"\n': 'name = "annealing"\nuntil = "90%"\n',
                  "[training]": '[[phase]]\nname = "supervised"\nmix = { questions = 1.0 }\n[training]',
                  "peak_lr = 0.01": 'peak_lr = 0.01\ndecay = "20%"\ndecay_until = "90%"\nfloor = 0.1'}
        self.trainhost("--recipe", self.recipe("run", tokens=20_000, **phases))  # 39.06 steps: no phase ends on a step's border
        steps = [line["learning_rate"] for line in training_log(self.scratch / "run") if line["kind"] == "step"]
        self.assertEqual(len(steps), 40)
        self.assertGreater(steps[35], end_of_decay)
        self.assertEqual(steps[36:], [end_of_decay] * 4)

    def test_what_goes_together(self):
        recipe = self.scratch / "recipe.toml"
        recipe.write_text(RECIPE.format(schedule=WSD, batch=1000))
        for arguments, reason in ((["--memory", "--schedule"], "give one"), ([], "give --memory or --schedule"),
                                  (["--memory", "--svg", "x.svg"], "--svg goes with --schedule")):
            self.assertIn(reason, self.trainhost("plan", "--recipe", recipe, *arguments, expect=64).stderr)
        self.assertIn('recipe.toml:16:10: lr_scheduler plugin "wsd": warmup is', self.plan(schedule=WSD.replace("25%", "95%"), expect=78).stderr)


if __name__ == "__main__":
    unittest.main()
