"""Debian packages: downloaded by apt-get, which checks them against the signed package lists, and unpacked; nothing is installed."""
import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable


class PackageError(Exception):
    """A package cannot be had; the text says why and what to do."""


@dataclass(frozen=True)
class Package:
    name: str
    version: str
    sha256: str  # of the .deb
    tree: Path   # the folder it is unpacked in

    def path(self, relative: str) -> Path:
        found = self.tree / relative
        if not found.exists():
            raise PackageError(f"package {self.name} {self.version} has no {relative}; this version is laid out differently")
        return found

    def glob(self, pattern: str) -> list[Path]:
        """Files that match, in a fixed order; at least one. Links to other files are left out: the same text again."""
        found = sorted(p for p in self.tree.glob(pattern) if p.is_file() and not p.is_symlink())
        if not found:
            raise PackageError(f"package {self.name} {self.version} has no {pattern}; this version is laid out differently")
        return found

    def copyright(self) -> Path:
        """The package's copyright file. A package's folder may be a link to that of another one, which is unpacked beside it."""
        folder = self.tree / "usr/share/doc" / self.name
        if not folder.is_symlink():
            return self.path(f"usr/share/doc/{self.name}/copyright")
        owner = Path(os.readlink(folder)).name
        return self.tree.parent / owner / "usr/share/doc" / owner / "copyright"


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess:
    environment = {**os.environ, "LC_ALL": "C"}
    return subprocess.run(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)


def require_tools() -> None:
    missing = [tool for tool in ("apt-get", "apt-cache", "dpkg-deb") if shutil.which(tool) is None]
    if missing:
        raise PackageError(f"{', '.join(missing)} not found: the texts come from Debian packages, so this needs Debian 12 (or a container of it)")


def download(names: Iterable[str], folder: Path, say) -> None:
    """Puts the candidate version of each package into `folder`. As root, refreshes apt's package lists once where that may help."""
    # apt's sandbox user cannot write into a folder of ours; without this option root gets a warning about it.
    command = ["apt-get", "download", "--quiet=2", "-o", "APT::Sandbox::User=root", *names]
    result = _run(command, folder)
    if result.returncode != 0 and os.geteuid() == 0:
        say("apt-get knows no such packages, or not these versions any more: running apt-get update once")
        update = _run(["apt-get", "update", "--quiet=2"], folder)
        if update.returncode != 0:
            raise PackageError(f"apt-get update failed:\n{_errors(update)}")
        result = _run(command, folder)
    if result.returncode != 0:
        advice = "" if os.geteuid() == 0 else "\nThe package lists may be empty or old; run: sudo apt-get update"
        raise PackageError(f"apt-get could not download the packages:\n{_errors(result)}{advice}")


def _errors(result: subprocess.CompletedProcess) -> str:
    lines = [line for line in (result.stdout + result.stderr).splitlines() if line.startswith(("E:", "W:", "Err:"))]
    return "\n".join(f"  {line}" for line in lines) or "  " + (result.stderr.strip() or f"exit status {result.returncode}")


def unpack(archive: Path, folder: Path) -> Package:
    """Unpacks one .deb, after checking it against the SHA-256 in apt's signed lists, and removes it."""
    name, version = _field(archive, "Package"), _field(archive, "Version")
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    listed = re.findall(r"^SHA256: (\w+)$", _run(["apt-cache", "show", f"{name}={version}"], folder).stdout, re.MULTILINE)
    if sha256 not in listed:
        raise PackageError(f"{archive.name} has SHA-256 {sha256}, but apt's package lists say {', '.join(listed) or 'nothing about it'}")
    tree = folder / name
    result = _run(["dpkg-deb", "--extract", str(archive), str(tree)], folder)
    if result.returncode != 0:
        raise PackageError(f"dpkg-deb could not unpack {archive.name}: {result.stderr.strip()}")
    archive.unlink()
    return Package(name, version, sha256, tree)


def _field(archive: Path, field: str) -> str:
    result = _run(["dpkg-deb", "--field", str(archive), field], archive.parent)
    if result.returncode != 0:
        raise PackageError(f"dpkg-deb could not read {archive.name}: {result.stderr.strip()}")
    return result.stdout.strip()
