"""Reads safetensors files with the format's own Python package and prints what it finds, one line per file or tensor.

  read_safetensors.py tensors FILE      name, dtype, shape and SHA-256 of each tensor; then whether the package writes the same bytes
  read_safetensors.py raw FILE          name, dtype, shape and SHA-256 of each tensor, also of dtypes that NumPy has not
  read_safetensors.py judge DIRECTORY   each file's name and "sound" or "refused"
  read_safetensors.py mean|ema ALPHA MADE CHECKPOINT...
                                        whether the parameters in MADE are that average of the checkpoints', oldest first
"""

import hashlib
import os
import pathlib
import re
import sys

import numpy
import safetensors
from safetensors.numpy import load, load_file, save


def tensors(path):
    with open(path, "rb") as file:
        contents = file.read()
    loaded = load(contents)
    for name, array in sorted(loaded.items()):
        print(name, array.dtype, list(array.shape), hashlib.sha256(array.tobytes()).hexdigest())
    print("same bytes" if save(loaded, metadata={"format": "pt"}) == contents else "other bytes")


def raw(path):
    with open(path, "rb") as file:
        contents = file.read()
    for name, tensor in sorted(safetensors.deserialize(contents)):
        print(name, tensor["dtype"], tensor["shape"], hashlib.sha256(bytes(tensor["data"])).hexdigest())


def judge(directory):
    for name in sorted(os.listdir(directory)):
        try:
            with safetensors.safe_open(os.path.join(directory, name), framework="numpy") as file:
                file.keys()
            print(name, "sound")
        except Exception:  # whatever the package refuses with
            print(name, "refused")


def parameters(checkpoint):
    """All elements of the parameters in double precision: the pieces of each in their order."""
    pieces = {}
    for file in pathlib.Path(checkpoint).glob("model*.safetensors"):
        pieces.update(load_file(file))
    place = lambda name: (name.split("[")[0], int(re.search(r"\[(\d+):|$", name)[1] or 0))
    return numpy.concatenate([pieces[name].ravel() for name in sorted(pieces, key=place)]).astype(numpy.float64)


def compare(method, alpha, made, *checkpoints):
    thetas = [parameters(checkpoint) for checkpoint in checkpoints]
    expected = numpy.mean(thetas, axis=0)
    if method == "ema":
        expected = thetas[0]
        for theta in thetas[1:]:
            expected = alpha * expected + (1 - alpha) * theta
    error = numpy.abs(parameters(made) - expected).max()
    print("equal" if error < 1e-7 else f"off by {error}")


action, *rest = sys.argv[1:]
if action in ("mean", "ema"):
    compare(action, float(rest[0]), *rest[1:])
else:
    {"tensors": tensors, "raw": raw, "judge": judge}[action](*rest)
