"""Unpacks what a CPU build needs of the wheels: unpack_libtorch.py WHEEL_FOLDER TARGET_FOLDER."""
import pathlib
import re
import sys
import zipfile

WANTED = re.compile(
    r"torch/lib/(libtorch_cpu\.so|libc10\.so|libgomp.*)$"
    r"|torch/include/.*"
    r"|nvidia/cu13/lib/(libcudart|libcupti)\.so\.\d+$"
    r"|[^/]+\.dist-info/(METADATA|licenses/.*|LICENSE.*|NOTICE.*|License.*)$")

wheels, target = map(pathlib.Path, sys.argv[1:3])
for wheel in sorted(wheels.glob("*.whl")):
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            if WANTED.fullmatch(member.filename) and not member.is_dir():
                archive.extract(member, target)
