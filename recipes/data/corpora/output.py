"""What a source leaves behind: a folder of plain files and provenance.toml. The folder appears whole or not at all."""
import hashlib
import json
import shutil
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterable, Mapping

from corpora.packages import Package
from corpora.text import clean

PROVENANCE = "provenance.toml"


@dataclass(frozen=True)
class Written:
    path: str
    documents: int
    bytes: int
    sha256: str


@dataclass
class Output:
    """Writes documents into `folder`. Documents are cleaned; empty ones and exact repetitions are left out."""

    folder: Path
    written: list[Written] = field(default_factory=list)
    seen: set[bytes] = field(default_factory=set)

    def file(self, path: str, text: str) -> None:
        """One document as one plain file."""
        text = clean(text)
        if self._is_new(text):
            self._write(path, text + "\n", 1)

    def documents(self, path: str, texts: Iterable[str]) -> None:
        """Many documents as JSON lines: {"text": ...}."""
        kept = [text for text in map(clean, texts) if self._is_new(text)]
        self._write_lines(path, [{"text": text} for text in kept])

    def conversations(self, path: str, pairs: Iterable[tuple[str, str]]) -> None:
        """Questions and answers as JSON lines: {"messages": [{"role": "user", ...}, {"role": "assistant", ...}]}."""
        cleaned = [(clean(question), clean(answer)) for question, answer in pairs]
        kept = [(q, a) for q, a in cleaned if q and a and self._is_new(f"{q}\0{a}")]
        self._write_lines(path, [{"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]} for q, a in kept])

    def _is_new(self, text: str) -> bool:
        digest = hashlib.sha256(text.encode()).digest()
        if not text or digest in self.seen:
            return False
        self.seen.add(digest)
        return True

    def _write_lines(self, path: str, records: list[dict]) -> None:
        self._write(path, "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), len(records))

    def _write(self, path: str, text: str, documents: int) -> None:
        data = text.encode()
        target = self.folder / path
        target.write_bytes(data)
        self.written.append(Written(path, documents, len(data), hashlib.sha256(data).hexdigest()))

    def total(self, what: str) -> int:
        return sum(getattr(w, what) for w in self.written)


def copy_copyright(output: Output, packages: Iterable[Package]) -> None:
    """Keeps each package's copyright file beside the text made from it."""
    folder = output.folder / "copyright"
    folder.mkdir()
    for package in packages:
        shutil.copyfile(package.copyright(), folder / package.name)


def write_provenance(output: Output, source, packages: Mapping[str, Package], converter: str) -> None:
    lines = [
        "# Where this text comes from and what was done to it. Written by recipes/data/fetch.",
        f"source = {_quote(source.name)}",
        f"summary = {_quote(source.summary)}",
        f"language = {_quote(source.language)}",
        f"treatment = {_quote(source.treatment)}",
        f"converter = {_quote(converter)}  # fingerprint of the programs that made it",
        f"documents = {output.total('documents')}",
        f"bytes = {output.total('bytes')}",
    ]
    for name, licence in source.packages.items():
        package = packages[name]
        lines += ["", "[[package]]", f"name = {_quote(name)}", f"version = {_quote(package.version)}",
                  f"deb_sha256 = {_quote(package.sha256)}", f"licence = {_quote(licence)}",
                  f"copyright = {_quote('copyright/' + name)}"]
    for written in output.written:
        lines += ["", "[[file]]", f"path = {_quote(written.path)}", f"documents = {written.documents}",
                  f"bytes = {written.bytes}", f"sha256 = {_quote(written.sha256)}"]
    (output.folder / PROVENANCE).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a JSON string is a TOML basic string


def read_provenance(folder: Path) -> dict | None:
    """None where there is none or it cannot be read: the source is then made again."""
    try:
        return tomllib.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def is_complete(folder: Path, provenance: dict) -> bool:
    """All files are there with their recorded sizes."""
    files = provenance.get("file", [])
    return bool(files) and all((folder / f["path"]).is_file() and (folder / f["path"]).stat().st_size == f["bytes"] for f in files)
