"""Token stores written by Megatron-LM itself, for tests/unit/data/token_store_test.cpp.

Made with megatron-core 0.16.1, torch 2.11.0 and numpy; run in an environment that has them:
    python tests/golden/megatron_store.py
Writes tests/golden/megatron_store/{narrow,wide,pieces}.{idx,bin}. Document d of the first two has the ids (d * 1000 + 7 * i) mod
vocabulary for i below its length.
"""
import pathlib

import numpy
import torch
from megatron.core.datasets.indexed_dataset import DType, IndexedDatasetBuilder

FOLDER = pathlib.Path(__file__).with_suffix("")
LENGTHS = [5, 1, 300, 17]


def write(name, vocabulary_size, documents):
    builder = IndexedDatasetBuilder(str(FOLDER / f"{name}.bin"), dtype=DType.optimal_dtype(vocabulary_size))
    for sequences in documents:
        for sequence in sequences:
            builder.add_item(torch.tensor(sequence, dtype=torch.int64))
        builder.end_document()
    builder.finalize(str(FOLDER / f"{name}.idx"))


def document(number, length, vocabulary_size):
    return [(number * 1000 + 7 * i) % vocabulary_size for i in range(length)]


def main():
    FOLDER.mkdir(exist_ok=True)
    for name, vocabulary_size in (("narrow", 4096), ("wide", 100_000)):
        write(name, vocabulary_size, [[document(d, length, vocabulary_size)] for d, length in enumerate(LENGTHS)])
    # Documents of several sequences: {1 2 3, 4}, {5 6}.
    write("pieces", 4096, [[[1, 2, 3], [4]], [[5, 6]]])


if __name__ == "__main__":
    main()
