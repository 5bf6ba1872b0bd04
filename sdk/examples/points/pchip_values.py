"""Writes pchip_values.h, the truth of the test: python3 pchip_values.py > pchip_values.h (needs SciPy)."""
import numpy
import scipy
from scipy.interpolate import PchipInterpolator

# Tokens and values of a run of 2000 tokens; unevenly spaced, with a level stretch, a top and a bottom.
CURVES = {
    "warm_up_and_decay": ([0, 40, 1800, 2000], [0, 1, 1, 0.1]),
    "up_and_down": ([0, 100, 300, 900, 1000, 1600, 2000], [0.2, 0.9, 1, 0.3, 0.5, 0.05, 0.01]),
    "two_points": ([500, 1500], [1, 0.25]),
    "steep_ends": ([0, 1000, 1100, 2000], [0, 0.01, 1, 0.9]),
}

print(f"/* Made by pchip_values.py with SciPy {scipy.__version__}: PchipInterpolator at every 25th token of a run of 2000. */")
print("#pragma once\n\nenum { kValues = 80 };")
for name, (tokens, values) in CURVES.items():
    for scale in ("linear", "log"):
        if scale == "log" and 0 in values:
            continue
        y = numpy.log(values) if scale == "log" else values
        at = numpy.clip(numpy.arange(0, 2000, 25), tokens[0], tokens[-1])
        curve = PchipInterpolator(tokens, y)(at)
        curve = numpy.exp(curve) if scale == "log" else curve
        print(f"\nstatic const double {name}_{scale}[kValues] = {{")
        print(",\n".join("    " + ", ".join(f"{value:.17g}" for value in row) for row in curve.reshape(-1, 5)) + "};")
