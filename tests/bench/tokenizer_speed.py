#!/usr/bin/env python3
"""How fast byte_bpe trains and encodes, beside tiktoken and Hugging Face tokenizers in the same run.

  tokenizer_speed.py BYTE_BPE_COMMAND TEXT [--ranks gpt2.tiktoken] [--vocabularies 4096,8192,32768] [--megabytes 8]

One JSON line per measurement. Encoding runs on one thread and is measured in seconds of the processor; training uses all processors
and is measured on the clock. --ranks adds GPT-2's vocabulary and tiktoken (the file comes in the source package of openai-whisper).
Last come texts without a place to split them: twice the length must take about twice the time.
"""
import argparse
import base64
import json
import pathlib
import struct
import subprocess
import tempfile
import time

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

GPT2_PATTERN = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
END = "<|endoftext|>"
REPEATS = 3  # of encoding; the best counts


def report(what, **values):
    print(json.dumps({"what": what, **{name: round(value, 4) if isinstance(value, float) else value for name, value in values.items()}}), flush=True)


class Command:
    def __init__(self, path, folder):
        self.path, self.state, self.ids = path, folder / "tokenizer.json", folder / "ids"

    def run(self, *arguments, documents):
        """(seconds on the clock, seconds of all processors)"""
        data = b"".join(struct.pack("<Q", len(document)) + document for document in documents)
        done = subprocess.run([self.path, *map(str, arguments)], input=data, check=True, capture_output=True)
        return tuple(map(float, done.stdout.split()))

    def train(self, vocabulary_size, documents):
        return self.run("train", vocabulary_size, self.state, documents=documents)[0]

    def encode(self, documents):
        return min(self.run("encode", self.state, self.ids, documents=documents)[1] for _ in range(REPEATS))

    def encoded(self):
        data, offset, results = self.ids.read_bytes(), 0, []
        while offset < len(data):
            (count,) = struct.unpack_from("<Q", data, offset)
            results.append(list(struct.unpack_from(f"<{count}I", data, offset + 8)))
            offset += 8 + 4 * count
        return results


def processor_seconds(work):
    best = float("inf")
    for _ in range(REPEATS):
        started = time.process_time()
        result = work()
        best = min(best, time.process_time() - started)
    return best, result


def compare_encoding(vocabulary, command, texts, documents, encode, other):
    """`encode` gives the ids of a text, as `other` does it."""
    megabytes = sum(map(len, documents)) / 1e6
    seconds = command.encode(documents)
    other_seconds, ids = processor_seconds(lambda: [encode(text) for text in texts])
    report("encode", vocabulary=vocabulary, other=other, byte_bpe_megabytes_per_second=megabytes / seconds,
           other_megabytes_per_second=megabytes / other_seconds, times_as_fast=other_seconds / seconds, same_ids=command.encoded() == ids,
           bytes_per_token=megabytes * 1e6 / sum(map(len, ids)))


def compare_training(vocabulary, command, texts, documents):
    reference = Tokenizer(models.BPE())
    reference.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    reference.decoder = decoders.ByteLevel()
    reference.encode_special_tokens = True
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=[END], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    started = time.perf_counter()
    reference.train_from_iterator(texts, trainer)
    other_seconds = time.perf_counter() - started
    seconds = command.train(vocabulary, documents)
    same = json.loads(reference.to_str())["model"]["merges"] == json.loads(command.state.read_text())["model"]["merges"]
    report("train", vocabulary=vocabulary, other="tokenizers", byte_bpe_seconds=seconds, other_seconds=other_seconds,
           times_as_fast=other_seconds / seconds, same_merges=same)
    return reference


def gpt2_state(ranks):
    """The tokenizer.json of tiktoken's ranks: the merge that makes a token joins the two parts that the earlier ones leave of it."""
    def parts(token):
        symbols = [bytes([byte]) for byte in token]
        while len(symbols) > 2:
            place = min(range(len(symbols) - 1), key=lambda i: ranks.get(symbols[i] + symbols[i + 1], len(ranks)))
            symbols[place:place + 2] = [symbols[place] + symbols[place + 1]]
        return symbols
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    spelling = {byte: chr(byte) for byte in printable} | {byte: chr(0x100 + n) for n, byte in enumerate(others)}
    spell = lambda token: "".join(spelling[byte] for byte in token)
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    merges = [list(map(spell, parts(token))) for token, _ in sorted(ranks.items(), key=lambda item: item[1]) if len(token) > 1]
    added = {"id": len(ranks), "content": END, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [added], "normalizer": None, "pre_tokenizer": byte_level,
            "post_processor": None, "decoder": byte_level,
            "model": {"type": "BPE", "vocab": {spell(token): rank for token, rank in ranks.items()}, "merges": merges}}


def compare_with_tiktoken(path, command, texts, documents):
    import tiktoken
    ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in path.read_bytes().splitlines() if line)}
    encoding = tiktoken.Encoding("gpt2", pat_str=GPT2_PATTERN, mergeable_ranks=ranks, special_tokens={END: len(ranks)})
    command.state.write_text(json.dumps(gpt2_state(ranks)))
    compare_encoding(len(ranks) + 1, command, texts, documents, encoding.encode_ordinary, "tiktoken")


def measure_growth(command):
    for name, unit in (("a", "a"), ("^", "^"), ("space", " "), ("Chinese", "人工智能的发展是一个过程"), ("invalid", b"\xff\xfe")):
        unit = unit if isinstance(unit, bytes) else unit.encode()
        single, double = (command.encode([unit * (size // len(unit))]) for size in (1_000_000, 2_000_000))
        report("one piece of 1 MB and of 2 MB", text=name, seconds=single, double_seconds=double, ratio=double / single)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", type=pathlib.Path)
    parser.add_argument("text", type=pathlib.Path)
    parser.add_argument("--ranks", type=pathlib.Path)
    parser.add_argument("--vocabularies", type=lambda text: list(map(int, text.split(","))), default=[4096, 8192, 32768])
    parser.add_argument("--megabytes", type=float, default=8)
    options = parser.parse_args()

    text = options.text.read_bytes()[:int(options.megabytes * 1e6)].decode(errors="ignore")
    texts = [text[i:i + 20_000] for i in range(0, len(text), 20_000)]
    documents = [part.encode() for part in texts]
    with tempfile.TemporaryDirectory() as folder:
        command = Command(options.command.resolve(), pathlib.Path(folder))
        for vocabulary in options.vocabularies:
            reference = compare_training(vocabulary, command, texts, documents)
            compare_encoding(vocabulary, command, texts, documents, lambda part: reference.encode(part).ids, "tokenizers")
        if options.ranks:
            compare_with_tiktoken(options.ranks, command, texts, documents)
        measure_growth(command)


main()
