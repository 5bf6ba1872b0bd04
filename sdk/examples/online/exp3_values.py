"""Writes exp3_values.h, the truth of the test: python3 exp3_values.py > exp3_values.h (needs NumPy)."""
import numpy

K, ROUNDS = 3, 12


def losses(t):
    """Of round t; the same in test.c."""
    return numpy.array([2.5 - 0.125 * t, 1.5 + 0.0625 * (t % 4), 2.0 - 0.03125 * t])


def epsilon(t):
    return min(1 / K, numpy.sqrt(numpy.log(K) / (K * t))) if t > 0 else 1 / K


print(f"/* Made by exp3_values.py with NumPy {numpy.__version__}: the shares of each round. */\n#pragma once\n")
print(f"enum {{ kSources = {K}, kRounds = {ROUNDS} }};\n\nstatic const double exp3_shares[kRounds][kSources] = {{")
rewards, lines = numpy.zeros(K), []
for t in range(1, ROUNDS + 1):
    growth = numpy.exp(epsilon(t - 1) * rewards)
    shares = (1 - K * epsilon(t)) * growth / growth.sum() + epsilon(t)
    lines.append("    {" + ", ".join(f"{share:.17g}" for share in shares) + "}")
    rewards = rewards + losses(t) / shares
print(",\n".join(lines) + "};")
