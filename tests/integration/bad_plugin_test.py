"""Plugins that do wrong in a call: who is blamed in which words, the exit code, and that the last checkpoint is good.

{plugin} stands for kind, name, version and path: lr_scheduler plugin "misbehaving_lr_scheduler" 0.1.0 (/path/misbehaving_lr_scheduler.so)."""
import signal
import time
import unittest

from bad_plugin_run import BIGRAM, KINDS, TABLES, BadPluginRun, name_of
from trainhost_run import newest_checkpoint

# How any call can go wrong: what is said, where {place} is the call, and the exit code.
FAULTS = {
    "crash": ("SIGSEGV in {plugin}: {place}", 70),
    "crash in parallel": ("SIGSEGV in {plugin}: {place}", 70),  # on another thread, in a piece of parallel_for
    "stack overflow": ("SIGSEGV in {plugin}: {place}", 70),
    "abort": ("SIGABRT in {plugin}: {place}", 70),
    "exit": ("exit in {plugin}: {place}", 70),
    "quick exit": ("exit in {plugin}: {place}", 70),
    "hang": ("{plugin}: {place}: has not returned, and neither logged, shown progress nor asked whether to stop, for 1 s (parallel.timeout)", 70),
    "exception": ("{plugin}: {place}: told to throw", 70),  # which the SDK's C++ layer catches
    "memory": ("{plugin}: {place}: out of memory", 70),
    "no status": ("{plugin}: {place}: returned 99, which is no th_status", 76),
}
# The call of each kind in which that is tried, after so many that go right: those of steps beyond the first checkpoint.
PLACES = {
    "lr_scheduler": ("values", 10, "values, step 10"),
    "optimizer": ("update", 10, "update, step 10"),
    "tokenizer": ("decode", 260, "decode, step 19"),
    "dataset_mixer": ("plan", 10, "plan, step 10"),  # of the batch that is made, a few steps ahead of the training
    "model": ("forward", 40, "forward of unit 0, step 9"),
}
# Crashes and aborts in the other calls, after so many that go right. What throws in each slot of each table: bad_plugin_files_test.
CRASHES = (
    *((kind, "create", 0, "create") for kind in KINDS),
    ("optimizer", "describe_states", 0, "describe_states"),
    ("tokenizer", "train", 0, "train"),
    ("tokenizer", "describe", 0, "describe"),
    ("tokenizer", "encode", 0, "encode"),  # on several threads at once
    ("dataset_mixer", "counts", 0, "counts"),
    ("model", "backward", 20, "backward of unit 0, step 10"),
    ("model", "loss_and_backward", 20, "loss_and_backward of unit 1, step 10"),
    ("model", "logits", 0, "logits, step 19"),
    ("model", "measure", 0, "measure, step 0"),
)

# What a plugin gives back that it must not give: kind, call, what is wrong, calls that go right before, what is said, exit code.
RESULTS = (
    ("lr_scheduler", "values", "negative", 10, "values, step 10: learning_rate is -0.5 at step 10, expected a finite number of at least 0", 76),
    ("lr_scheduler", "values", "not a number", 10, "values, step 10: learning_rate is nan at step 10, expected a finite number of at least 0", 76),
    ("lr_scheduler", "values", "endless decay", 10,
     "values, step 10: weight_decay_multiplier is inf at step 10, expected a finite number of at least 0", 76),
    ("lr_scheduler", "values", "endless momentum", 10,
     "values, step 10: momentum is inf at step 10, expected a finite number, or NaN for the optimizer's own", 76),
    ("optimizer", "granularity", "three", 0, "granularity: gave 3, expected 0 (element), 1 (tensor) or 2 (matrix)", 76),
    ("optimizer", "describe_states", "no name", 0, 'describe_states: parameter "first.weight": a state has no name', 76),
    ("optimizer", "describe_states", "same name", 0, 'describe_states: parameter "first.weight": state "average" is there twice', 76),
    ("optimizer", "describe_states", "too many", 0, 'describe_states: parameter "first.weight": 102 states, at most 64 are possible', 76),
    ("optimizer", "describe_states", "rank", 0, 'describe_states: parameter "first.weight": state "count" has rank 5, expected -1 to 4', 76),
    ("optimizer", "describe_states", "empty", 0, 'describe_states: parameter "first.weight": state "count" has extent 0 in dimension 0', 76),
    ("optimizer", "describe_states", "float16", 0, 'describe_states: parameter "first.weight": state "count" is neither float32 nor bfloat16', 76),
    ("optimizer", "describe_states", "not a number", 0, 'describe_states: parameter "first.weight": state "count" begins with nan', 76),
    ("tokenizer", "describe", "no ids", 0, "describe: vocabulary_size is 0, expected 1 to 2147483647", 76),
    ("tokenizer", "describe", "end beyond", 0, "describe: end_id is 256, expected -1 or an id below 256", 76),
    ("tokenizer", "encode", "id beyond", 0, "encode: gave id 300, the vocabulary has 256 ids", 76),
    ("tokenizer", "encode", "exception", 0, "encode: told to throw", 70),
    ("dataset_mixer", "plan", "no such source", 10, "plan, step 10: sample 87 of phase 0 comes from source 3, there are 2 sources", 76),
    ("dataset_mixer", "plan", "no share", 10, "plan, step 10: sample 87 of phase 0 comes from source 1, whose share in the phase is 0", 76),
    ("dataset_mixer", "counts", "one short", 0, "counts: the sources' counts add up to 111, expected 112 samples of phase 0", 76),
    ("model", "parameter_info", "no name", 0, 'parameter_info: parameter 1 "" has no name', 76),
    ("model", "parameter_info", "same name", 0, 'parameter_info: parameter "first.weight" is there twice', 76),
    ("model", "parameter_info", "empty", 0, 'parameter_info: parameter 1 "last.weight" has extent 0 in dimension 1', 76),
    ("model", "parameter_info", "rank", 0, 'parameter_info: parameter 1 "last.weight" has rank 5, expected 1 to 4', 76),
    ("model", "unit_count", "one", 0, "unit_count: gave 1, expected 2 to 1048576", 76),
    ("model", "unit_info", "same name", 0, 'unit_info: unit "first" is there twice', 76),
    ("model", "unit_info", "no such parameter", 0, 'unit_info: unit 1 "last" lists parameter 2, there are 2', 76),
    ("model", "unit_info", "left out", 0, 'unit_info: parameter "last.weight" is in no unit', 76),
    ("model", "unit_info", "no width", 0, 'unit_info: unit 0 "first" has output_width 0, expected at least 1', 76),
    ("model", "forward", "keeps", 0, 'forward of unit 0 "first", step 4: keeps something, though nothing was to be kept', 76),  # in an evaluation
    ("model", "backward", "exception", 20, 'backward of unit 0 "first", step 10: told to throw', 70),
    ("model", "loss_and_backward", "exception", 20, 'loss_and_backward of unit 1 "last", step 10: told to throw', 70),
    ("model", "logits", "exception", 0, "logits, step 19: told to throw", 70),
    ("model", "measure", "negative", 0, "measure, step 0: gave -1 operations per second", 76),
)

# Numbers that are not finite, by training.on_nan: kind, call, what is spoilt, calls that go right before, what is said, exit code 70 in each case.
BY_MODEL = "loss {loss} and gradient norm {norm} are not both finite, out of forward and backward of {{plugin}}, whose parameters are; "
BY_OPTIMIZER = 'loss nan and gradient norm nan are not both finite, since update of {plugin} left "model.embedding.weight" so; '
KEPT = 'the last checkpoint is as it was (training.on_nan = "{}")'
NOT_SAVED = '{plugin}: update: "model.embedding.weight" is not finite after step 12; nothing was saved, the last checkpoint is as it was'
SIX_TIMES = "again, after going back 5 times: lower the learning rate or look at the data"
NOT_FINITE = (
    ("stop", "model", "loss_and_backward", "not a number", 20, "step 11: " + BY_MODEL.format(loss="nan", norm="0") + KEPT.format("stop")),
    ("stop", "model", "backward", "not a number", 20, "step 11: " + BY_MODEL.format(loss="2", norm="nan") + KEPT.format("stop")),
    ("stop", "optimizer", "update", "no number at all", 9, "step 11: " + BY_OPTIMIZER + KEPT.format("stop")),
    ("stop", "optimizer", "update", "not a number", 9, NOT_SAVED),  # in a row that no token uses: the loss does not show it
    ("skip", "model", "loss_and_backward", "not a number", 16, "step 19: " + BY_MODEL.format(loss="nan", norm="0") + KEPT.format("skip")),
    ("skip", "optimizer", "update", "no number at all", 9, NOT_SAVED),
    ("rollback", "model", "loss_and_backward", "not a number", 20, "step 16: " + BY_MODEL.format(loss="nan", norm="0") + SIX_TIMES),
    ("rollback", "optimizer", "update", "no number at all", 9, NOT_SAVED),
)


class BadPluginTest(BadPluginRun):
    def test_each_fault_in_each_kind_is_blamed_on_its_plugin_and_the_run_can_go_on(self):
        for kind in KINDS:
            call, after, place = PLACES[kind]
            for how, (says, code) in FAULTS.items():
                with self.subTest(kind=kind, how=how):
                    directory = f"{kind} {how}"
                    recipe = self.bad_recipe(kind, directory=directory, **{"in": call, "how": how, "after": after})
                    where = place.replace("unit 0", 'unit 0 "first"') if how in ("exception", "memory", "no status") else place
                    self.assert_says(recipe, says.format(plugin=name_of(kind), place=where), code)
                    self.assert_goes_on(recipe, directory, f'{TABLES[kind]}.how=""')

    def test_a_crash_in_any_other_call_is_blamed_on_its_plugin(self):
        for kind, call, after, place in CRASHES:
            for how in ("crash", "abort"):
                with self.subTest(kind=kind, call=call, how=how):
                    recipe = self.bad_recipe(kind, directory=f"{kind} {call} {how}", **{"in": call, "how": how, "after": after})
                    self.assert_says(recipe, FAULTS[how][0].format(plugin=name_of(kind), place=place), 70)

    def test_each_wrong_result_is_blamed_on_its_plugin(self):
        for kind, call, how, after, says, code in RESULTS:
            with self.subTest(kind=kind, call=call, how=how):
                recipe = self.bad_recipe(kind, directory=f"{kind} {call} {how}", **{"in": call, "how": how, "after": after})
                self.assert_says(recipe, f"{name_of(kind)}: {says}", code)
                if after > 0:
                    self.assert_goes_on(recipe, f"{kind} {call} {how}", f'{TABLES[kind]}.how=""')

    def test_numbers_that_are_not_finite_reach_no_checkpoint(self):
        for policy, kind, call, how, after, says in NOT_FINITE:
            with self.subTest(policy=policy, kind=kind, call=call, how=how):
                directory = f"{policy} {kind} {call} {how}"
                recipe = self.bad_recipe(kind, directory=directory, model=BIGRAM, **{"in": call, "how": how, "after": after})
                recipe.write_text(recipe.read_text().replace("[training]", f'[training]\non_nan = "{policy}"'))
                self.assert_says(recipe, says.format(plugin=name_of(kind)), 70)
                self.assert_goes_on(recipe, directory, f'{TABLES[kind]}.how=""')

    def test_a_plugin_that_hangs_at_the_end_does_not_keep_the_process(self):
        recipe = self.bad_recipe("lr_scheduler", **{"in": "destroy", "how": "hang", "at_step": 1})
        started = time.monotonic()
        done = self.trainhost("--recipe", recipe, expect=70)
        self.assertIn("destroy", done.stderr)
        self.assertLess(time.monotonic() - started, 60)
        self.assertEqual(newest_checkpoint(self.scratch / "run").name, "step-000000020")

    def test_what_destroy_throws_is_blamed_on_the_plugin(self):
        for kind in KINDS:
            with self.subTest(kind):
                recipe = self.bad_recipe(kind, directory=kind, **{"in": "destroy", "how": "exception"})
                self.assert_says(recipe, f"an uncaught exception (told to throw) in {name_of(kind)}: destroy", 70)

    def test_a_signal_from_outside_is_not_blamed_on_a_plugin(self):
        recipe = self.bad_recipe("lr_scheduler", **{"in": "values", "how": "hang", "at_step": 5})
        recipe.write_text(recipe.read_text().replace("timeout = 1\n", "timeout = 600\n"))
        code, output = self.stop_after_step(recipe, "run", 5, with_signal=signal.SIGSEGV)
        self.assertEqual(code, -signal.SIGSEGV)
        self.assertNotIn("SIGSEGV in", output)


if __name__ == "__main__":
    unittest.main()
