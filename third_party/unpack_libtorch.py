"""Unpacks what is needed of the wheels: unpack_libtorch.py WHEEL_FOLDER TARGET_FOLDER PART...; the parts are cpu, cuda and nvidia."""
import pathlib
import re
import sys
import zipfile

LICENCES = r"[^/]+\.dist-info/(METADATA|licenses/.*|LICENSE.*|NOTICE.*|License.*)"
PARTS = {
    # what a build for CPUs links and runs with
    "cpu": r"torch/lib/(libtorch_cpu\.so|libc10\.so|libgomp.*)"
           r"|torch/include/.*"
           r"|nvidia/cu13/lib/(libcudart|libcupti)\.so\.\d+",
    # LibTorch's CUDA half
    "cuda": r"torch/lib/(libtorch_cuda|libc10_cuda|libtorch_cuda_linalg|libtorch_nvshmem|libcaffe2_nvrtc)\.so",
    # NVIDIA's libraries that it needs to run, where its run path looks for them, and NCCL's header
    "nvidia": r"nvidia/[^/]+/lib/[^/]+\.so(\.\d+)*"
              r"|nvidia/nccl/include/.*",
}

wheels, target = map(pathlib.Path, sys.argv[1:3])
wanted = re.compile("|".join([LICENCES] + [PARTS[part] for part in sys.argv[3:]]))
for wheel in sorted(wheels.glob("*.whl")):
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            if wanted.fullmatch(member.filename) and not member.is_dir():
                archive.extract(member, target)
