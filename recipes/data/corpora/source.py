"""One source: a folder of text, the packages it is made from and how."""
from dataclasses import dataclass
from typing import Callable, Mapping

from corpora.output import Output
from corpora.packages import Package


@dataclass(frozen=True)
class Source:
    name: str                 # also the folder's
    summary: str
    language: str             # en, zh
    packages: Mapping[str, str]  # package name -> licence of its text, as in its copyright file
    treatment: str            # what was done to the text, for the provenance file
    write: Callable[[Mapping[str, Package], Output], None]
