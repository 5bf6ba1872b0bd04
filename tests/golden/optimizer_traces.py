"""Writes optimizers/traces.json: 50 steps of PyTorch's optimizers in double precision on two problems.

Run:  python tests/golden/optimizer_traces.py    (needs torch; the version is recorded in the file)

At each step the gradient of the problem at the current point is rounded to float32 and recorded, and the rounded gradient is what the
optimizer gets: so a test feeds exactly the same numbers and compares the points, without computing any gradient itself.
"""

import json
import math
import pathlib

import torch

STEPS = 50
OPTIMIZERS = {
    "adamw": (torch.optim.AdamW, dict(betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1), 0.02),
    "adamw_without_decay": (torch.optim.AdamW, dict(betas=(0.8, 0.999), eps=1e-6, weight_decay=0.0), 0.02),
    "sgd": (torch.optim.SGD, dict(), 1e-3),
    "sgd_decay": (torch.optim.SGD, dict(weight_decay=0.1), 1e-3),
    "momentum": (torch.optim.SGD, dict(momentum=0.9), 2e-4),
    "nesterov": (torch.optim.SGD, dict(momentum=0.9, nesterov=True), 2e-4),
    "nesterov_decay": (torch.optim.SGD, dict(momentum=0.9, nesterov=True, weight_decay=0.1), 2e-4),
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
        steps.append({"lr": lr, "gradient": x.grad.tolist(), "parameter": x.tolist()})
    return {"start": start, "steps": steps}


def main():
    torch.set_num_threads(1)
    traces = []
    for name, (optimizer_class, options, peak_lr) in OPTIMIZERS.items():
        for problem, (function, start) in PROBLEMS.items():
            traces.append({"optimizer": name, "problem": problem, **trace(optimizer_class, options, peak_lr, function, start)})
    folder = pathlib.Path(__file__).parent / "optimizers"
    folder.mkdir(exist_ok=True)
    text = json.dumps({"torch": torch.__version__, "traces": traces}, separators=(",", ":"))
    (folder / "traces.json").write_text(text.replace('{"optimizer"', '\n{"optimizer"') + "\n")


if __name__ == "__main__":
    main()
