"""Reads safetensors files with the format's own Python package and prints what it finds, one line per file or tensor.

  read_safetensors.py tensors FILE      name, dtype, shape and SHA-256 of each tensor; then whether the package writes the same bytes
  read_safetensors.py judge DIRECTORY   each file's name and "sound" or "refused"
"""

import hashlib
import os
import sys

import safetensors
from safetensors.numpy import load, save


def tensors(path):
    with open(path, "rb") as file:
        contents = file.read()
    loaded = load(contents)
    for name, array in sorted(loaded.items()):
        print(name, array.dtype, list(array.shape), hashlib.sha256(array.tobytes()).hexdigest())
    print("same bytes" if save(loaded, metadata={"format": "pt"}) == contents else "other bytes")


def judge(directory):
    for name in sorted(os.listdir(directory)):
        try:
            with safetensors.safe_open(os.path.join(directory, name), framework="numpy") as file:
                file.keys()
            print(name, "sound")
        except Exception:  # whatever the package refuses with
            print(name, "refused")


{"tensors": tensors, "judge": judge}[sys.argv[1]](sys.argv[2])
