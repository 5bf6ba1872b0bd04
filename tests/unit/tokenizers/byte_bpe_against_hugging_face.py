#!/usr/bin/env python3
"""byte_bpe against Hugging Face tokenizers: the same pieces, the same merges, the same ids.

  byte_bpe_against_hugging_face.py BYTE_BPE_COMMAND
"""
import json
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import unittest

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

COMMAND = pathlib.Path(sys.argv.pop(1))
SOURCES = pathlib.Path(__file__).resolve().parents[3]
END = "<|endoftext|>"

ENGLISH = """It's a truth universally acknowledged, that a single man in possession of a good fortune, must be in want of a wife.
    However little known the feelings or views of such a man may be on his first entering a neighbourhood, this truth is so well fixed,
they'll've said: "You'd better not -- we're 3.1415 miles away, I'm sure!"   (1,234,567.89)\r\n\r\n\tAnd   so on...\n"""
CHINESE = """道可道，非常道。名可名，非常名。无名天地之始；有名万物之母。故常无欲，以观其妙；常有欲，以观其徼。此两者，同出而异名，同谓之玄。
\u3000\u3000天下皆知美之为美，斯恶已。皆知善之为善，斯不善已。有无相生，难易相成，长短相形，高下相盈，音声相和，前后相随。２０２６年３月\u3000"""
SCRIPTS = """Съешь же ещё этих мягких французских булок, да выпей чаю. Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. עטלף אבק נס דרך מזגן שהתפוצץ כי חם.
نص حكيم له سر قاطع وذو شأن عظيم ٠١٢٣٤٥٦٧٨٩ ऋषियों को सताने वाले दुष्ट राक्षसों १२३ เป็นมนุษย์สุดประเสริฐเลิศคุณค่า ๔๕๖ 키스의 고유조건은 いろはにほへと
e\u0301a\u0300 n\u0303 \u0628\u0651\u064e क्षि ﬁ Ⅷ ½ ² ㊿ 𝟘𝟙 ǅ ʰª 𐐷 𠀀 ß İ ı\n"""
SYMBOLS = """👍🏽 👩\u200d👩\u200d👧 ❤\ufe0f 🇨🇭 ©®™ €£¥ «» “”‘’ … — ∑∫√ ←↑ \u200b \ufeff \u00ad \ue000 \U0010fffd
\u00a0\u00a0x\u1680\u2003y \u2028\u2029 \u202f\u205f\u180e\u3000 \t\v\f\x1c\x1d\x85\x00\x01\x7f 's 'S ' s 'll'LL''ve \u2019s <|endoftext|> a<|endoftext|>b"""
SAMPLES = [ENGLISH, CHINESE, SCRIPTS, SYMBOLS]


def run(*arguments, documents):
    data = b"".join(struct.pack("<Q", len(document)) + document for document in (text.encode() for text in documents))
    subprocess.run([COMMAND, *map(str, arguments)], input=data, check=True, capture_output=True)


def read_numbers(path):
    data, offset, results = path.read_bytes(), 0, []
    while offset < len(data):
        (count,) = struct.unpack_from("<Q", data, offset)
        results.append(list(struct.unpack_from(f"<{count}I", data, offset + 8)))
        offset += 8 + 4 * count
    return results


def source_code():
    paths = sorted(path for folder in ("core", "sdk", "plugins") for path in (SOURCES / folder).rglob("*") if path.suffix in (".h", ".hpp", ".cpp"))
    return [path.read_text() for path in paths]


def mixed_texts(seed, count):
    """Stretches of all samples, cut anywhere and put together anyhow."""
    chance = random.Random(seed)
    def stretch():
        sample = chance.choice(SAMPLES)
        begin = chance.randrange(len(sample))
        return sample[begin:begin + chance.randrange(1, 30)]
    return ["".join(stretch() for _ in range(chance.randrange(40))) for _ in range(count)]


def trained_reference(documents, vocabulary_size):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.encode_special_tokens = True  # the spelling of a special token is text
    trainer = trainers.BpeTrainer(vocab_size=vocabulary_size, special_tokens=[END], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(documents, trainer)
    return tokenizer


class ByteBpe(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.state = pathlib.Path(folder.name) / "tokenizer.json"
        self.output = pathlib.Path(folder.name) / "output"

    def encode(self, documents):
        run("encode", self.state, self.output, documents=documents)
        return read_numbers(self.output)

    def check_training(self, documents, vocabulary_size):
        reference = trained_reference(documents, vocabulary_size)
        run("train", vocabulary_size, self.state, documents=documents)
        expected, found = json.loads(reference.to_str())["model"], json.loads(self.state.read_text())["model"]
        self.assertEqual(found["merges"], expected["merges"])
        self.assertEqual(found["vocab"], expected["vocab"])
        return reference

    def check_ids(self, reference, documents):
        for document, ids in zip(documents, self.encode(documents), strict=True):
            self.assertEqual(ids, reference.encode(document).ids, document)

    def test_classes_of_all_code_points(self):
        """Between a letter, a digit and a symbol, each code point shows its class. After the last letter, of all planes, some."""
        code_points = [*map(chr, range(0xD800)), *map(chr, range(0xE000, 0x32400)), *map(chr, range(0x32400, 0x110000, 61))]
        documents = ["".join(f"a{c}1{c}!{c} " for c in code_points[i:i + 256]) for i in range(0, len(code_points), 256)]
        run("split", self.output, documents=documents)
        splitter = pre_tokenizers.ByteLevel(add_prefix_space=False)
        for document, ends in zip(documents, read_numbers(self.output), strict=True):
            end, expected = 0, []
            for piece, _ in splitter.pre_tokenize_str(document):
                end += len(piece)  # a character for each byte
                expected.append(end)
            self.assertEqual(ends, expected, f"from U+{ord(document[1]):04X} on")

    def test_merges_of_prose_and_code(self):
        documents = source_code() + SAMPLES
        reference = self.check_training(documents, 3000)
        self.check_ids(reference, documents + mixed_texts(1, 200))

    def test_merges_of_mixed_scripts(self):
        documents = mixed_texts(2, 300)
        reference = self.check_training(documents, 1500)
        self.check_ids(reference, documents + mixed_texts(3, 300))

    def test_merges_of_few_letters(self):
        """Where most counts are equal, pairs overlap, and two pairs make the same token."""
        chance = random.Random(4)
        for _ in range(60):
            letters = chance.choice(["a", "ab", "abc", "ab '", "aA0 ", "中a"])
            documents = ["".join(chance.choices(letters, k=chance.randrange(60))) for _ in range(chance.randrange(1, 30))]
            reference = self.check_training(documents, chance.choice([257, 258, 270, 300, 1000]))
            self.check_ids(reference, ["".join(chance.choices(letters, k=chance.randrange(400))) for _ in range(20)])

    def test_long_documents_are_cut_without_a_trace(self):
        chance = random.Random(5)
        words = ENGLISH.split() + CHINESE.split() + [" \n", "\t", "  "]
        document = "".join(chance.choice(words) + chance.choice([" ", "  ", "\n", ""]) for _ in range(60_000))
        self.check_training([document], 600)

    def test_no_text(self):
        self.check_training([], 300)
        self.check_training(["", "a"], 300)

    def test_state_is_read_by_the_reference(self):
        documents = SAMPLES + mixed_texts(6, 100)
        run("train", 900, self.state, documents=documents)
        reference = Tokenizer.from_file(str(self.state))
        reference.encode_special_tokens = True
        self.check_ids(reference, documents)
        self.assertEqual(reference.get_vocab_size(), 900)
        self.assertEqual(reference.token_to_id(END), 0)
        for document in documents:
            self.assertEqual(reference.decode(reference.encode(document).ids, skip_special_tokens=True), document)

    def test_file_of_the_reference_is_read(self):
        documents = SAMPLES + mixed_texts(7, 100)
        reference = trained_reference(documents, 1200)
        reference.save(str(self.state))
        self.check_ids(reference, documents)
        older = json.loads(self.state.read_text())
        older["model"]["merges"] = [" ".join(merge) for merge in older["model"]["merges"]]
        self.state.write_text(json.dumps(older))
        self.check_ids(reference, documents)


if __name__ == "__main__":
    unittest.main()
