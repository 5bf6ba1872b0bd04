"""Writes trace.h, the truth of the test, in float64: python3 trace.py > trace.h (needs NumPy)."""
import numpy

STEPS, EPSILON, RATE, SCALE, DECAY = 6, 1e-3, 0.1, 0.5, 0.1
SHAPES = {"wide": (3, 5), "tall": (7, 2), "vector": (4,)}


def value(number, step, count):
    """The same in test.c: float32 numbers of no pattern. Step -1: the parameter at the beginning."""
    return numpy.float32(((numpy.arange(count) * 37 + number * 11 + step * 101) % 64 - 31.5) / 16).astype(numpy.float64)


def inverse_root(a):
    eigenvalues, vectors = numpy.linalg.eigh(a)
    return vectors @ numpy.diag(eigenvalues ** -0.25) @ vectors.T


def trace(number, shape, every):
    w = value(number, -1, numpy.prod(shape)).reshape(shape)
    if len(shape) == 2:
        left, right = EPSILON * numpy.eye(shape[0]), EPSILON * numpy.eye(shape[1])
    else:
        total = numpy.full(shape, EPSILON)
    for step in range(STEPS):
        g = SCALE * value(number, step, w.size).reshape(shape)
        if len(shape) == 2:
            left, right = left + g @ g.T, right + g.T @ g
            if step % every == 0:
                left_root, right_root = inverse_root(left), inverse_root(right)
            direction = left_root @ g @ right_root
        else:
            total = total + g * g
            direction = g / numpy.sqrt(total)
        w = w - RATE * (direction + DECAY * w)
        yield w


print(f"/* Made by trace.py with NumPy {numpy.__version__}: the parameters after each update. */\n#pragma once\n")
print(f"enum {{ kSteps = {STEPS} }};")
for every in (1, 4):
    for number, (name, shape) in enumerate(SHAPES.items()):
        print(f"\nstatic const double {name}_every_{every}[kSteps][{numpy.prod(shape)}] = {{")
        print(",\n".join("    {" + ", ".join(f"{x:.15g}" for x in w.flat) + "}" for w in trace(number, shape, every)) + "};")
