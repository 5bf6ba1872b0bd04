"""What happens when ranks of a whole run fail: they are killed, stopped, crash, hang, get signals, lose the network, or were started wrongly.

Prints a line for each kind of trial: row of the list of promises, what was done, trials, failures, p50 and p99 seconds, notes.
TRAINHOST_LONG_TESTS=1 runs the long form, TRAINHOST_TRIALS sets its trials, TRAINHOST_SEED its random choices."""
import itertools
import json
import os
import random
import re
import shutil
import signal
import socket
import time
import unittest

from trainhost_run import MINICPM, SMALL, RunTest, newest_checkpoint, read_log, training_log
from watched_ranks import HANG, Figures, TwoHosts, WatchedProcess, children_of, established

LONG = "TRAINHOST_LONG_TESTS" in os.environ
TRIALS = int(os.environ.get("TRAINHOST_TRIALS", "100"))
SEED = int(os.environ.get("TRAINHOST_SEED", "1"))
HEARTBEAT = 0.5
TIMEOUT = 30
SLACK = 1.5  # seconds that a busy machine may take beside the two heartbeats
TOKEN = "0123456789abcdef0123456789abcdef"
SHARDINGS = ("none", "optimizer", "gradients", "parameters")
STEP_TOKENS = 256  # four sequences: 1, 2 and 4 ranks can share them
STEPS = 24
SIGNALS = {signal.SIGTERM: "SIGTERM", signal.SIGINT: "SIGINT", signal.SIGUSR1: "SIGUSR1", signal.SIGKILL: "SIGKILL", signal.SIGSTOP: "SIGSTOP",
           signal.SIGSEGV: "SIGSEGV", signal.SIGABRT: "SIGABRT"}


class RankFailureTest(RunTest):
    def setUp(self):
        super().setUp()
        self.environment |= {"OMP_NUM_THREADS": "1", "TRAINHOST_PLUGIN_PATH": os.path.join(os.environ["TRAINHOST_BINARY_DIR"], "tests/plugins")}
        self.random = random.Random(SEED)
        self.directories = itertools.count()

    # Recipes and processes.

    def short_run(self, directory, steps=STEPS, more="", **replacements):
        """A run that evaluates, writes samples and saves all the time."""
        settings = {"batch = 512\nmicro_batch = 256": f"batch = {STEP_TOKENS}\nmicro_batch = 64", 'every = "20%"': 'every = "3 steps"',
                    'every = "25%"': 'every = "4 steps"', 'prompts = ["The"]': 'every = "5 steps"\nprompts = ["The"]'}
        tokens = f'{STEP_TOKENS * steps}\nreduction = "fixed"'
        parallel = f"[parallel]\nheartbeat = {HEARTBEAT}\ntimeout = {TIMEOUT}\n"
        return self.recipe(directory, MINICPM, tokens=tokens, more=parallel + more, name=f"{directory}.toml", **(settings | replacements))

    def new_directory(self):
        return f"run{next(self.directories)}"

    def forget(self, directory):
        shutil.rmtree(self.scratch / directory, ignore_errors=True)

    @staticmethod
    def arguments(recipe, settings=()):
        return ["--recipe", recipe, *(word for setting in settings for word in ("--set", setting))]

    def rank_environment(self, rank, size, port, token=TOKEN):
        return {**self.environment, "RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
                "TRAINHOST_TOKEN": token}

    def watch(self, arguments, environment=None, prefix=()):
        process = WatchedProcess(arguments, environment or self.environment, prefix)
        self.addCleanup(process.end)
        return process

    def start_ranks(self, recipe, size, settings=(), world_size=None, port=None):
        port = port or self.free_port()
        return [self.watch(self.arguments(recipe, settings), self.rank_environment(rank, world_size or size, port)) for rank in range(size)]

    def launch(self, recipe, size, settings=(), restarts=3):
        return self.watch([*self.arguments(recipe, settings), "--processes", size, "--restarts", restarts])

    # Truths.

    def weights(self, directory):
        output = self.scratch / "consolidated.safetensors"
        output.unlink(missing_ok=True)
        self.trainhost("checkpoints", "consolidate", self.scratch / directory, "--output", output)
        return output.read_bytes()

    def undisturbed(self, steps=STEPS):
        """(weights, log, seconds) of a run on one process that nothing disturbs."""
        began = time.monotonic()
        self.trainhost("--recipe", self.short_run(f"undisturbed{steps}", steps))
        took = time.monotonic() - began
        return self.weights(f"undisturbed{steps}"), training_log(self.scratch / f"undisturbed{steps}"), took

    def difference(self, directory, truth):
        """What differs from the undisturbed run; None: nothing."""
        weights, log, _ = truth
        if self.weights(directory) != weights:
            return "other weights than the undisturbed run"
        if training_log(self.scratch / directory) != log:
            return "another log than the undisturbed run"
        return None

    def announced_but_gone(self, directory, outputs):
        """Which checkpoint was announced as saved, and neither it nor a newer one loads; None: all is well."""
        announced = [int(step) for output in outputs for step in re.findall(r"saved \S+/step-(\d+) in", output)]
        if not announced:
            return None
        listed = json.loads(self.trainhost("checkpoints", "--run", self.scratch / directory, "--verify", "--json").stdout)
        found = listed if isinstance(listed, list) else listed["checkpoints"]
        damaged = [each["path"] for each in found if each.get("problem")]
        if damaged:
            return f"damaged: {damaged}"
        newest = max((each["step"] for each in found), default=0)
        return None if newest >= max(announced) else f"step {max(announced)} was announced, the newest is {newest}"

    def assert_no_failures(self, *figures):
        for each in figures:
            each.print()
        for each in figures:
            self.assertEqual(each.failures, [])


class LostRankTest(RankFailureTest):
    """A rank is killed, stopped or crashes; the others notice."""

    PHASES = ("rendezvous", "preparing data", "step", "evaluating", "sampling", "saving", "waiting at the end")
    SAID = {"rendezvous": "rank", "preparing data": "prepare the data", "step": "step ", "evaluating": "measuring held-out loss",
            "sampling": "writing samples", "saving": "saving a checkpoint", "waiting at the end": "leaving"}
    FAULTS = (signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV, signal.SIGABRT)

    def recipe_for(self, phase, directory, size):
        never = 'every = "100%"'
        quiet = {'every = "20%"': never, 'every = "25%"': never, 'prompts = ["The"]': f'{never}\nprompts = ["The"]'}
        each_step = 'every = "1 steps"'
        if phase == "preparing data":
            text = self.scratch / "long.txt"
            if not text.exists():
                text.write_text((SMALL / "english.txt").read_text() * 12)
            self.environment["TRAINHOST_CACHE"] = str(self.scratch / f"cache_{directory}")
            return self.short_run(directory, 1000, **quiet, **{'plugin = "byte"': 'plugin = "byte_bpe"\nvocabulary_size = 4096', str(SMALL / "english.txt"): str(text)})
        if phase == "evaluating":
            return self.short_run(directory, 1000, **quiet | {'every = "25%"': each_step, "tokens = 2048": "tokens = 8192"})
        if phase == "sampling":
            return self.short_run(directory, 1000, **quiet | {'prompts = ["The"]': f'{each_step}\nprompts = ["The", "A", "One"]', "tokens = 8\n": "tokens = 64\n"})
        if phase == "saving":
            return self.short_run(directory, 1000, **quiet | {'every = "20%"': each_step})
        if phase == "waiting at the end":  # of the last rank's process, that is
            hang = f'plugin = "misbehaving_lr_scheduler"\nin = "destroy"\nhow = "hang"\non_rank = {size - 1}\nat_step = 7'
            return self.short_run(directory, 8, **{"peak_lr = 0.01": hang})
        return self.short_run(directory, 1000, **quiet)

    def wait_for(self, phase, directory, ranks, port):
        if phase == "rendezvous":
            deadline = time.monotonic() + HANG
            while established(port) < len(ranks) and time.monotonic() < deadline:
                time.sleep(0.005)
            time.sleep(0.05)
            return
        if phase == "preparing data":
            self.assertTrue(ranks[0].says("training tokenizer"), ranks[0].output)
            return
        if phase == "waiting at the end":
            self.assertTrue(ranks[0].says("saved "), ranks[0].output)
            time.sleep(3 * HEARTBEAT)
            return
        self.wait_for_step(directory, 3)
        folder = self.scratch / directory / "checkpoints"
        if phase == "saving":
            deadline = time.monotonic() + HANG
            while not any(folder.glob("*.partial-*")) and time.monotonic() < deadline:
                pass
        elif phase == "step":
            time.sleep(self.random.random() * 0.05)
        else:
            time.sleep(self.random.random() * 0.2)

    def lose(self, phase, size, victim, fault, figures):
        """One trial."""
        directory = self.new_directory()
        port = self.free_port()
        recipe = self.recipe_for(phase, directory, size)
        # One more rank than there are never comes to the rendezvous.
        ranks = self.start_ranks(recipe, size, world_size=size + 1 if phase == "rendezvous" else size, port=port)
        self.wait_for(phase, directory, ranks, port)
        early = [rank for rank in range(size) if not ranks[rank].running]
        injected = time.monotonic()
        ranks[victim].signal(fault)
        problem, noticed = None, []
        deadline = time.monotonic() + HANG
        for rank in range(size):
            if rank == victim or rank in early:
                continue
            code = ranks[rank].finish(max(deadline - time.monotonic(), 0.1))
            when = ranks[rank].first_line(f"rank {victim} (", injected)
            if code is None:
                problem = f"rank {rank} hangs"
            elif code == 0 and phase == "waiting at the end" and 0 < rank < size - 1:
                continue  # it was leaving
            elif code != 69 or when is None:
                problem = f"rank {rank} ended with {code}"
            else:
                noticed.append(when - injected)
            if problem:
                problem += f" ({phase}, {SIGNALS[fault]} to rank {victim} of {size})\n" + "\n".join(each.output for each in ranks)
                break
        late = [seconds for seconds in noticed if seconds > 2 * HEARTBEAT + SLACK]
        if not problem and late:
            problem = f"noticed after {max(late):.2f} s ({phase}, {SIGNALS[fault]} to rank {victim} of {size})"
        said = any(self.SAID[phase] in rank.output for rank in ranks)
        figures.add(problem, noticed, None if said else "hit just beside the phase")
        for rank in ranks:
            rank.end()
        self.forget(directory)
        return noticed

    def test_the_others_notice_whatever_they_do(self):
        """Row 14."""
        cases = [(phase, size, victim, fault) for phase in self.PHASES for size in (2, 4) for victim in range(size) for fault in self.FAULTS
                 if phase != "waiting at the end" or victim in (0, size - 1)]
        if not LONG:
            cases = [("rendezvous", 2, 1, signal.SIGKILL), ("preparing data", 2, 0, signal.SIGSTOP), ("step", 4, 2, signal.SIGSEGV),
                     ("evaluating", 2, 1, signal.SIGABRT), ("saving", 2, 0, signal.SIGKILL), ("waiting at the end", 2, 1, signal.SIGSTOP)]
        figures = {phase: Figures(14, f"kill -9, SIGSTOP, SIGSEGV, SIGABRT: {phase}") for phase in self.PHASES}
        for phase, size, victim, fault in cases:
            self.lose(phase, size, victim, fault, figures[phase])
        self.assert_no_failures(*(each for each in figures.values() if each.trials))

    def test_a_plugin_that_hangs_or_fails_on_one_rank(self):
        """Row 14: nobody waits longer than the timeout for a rank whose heart beats."""
        figures = Figures(14, "plugin hangs, throws or crashes on one rank")
        cases = [("values", how, size, victim) for how in ("hang", "exception", "abort", "crash") for size in (2, 4) for victim in range(size)]
        cases += [("create", how, 2, victim) for how in ("hang", "exception") for victim in range(2)]
        cases += [("destroy", "hang", 2, victim) for victim in range(2)]
        if LONG:
            cases *= max(1, TRIALS // len(cases))
        else:
            cases = [("values", "hang", 2, 0), ("values", "exception", 4, 2), ("destroy", "hang", 2, 1)]
        timeout = 2
        for call, how, size, victim in cases:
            directory = self.new_directory()
            plugin = f'plugin = "misbehaving_lr_scheduler"\nin = "{call}"\nhow = "{how}"\non_rank = {victim}\nat_step = 3'
            recipe = self.short_run(directory, 8, **{"peak_lr = 0.01": plugin, f"timeout = {TIMEOUT}": f"timeout = {timeout}"})
            ranks = self.start_ranks(recipe, size)
            codes = [rank.finish() for rank in ranks]
            ends = [rank.ended or time.monotonic() for rank in ranks]
            problem = None
            for rank in range(size):
                if codes[rank] is None:
                    problem = f"rank {rank} hangs"
                elif rank == victim and codes[rank] != 70 and not (how == "hang" and codes[rank] == 69):  # the others may notice first
                    problem = f"rank {rank}, the one at fault, ended with {codes[rank]}"
                elif rank != victim and call == "values" and (codes[rank] != 69 or not re.search(rf"rank {victim} \(", ranks[rank].output)):
                    problem = f"rank {rank} ended with {codes[rank]}"
                elif rank != victim and call == "create" and codes[rank] not in (69, 70):
                    problem = f"rank {rank} ended with {codes[rank]}"
            if problem:
                problem += f" ({how} in {call} on rank {victim} of {size})\n" + "\n".join(f"{code}: {rank.output}" for code, rank in zip(codes, ranks))
            figures.add(problem, [max(ends) - min(ends)])
            for rank in ranks:
                rank.end()
            self.forget(directory)
        self.assert_no_failures(figures)


class RestartTest(RankFailureTest):
    """After a loss all start again and end as if nothing had been."""

    def end_of(self, launcher, directory, truth):
        code = launcher.finish(2 * HANG)
        if code is None:
            return "hangs\n" + launcher.output
        if code != 0:
            return f"ended with {code}\n" + launcher.output
        return self.difference(directory, truth)

    def test_the_launcher_starts_all_again(self):
        """Row 14 with the launcher: from the last good checkpoint, to the same bits."""
        truth = self.undisturbed()
        figures = Figures(14, "one rank killed or crashed at a random time under --processes, all start again")
        cases = [(size, fault) for size in (2, 4) for fault in (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT)]
        cases = cases * max(1, TRIALS // len(cases)) + [(2, signal.SIGSTOP), (4, signal.SIGSTOP)] if LONG else [(2, signal.SIGKILL)]
        for trial, (size, fault) in enumerate(cases):
            directory = self.new_directory()
            launcher = self.launch(self.short_run(directory), size, [f"parallel.sharding={SHARDINGS[trial % 4]}"])
            time.sleep(self.random.uniform(0.05, 0.9 * self.typical(truth, size)))
            victims = children_of(launcher.pid)
            injected = time.monotonic()
            if victims:
                os.kill(self.random.choice(victims), fault)
            problem = self.end_of(launcher, directory, truth)
            again = launcher.first_line("all ranks start again", injected)
            figures.add(problem, [again - injected] if again else [], "started again" if again else "had ended before")
            self.forget(directory)
        self.assert_no_failures(figures)

    def typical(self, truth, size):
        """Seconds that a run takes, roughly."""
        return truth[2] * (1 if size == 1 else 2 if size == 2 else 3)

    def test_kills_at_random_times(self):
        """Row 1: one rank or all of them, again and again, each time on another number of ranks."""
        truth = self.undisturbed()
        figures = Figures(1, "kill -9 of one or all ranks at random times, then on another number of ranks")
        wanted = TRIALS if LONG else 4
        kills = 0
        while kills < wanted:
            directory = self.new_directory()
            recipe = self.short_run(directory)
            outputs, problem = [], None
            for leg in range(4):
                size = self.random.choice((1, 2, 4))
                settings = [f"parallel.sharding={self.random.choice(SHARDINGS)}", f"checkpoint.asynchronous={self.random.choice(('true', 'false'))}"]
                ranks = self.start_ranks(recipe, size, settings)
                self.random_instant(ranks, directory, self.typical(truth, size))
                victims = ranks if self.random.random() < 0.5 else [self.random.choice(ranks)]
                for rank in victims:
                    rank.signal(signal.SIGKILL)
                codes = [rank.finish() for rank in ranks]
                outputs += [rank.output for rank in ranks]
                kills += 1
                if any(code not in (0, 69, -signal.SIGKILL) for code in codes):
                    problem = f"ended with {codes}\n" + "\n".join(outputs)
                problem = problem or self.announced_but_gone(directory, outputs)
                for rank in ranks:
                    rank.end()
                if problem:
                    break
                figures.add(None)
            if not problem:
                code = self.trainhost("--recipe", recipe, "--processes", self.random.choice((1, 2, 4))).returncode
                problem = f"ended with {code}" if code else self.difference(directory, truth)
            if problem:
                figures.add(problem)
            self.forget(directory)
        self.assert_no_failures(figures)

    def random_instant(self, ranks, directory, typical):
        """Any time, or in a save."""
        if self.random.random() < 0.5:
            time.sleep(self.random.uniform(0.05, 0.9 * typical))
            return
        folder = self.scratch / directory / "checkpoints"
        passed = self.random.randrange(4)  # saves that are let be
        seen = set()
        deadline = time.monotonic() + 3 * typical
        while len(seen) <= passed and time.monotonic() < deadline and any(rank.running for rank in ranks):
            seen.update(path.name for path in folder.glob("*.partial-*"))
            time.sleep(0.001)
        time.sleep(self.random.random() * 0.02)


class StopTest(RankFailureTest):
    """Signals to stop."""

    def test_all_save_the_same_step(self):
        """Row 13: one signal or two, to one rank or all, at any time."""
        truth = self.undisturbed()
        cases = [(number, size, scope, asynchronous) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1) for size in (2, 4)
                 for scope in ("one rank", "all ranks", "one rank twice", "launcher") for asynchronous in ("false", "true")]
        if LONG:
            cases = (cases * (TRIALS // len(cases) + 1))[:max(TRIALS, len(cases))]
        else:
            cases = [(signal.SIGTERM, 2, "one rank", "true"), (signal.SIGUSR1, 4, "all ranks", "false"), (signal.SIGINT, 2, "launcher", "false")]
        figures = {scope: Figures(13, f"SIGTERM, SIGINT, SIGUSR1 to {scope} at a random time") for scope in dict.fromkeys(case[2] for case in cases)}
        for trial, (number, size, scope, asynchronous) in enumerate(cases):
            directory = self.new_directory()
            recipe = self.short_run(directory)
            settings = [f"parallel.sharding={SHARDINGS[(trial + trial // 8) % 4]}", f"checkpoint.asynchronous={asynchronous}"]
            problem, seconds, note = self.stop(recipe, directory, number, size, scope, settings, 0.8 * truth[2] * (2 if size == 2 else 3))
            if not problem:
                self.trainhost("--recipe", recipe, "--processes", self.random.choice((1, 2, 4)), "--set", f"parallel.sharding={self.random.choice(SHARDINGS)}")
                problem = self.difference(directory, truth)
            figures[scope].add(problem and f"{SIGNALS[number]} to {scope}, {size} ranks, {settings}: {problem}", seconds, note)
            self.forget(directory)
        self.assert_no_failures(*figures.values())

    def stop(self, recipe, directory, number, size, scope, settings, longest):
        """(problem, [seconds from the signal to the last end], note)."""
        ranks = [self.launch(recipe, size, settings)] if scope == "launcher" else self.start_ranks(recipe, size, settings)
        time.sleep(self.random.uniform(0, longest))
        targets = [self.random.choice(ranks)] if scope.startswith("one") else ranks
        sent = time.monotonic()
        for target in targets:
            target.signal(number)
        if scope.endswith("twice"):
            time.sleep(self.random.random() * 0.1)
            targets[0].signal(number)
        codes = [rank.finish() for rank in ranks]
        output = "\n".join(rank.output for rank in ranks)
        seconds = [max(rank.ended or time.monotonic() for rank in ranks) - sent]
        for rank in ranks:
            rank.end()
        if None in codes:
            return f"hangs: {codes}\n{output}", seconds, None
        if all(code == 0 for code in codes):
            return None, [], "had ended before"
        if -number in codes:
            return None, [], "killed before the program had begun" if not (self.scratch / directory).exists() else "?"
        if any(code != 75 for code in codes):
            return f"ended with {codes}\n{output}", seconds, None
        steps = [line["step"] for line in read_log(self.scratch / directory / "log" / "metrics.jsonl") if line["kind"] == "step"]
        if not steps:
            return None, seconds, "before the first step"
        saved = newest_checkpoint(self.scratch / directory).name
        said = set(re.findall(r"stopped by a signal after step (\d+)", output))
        if len(said) > 1 or saved != f"step-{steps[-1]:09d}":
            return f"the last step is {steps[-1]}, saved is {saved}, said was {said}", seconds, None
        return None, seconds, "after a step"

    def test_a_second_signal_ends_at_once(self):
        """Row 13: a rank that hangs cannot save; the second signal ends it, and the others notice."""
        figures = Figures(13, "a second signal to a rank that hangs")
        for size, victim in [(2, 0), (2, 1), (4, 3)] * (max(1, TRIALS // 6) if LONG else 1) if LONG else [(2, 1)]:
            directory = self.new_directory()
            plugin = f'plugin = "misbehaving_lr_scheduler"\nin = "values"\nhow = "hang"\non_rank = {victim}\nat_step = 3'
            ranks = self.start_ranks(self.short_run(directory, **{"peak_lr = 0.01": plugin}), size)
            self.wait_for_step(directory, 3)
            time.sleep(1)  # into the step after it, which hangs
            ranks[victim].signal(signal.SIGTERM)
            time.sleep(1.1)
            running = ranks[victim].running
            ranks[victim].signal(signal.SIGTERM)
            sent = time.monotonic()
            codes = [rank.finish() for rank in ranks]
            wanted = [75 if rank == victim else 69 for rank in range(size)]
            figures.add(None if codes == wanted and running else f"ended with {codes}, not {wanted}\n" + "\n".join(rank.output for rank in ranks),
                        [ranks[victim].ended - sent] if codes[victim] is not None else [])
            for rank in ranks:
                rank.end()
            self.forget(directory)
        self.assert_no_failures(figures)


@unittest.skipIf(TwoHosts.obstacle(), TwoHosts.obstacle())
class TwoHostsTest(RankFailureTest):
    """Two network namespaces as two hosts."""

    def setUp(self):
        super().setUp()
        self.hosts = TwoHosts()
        self.addCleanup(self.hosts.close)

    def start_on_both(self, recipe, size, settings=()):
        ranks = []
        port = self.free_port()
        for rank in range(size):
            host = 2 * rank // size
            environment = {**self.rank_environment(rank, size, port), "MASTER_ADDR": TwoHosts.ADDRESSES[0], "LOCAL_WORLD_SIZE": str(size // 2),
                           "LOCAL_RANK": str(rank % (size // 2)),
                           "TRAINHOST_INTERFACE": TwoHosts.ADDRESSES[host] if rank % 2 else self.hosts.names[host]}
            ranks.append(self.watch(self.arguments(recipe, settings), environment, self.hosts.prefix(host)))
        return ranks

    def end(self, ranks, directory):
        for rank in ranks:
            rank.end()
        self.forget(directory)

    def test_two_hosts_train_as_one_and_a_slow_wire_only_slows(self):
        """Row 15: delays."""
        ways = {0: (STEPS, TRIALS // 3), 50: (8, TRIALS // 3), 200: (4, TRIALS // 3)} if LONG else {50: (4, 1)}
        truths = {steps: self.undisturbed(steps) for steps, _ in ways.values()}
        figures = {delay: Figures(15, f"two hosts, {delay} ms one way on the wire: ends as on one") for delay in ways}
        for delay, (steps, trials) in ways.items():
            self.hosts.delay = delay / 1000
            for trial in range(trials):
                directory = self.new_directory()
                size = (2, 4)[trial % 2]
                began = time.monotonic()
                ranks = self.start_on_both(self.short_run(directory, steps), size, [f"parallel.sharding={SHARDINGS[trial % 4]}"])
                codes = [rank.finish(4 * HANG) for rank in ranks]
                problem = (self.difference(directory, truths[steps]) if codes == [0] * size
                           else f"ended with {codes}\n" + "\n".join(rank.output for rank in ranks))
                figures[delay].add(problem, [time.monotonic() - began])
                self.end(ranks, directory)
        self.assert_no_failures(*figures.values())

    def test_a_cut_wire_ends_all_ranks(self):
        """Row 15: nobody goes on alone; the lock of the run directory keeps a second writer out; afterwards the run goes on."""
        truth = self.undisturbed()
        figures = Figures(15, "the wire between two hosts is cut at a random time")
        for trial in range(TRIALS if LONG else 1):
            directory = self.new_directory()
            size = 4 if trial % 4 == 3 else 2
            recipe = self.short_run(directory)
            ranks = self.start_on_both(recipe, size, [f"parallel.sharding={SHARDINGS[trial // 2 % 4]}"])
            self.wait_for_step(directory, 1)
            time.sleep(self.random.uniform(0, 0.4 * truth[2] * size))
            self.hosts.cut = True
            cut = time.monotonic()
            rival = self.watch(self.arguments(recipe), prefix=self.hosts.prefix(1)) if trial % 3 == 0 else None
            problem, noticed = self.ends_of_cut(ranks, cut)
            figures.notes["whole run before the cut" if not problem and not noticed else "cut"] += 1
            if rival:
                code = rival.finish()
                refused = code == 69 and "is in use by" in rival.output
                figures.notes["second run on the directory at once: refused" if refused else "second run: after the first had ended"] += 1
                if code not in (0, 69):
                    problem = problem or f"the second run ended with {code}\n{rival.output}"
            self.hosts.cut = False
            if not problem:
                self.trainhost("--recipe", recipe)
                problem = self.difference(directory, truth)
            if not problem and noticed and max(noticed) > 2 * HEARTBEAT + SLACK:
                problem = f"noticed after {max(noticed):.2f} s"
            figures.add(problem, noticed)
            self.end(ranks, directory)
        self.assert_no_failures(figures)

    @staticmethod
    def ends_of_cut(ranks, cut):
        """(problem, seconds until each rank named one of the other host)."""
        size = len(ranks)
        codes = [rank.finish() for rank in ranks]
        noticed = []
        for rank, process in enumerate(ranks):
            far = [other for other in range(size) if 2 * other // size != 2 * rank // size]
            when = min((at for at in (process.first_line(f"rank {other} (", cut) for other in far) if at), default=None)
            if codes[rank] == 0:
                continue  # it had left before, or was leaving
            if codes[rank] != 69 or when is None:
                return f"rank {rank} of those that ended with {codes}\n" + "\n".join(each.output for each in ranks), []
            noticed.append(when - cut)
        return None, noticed


class WrongStartTest(RankFailureTest):
    """What each rank says of a run that cannot begin."""

    TIMEOUT = 1.5

    def setUp(self):
        super().setUp()
        self.wrong = self.short_run("wrong", **{f"timeout = {TIMEOUT}": f"timeout = {self.TIMEOUT}"})
        self.figures = Figures(14, "wrong start: unreachable master, port in use, wrong token, missing rank, wrong size, rank twice")

    def rank(self, rank, size, port, **environment):
        return self.watch(self.arguments(self.wrong), {**self.rank_environment(rank, size, port), **environment})

    def expect(self, ranks, *wanted):
        began = time.monotonic()
        problem = None
        for rank, (code, text) in zip(ranks, wanted):
            found = rank.finish()
            if found != code or text not in rank.output:
                problem = f"ended with {found}, expected {code} and: {text}\n{rank.output}"
        self.figures.add(problem, [time.monotonic() - began])
        for rank in ranks:
            rank.end()

    def test_each_rank_says_what_is_wrong(self):
        for _ in range(max(1, TRIALS // 6) if LONG else 1):
            port = self.free_port()
            self.expect([self.rank(1, 2, port)], (69, f"rank 0 at 127.0.0.1 port {port} cannot be reached from 127.0.0.1: Connection refused"))
            with socket.create_server(("127.0.0.1", 0)) as other:
                port = other.getsockname()[1]
                self.expect([self.rank(0, 2, port), self.rank(1, 2, port)],
                            (69, f"rank 0 cannot listen at 127.0.0.1 port {port}: another program uses it"), (69, f"rank 0 at 127.0.0.1 port {port} cannot be reached"))
            port = self.free_port()
            self.expect([self.rank(0, 2, port), self.rank(1, 2, port, TRAINHOST_TOKEN="f" * 32)],
                        (69, "1 connection was refused because its token was wrong"), (64, "has another token"))
            port = self.free_port()
            self.expect([self.rank(rank, 4, port) for rank in (0, 1, 3)], *[(69, "rank 2 did not connect to rank 0")] * 3)
            port = self.free_port()
            self.expect([self.rank(0, 2, port), self.rank(1, 3, port)], *[(64, "world size of 3")] * 1, (64, "world size of 2"))
            port = self.free_port()
            self.expect([self.rank(0, 3, port), self.rank(1, 3, port), self.rank(1, 3, port)], *[(64, "rank 1")] * 3)
        self.assert_no_failures(self.figures)


if __name__ == "__main__":
    unittest.main()
