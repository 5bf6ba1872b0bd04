"""Writes optimizers/traces.json: 50 steps of optimizers in double precision on two problems, by PyTorch where it has the optimizer, else
by the formulas of the paper. Optimizers of matrices have the problems' variables as a matrix too.

Run:  python tests/golden/optimizer_traces.py    (needs torch; the version is recorded in the file)

At each step the gradient of the problem at the current point is rounded to float32 and recorded, and the rounded gradient is what the
optimizer gets: so a test feeds exactly the same numbers and compares the points, without computing any gradient itself.
"""

import json
import math
import pathlib
from unittest import mock

import torch

STEPS = 50


class FromThePaper(torch.optim.Optimizer):
    """step() calls update(parameter, gradient, state, number of the update from 1, options)."""

    def __init__(self, parameters, lr, **options):
        super().__init__(parameters, dict(lr=lr, **options))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for x in group["params"]:
                state = self.state[x]
                state["t"] = state.get("t", 0) + 1
                self.update(x, x.grad, state, state["t"], group)


def average(state, name, value, beta):
    state[name] = beta * state.get(name, torch.zeros_like(value)) + (1 - beta) * value
    return state[name]


class Lamb(FromThePaper):
    """arXiv 1904.00962v3: no bias correction, phi(z) = min(z, 10)."""

    def update(self, x, g, state, t, options):
        m = average(state, "m", g, options["beta1"])
        v = average(state, "v", g * g, options["beta2"])
        r = m / (v.sqrt() + options["eps"]) + options["weight_decay"] * x
        phi = min(x.norm().item(), 10.0)
        x -= options["lr"] * phi / r.norm() * r


class Lion(FromThePaper):
    """arXiv 2302.06675, algorithm 2."""

    def update(self, x, g, state, t, options):
        m = state.setdefault("m", torch.zeros_like(x))
        update = torch.sign(options["beta1"] * m + (1 - options["beta1"]) * g)
        x -= options["lr"] * (update + options["weight_decay"] * x)
        state["m"] = options["beta2"] * m + (1 - options["beta2"]) * g


class AdEMAMix(FromThePaper):
    """arXiv 2409.03137, algorithm 1, with the schedulers of its appendix in the paper's own form."""

    def update(self, x, g, state, t, options):
        beta1, beta2, beta3, ramp = (options[name] for name in ("beta1", "beta2", "beta3", "ramp"))
        alpha = min(t * options["alpha"] / ramp, options["alpha"])
        share = min(t / ramp, 1)
        first, last = math.log(beta1), math.log(beta3)
        beta3 = min(math.exp(first * last / ((1 - share) * last + share * first)), beta3)
        m1 = average(state, "m1", g, beta1) / (1 - beta1**t)
        m2 = average(state, "m2", g, beta3)
        v = average(state, "v", g * g, beta2) / (1 - beta2**t)
        x -= options["lr"] * ((m1 + alpha * m2) / (v.sqrt() + options["eps"]) + options["weight_decay"] * x)


class ScheduleFree(FromThePaper):
    """arXiv 2405.15682 in the form of its authors' code, which keeps no x: y itself moves towards z; r = 0, weight_lr_power = 2."""

    def update(self, y, g, state, t, options):
        z = state.setdefault("z", y.clone())
        lr, beta = options["lr"], options["beta"]
        state["lr_max"] = max(state.get("lr_max", 0), lr)
        state["weight_sum"] = state.get("weight_sum", 0) + state["lr_max"] ** 2
        share = state["lr_max"] ** 2 / state["weight_sum"]
        v = average(state, "v", g * g, options["beta2"]) / (1 - options["beta2"] ** t)
        step = g / (v.sqrt() + options["eps"]) + options["weight_decay"] * y
        y.lerp_(z, share)
        y += lr * (beta * (1 - share) - 1) * step
        z -= lr * step


class Muon(torch.optim.Muon):
    """PyTorch rounds to bfloat16 before it orthogonalises; here it stays in double precision."""

    def step(self):
        with mock.patch.object(torch.Tensor, "bfloat16", lambda tensor: tensor):
            return super().step()


OPTIMIZERS = {
    "adamw": (torch.optim.AdamW, dict(betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1), 0.02),
    "adamw_without_decay": (torch.optim.AdamW, dict(betas=(0.8, 0.999), eps=1e-6, weight_decay=0.0), 0.02),
    "adam": (torch.optim.Adam, dict(betas=(0.9, 0.999), eps=1e-8), 0.02),
    "adam_decay": (torch.optim.Adam, dict(betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1), 0.02),
    "adagrad": (torch.optim.Adagrad, dict(eps=1e-10), 0.1),
    "adagrad_decay": (torch.optim.Adagrad, dict(eps=1e-6, weight_decay=0.1, initial_accumulator_value=0.5), 0.1),
    "lamb": (Lamb, dict(beta1=0.9, beta2=0.999, eps=1e-6, weight_decay=0.1), 0.02),
    "lion": (Lion, dict(beta1=0.9, beta2=0.99, weight_decay=0.3), 0.005),
    "ademamix": (AdEMAMix, dict(beta1=0.9, beta2=0.999, beta3=0.9999, alpha=8.0, ramp=STEPS, eps=1e-8, weight_decay=0.1), 0.01),
    "ademamix_ramp": (AdEMAMix, dict(beta1=0.8, beta2=0.95, beta3=0.99, alpha=5.0, ramp=20, eps=1e-6, weight_decay=0.0), 0.01),
    "adafactor": (torch.optim.Adafactor, dict(weight_decay=0.0), 0.1),
    "schedule_free": (ScheduleFree, dict(beta=0.9, beta2=0.999, eps=1e-8, weight_decay=0.1), 0.02),
    "schedule_free_without_decay": (ScheduleFree, dict(beta=0.98, beta2=0.95, eps=1e-6, weight_decay=0.0), 0.02),
    "sgd": (torch.optim.SGD, dict(), 1e-3),
    "sgd_decay": (torch.optim.SGD, dict(weight_decay=0.1), 1e-3),
    "momentum": (torch.optim.SGD, dict(momentum=0.9), 2e-4),
    "nesterov": (torch.optim.SGD, dict(momentum=0.9, nesterov=True), 2e-4),
    "nesterov_decay": (torch.optim.SGD, dict(momentum=0.9, nesterov=True, weight_decay=0.1), 2e-4),
}
MATRIX_OPTIMIZERS = {
    "lamb": OPTIMIZERS["lamb"],
    "adafactor": OPTIMIZERS["adafactor"],
    "adafactor_decay": (torch.optim.Adafactor, dict(beta2_decay=-0.6, eps=(1e-15, 1e-2), d=1.25, weight_decay=0.1), 0.1),
    "muon": (Muon, dict(momentum=0.95, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"), 0.02),
}


def quadratic(x):
    curvature = torch.tensor([1.0, 3.0, 10.0, 30.0, 100.0], dtype=torch.float64)
    return 0.5 * (curvature * x * x).sum()


def rosenbrock(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


PROBLEMS = {
    "quadratic": (quadratic, [1.0, -0.5, 0.25, 2.0, -1.5]),
    "rosenbrock": (rosenbrock, [-1.25, 1.0, 0.5, 0.75]),
}
MATRIX_PROBLEMS = {  # three rows of the quadratic's variables, wide; and a tall one, whose elements are Rosenbrock's variables
    "quadratic matrix": (quadratic, [[1.0, -0.5, 0.25, 2.0, -1.5], [0.5, 0.75, -1.0, 0.25, 1.0], [-2.0, 1.0, 0.5, -0.25, 0.125]]),
    "rosenbrock matrix": (lambda x: rosenbrock(x.flatten()), [[-1.25, 1.0], [0.5, 0.75], [1.5, -0.25], [0.125, -0.5]]),
}


def trace(optimizer_class, options, peak_lr, function, start):
    x = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    optimizer = optimizer_class([x], lr=peak_lr, **options)
    steps = []
    for step in range(STEPS):
        lr = peak_lr * (0.1 + 0.9 * math.sin(math.pi * (step + 1) / (STEPS + 1)))  # rises and falls
        optimizer.param_groups[0]["lr"] = lr
        (gradient,) = torch.autograd.grad(function(x), x)
        x.grad = gradient.float().double()
        optimizer.step()
        steps.append({"lr": lr, "gradient": x.grad.flatten().tolist(), "parameter": x.flatten().tolist()})
    return {"shape": list(x.shape), "start": torch.tensor(start).flatten().tolist(), "steps": steps}


def main():
    torch.set_num_threads(1)
    traces = []
    for optimizers, problems in ((OPTIMIZERS, PROBLEMS), (MATRIX_OPTIMIZERS, MATRIX_PROBLEMS)):
        for name, (optimizer_class, options, peak_lr) in optimizers.items():
            for problem, (function, start) in problems.items():
                traces.append({"optimizer": name, "problem": problem, **trace(optimizer_class, options, peak_lr, function, start)})
    folder = pathlib.Path(__file__).parent / "optimizers"
    folder.mkdir(exist_ok=True)
    text = json.dumps({"torch": torch.__version__, "traces": traces}, separators=(",", ":"))
    (folder / "traces.json").write_text(text.replace('{"optimizer"', '\n{"optimizer"') + "\n")


if __name__ == "__main__":
    main()
