"""What the recipes named for their hardware promise in their first lines, against `trainhost plan --memory`."""
import json
import pathlib
import re
import subprocess
import unittest

from trainhost_run import BINARY, SOURCE

BF16_FLOPS_PER_SECOND = 989e12  # H100 SXM, dense: NVIDIA's data sheet
REACHED = 0.4


def count_text(count):
    for size, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if count >= size:
            return f"{count / size:.1f}{suffix}"
    return str(count)


def duration_text(seconds):
    return f"{seconds / 86400:.1f} days" if seconds > 86400 else f"{seconds / 3600:.1f} hours"


class HardwareRecipesTest(unittest.TestCase):
    def recipes(self):
        found = {path: int(re.search(r"\.(\d+)xh100", path.name)[1]) for path in (SOURCE / "recipes").glob("*xh100.toml")}
        self.assertEqual(sorted(found.values()), [1, 8, 64])
        return found

    def test_the_first_lines_are_what_the_plan_says(self):
        for path, gpus in self.recipes().items():
            with self.subTest(path.name):
                command = [BINARY, "plan", "--memory", "--json", "--processes", str(gpus), "--recipe", path]
                plan = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                text = path.read_text()
                seconds = plan["operations"] / (gpus * BF16_FLOPS_PER_SECOND * REACHED)
                memory = max(stage["total"] for stage in plan["stages"])
                self.assertLess(memory, 80e9)
                for line in (
                    f"#   {count_text(plan['parameters'])} parameters, {count_text(plan['tokens'])} tokens, "
                    f"{plan['operations']:.2e} floating-point operations\n",
                    f"#   {duration_text(seconds)}, if 40 % of 989 TFLOP/s (dense bf16) are reached\n",
                    f"#   {memory / 1e9:.1f} GB of each GPU's memory\n",
                ):
                    self.assertIn(line, text)

    # 6 N D of Kaplan et al. 2020 (arXiv 2001.08361), N with the tied head; attention comes on top.
    def test_operations_are_six_for_each_parameter_and_token(self):
        for path, gpus in self.recipes().items():
            with self.subTest(path.name):
                command = [BINARY, "plan", "--memory", "--json", "--processes", str(gpus), "--recipe", path]
                plan = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                self.assertGreater(plan["operations"], 6 * plan["parameters"] * plan["tokens"])
                self.assertLess(plan["operations"], 1.35 * 6 * plan["parameters"] * plan["tokens"])

    def test_the_job_script_starts_the_recipe_it_is_named_for(self):
        for script in (SOURCE / "recipes").glob("*.sbatch"):
            subprocess.run(["bash", "-n", script], check=True)
            name = script.with_suffix(".toml").name
            self.assertIn(f"trainhost --recipe {name}\n", script.read_text())
            self.assertTrue((script.parent / name).exists())


if __name__ == "__main__":
    unittest.main()
