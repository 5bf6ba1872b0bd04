"""The command line of recipes/data/fetch."""
import argparse
import contextlib
import fcntl
import hashlib
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Iterator, Sequence

from corpora import output, packages, sources
from corpora.output import Output
from corpora.source import Source

HERE = Path(__file__).resolve().parent
FETCHED = HERE.parent / "fetched"
RECORDED = HERE.parent / "recorded.toml"
TOLERANCE = 0.1  # how far another package version may change a source's size before it is worth a warning


def say(message: str) -> None:
    print(message, flush=True)


def warn(message: str) -> None:
    print(f"fetch: warning: {message}", file=sys.stderr, flush=True)


def converter_fingerprint() -> str:
    """Changes whenever a program that makes the text changes: the sources are then made again."""
    digest = hashlib.sha256()
    for path in sorted(HERE.rglob("*.py")):
        digest.update(path.relative_to(HERE).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def is_current(source: Source, converter: str) -> bool:
    folder = FETCHED / source.name
    provenance = output.read_provenance(folder)
    return provenance is not None and provenance.get("converter") == converter and output.is_complete(folder, provenance)


def make(source: Source, unpacked: dict[str, packages.Package], converter: str) -> None:
    """Writes the source into a folder of its own and only then puts it in its place."""
    partial = FETCHED / f".{source.name}.partial"
    partial.mkdir()
    try:
        made = Output(partial)
        try:
            source.write(unpacked, made)
        except ValueError as error:
            raise packages.PackageError(f"{source.name}: a file of its packages is not as expected: {error}") from error
        output.copy_copyright(made, (unpacked[name] for name in source.packages))
        output.write_provenance(made, source, unpacked, converter)
        replace(FETCHED / source.name, partial)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    say(f"{source.name}: {describe(made.total('bytes'), made.total('documents'))}")
    compare_with_recorded(source, made, unpacked)


def replace(folder: Path, new: Path) -> None:
    old = folder.with_name(f".{folder.name}.old")
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def describe(size: int, documents: int) -> str:
    return f"{size / 1e6:.2f} MB in {documents:,} documents"


def compare_with_recorded(source: Source, made: Output, unpacked: dict[str, packages.Package]) -> None:
    """Warns where the result is not what the repository has recorded: exactly for the same packages, roughly for other versions."""
    recorded = tomllib.loads(RECORDED.read_text(encoding="utf-8")).get(source.name) if RECORDED.exists() else None
    if recorded is None:
        return
    size, versions = made.total("bytes"), {name: unpacked[name].version for name in source.packages}
    if versions == recorded["packages"]:
        if size != recorded["bytes"]:
            warn(f"{source.name} is {size:,} bytes, recorded are {recorded['bytes']:,} for the same packages")
    elif abs(size - recorded["bytes"]) > TOLERANCE * recorded["bytes"]:
        changed = ", ".join(f"{n} {v} (recorded {recorded['packages'].get(n)})" for n, v in versions.items() if v != recorded["packages"].get(n))
        warn(f"{source.name} is {size:,} bytes, recorded are {recorded['bytes']:,}; other package versions: {changed}")


def record() -> None:
    """Writes down the sizes of what is in fetched/, for compare_with_recorded."""
    lines = ["# Sizes of what recipes/data/fetch made, with the package versions it was made from. Written by `fetch --record`."]
    for source in sources.ALL:
        provenance = output.read_provenance(FETCHED / source.name)
        if provenance is None:
            raise packages.PackageError(f"{source.name} is not in {FETCHED}: fetch everything before recording")
        versions = ", ".join(f'"{p["name"]}" = "{p["version"]}"' for p in provenance["package"])
        lines += ["", f"[{source.name}]", f"documents = {provenance['documents']}", f"bytes = {provenance['bytes']}",
                  f"packages = {{ {versions} }}"]
    RECORDED.write_text("\n".join(lines) + "\n", encoding="utf-8")
    say(f"recorded in {RECORDED}")


@contextlib.contextmanager
def only_one_at_a_time() -> Iterator[None]:
    """Waits while another fetch works in the same folder; then removes what a killed one left half done."""
    FETCHED.mkdir(parents=True, exist_ok=True)
    with open(FETCHED / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another fetch is at work here: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        for leftover in FETCHED.glob(".*.*"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield


def fetch(wanted: Sequence[Source]) -> None:
    converter = converter_fingerprint()
    missing = [source for source in wanted if not is_current(source, converter)]
    for source in wanted:
        if source not in missing:
            say(f"{source.name}: up to date")
    if not missing:
        return
    packages.require_tools()
    names = sorted({name for source in missing for name in source.packages})
    with tempfile.TemporaryDirectory(prefix=".packages.", dir=FETCHED) as temporary:
        folder = Path(temporary)
        say(f"downloading Debian packages: {', '.join(names)}")
        packages.download(names, folder, say)
        archives = sorted(folder.glob("*.deb"))
        say(f"unpacking {sum(a.stat().st_size for a in archives) / 1e6:.0f} MB of packages")
        unpacked = {package.name: package for package in (packages.unpack(archive, folder) for archive in archives)}
        for number, source in enumerate(missing, start=1):
            say(f"[{number}/{len(missing)}] making {source.name}: {source.summary}")
            make(source, {name: unpacked[name] for name in source.packages}, converter)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="recipes/data/fetch",
        description="Fetches real text to train on: downloads Debian packages with apt-get, unpacks them (installs nothing) and turns "
                    "their documents into plain text, one folder per source under recipes/data/fetched, with a provenance.toml each. "
                    "Sources that are there already are left alone.",
        epilog="sources:\n" + "\n".join(f"  {s.name:18} {s.summary}" for s in sources.ALL),
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", action="append", metavar="NAME", choices=[s.name for s in sources.ALL],
                        help="only this source (may be given more than once); all when absent")
    parser.add_argument("--record", action="store_true",
                        help="for maintainers: also write the sizes into recorded.toml, which later fetches are compared with")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    started = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with only_one_at_a_time():
            fetch([s for s in sources.ALL if options.source is None or s.name in options.source])
            if options.record:
                record()
    except (packages.PackageError, OSError) as error:
        print(f"fetch: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("fetch: stopped; what was finished stays, start again to go on", file=sys.stderr)
        return 130
    say(f"text is in {FETCHED} ({time.monotonic() - started:.1f} s)")
    return 0
