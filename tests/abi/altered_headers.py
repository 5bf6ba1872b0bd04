"""The gates of sdk/abi, and copies of the SDK's headers with one deliberate change each, which a gate must find."""
import os
import pathlib
import shutil
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(os.environ["TRAINHOST_SOURCE_DIR"])
BINARY = pathlib.Path(os.environ["TRAINHOST_BINARY_DIR"])
COMPILERS = {"c": os.environ["TRAINHOST_C_COMPILERS"].split(), "c++": os.environ["TRAINHOST_CXX_COMPILERS"].split()}
sys.path.insert(0, str(SOURCE / "sdk/abi"))

import layout as abi  # noqa: E402


class GateTest(unittest.TestCase):
    def setUp(self):
        self.scratch = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def headers_with(self, header, old, new):
        """The include folder of a copy in which `old` of one header is `new`."""
        include = self.scratch / "include"
        shutil.copytree(abi.INCLUDE, include, dirs_exist_ok=True)
        path = include / "trainhost" / header
        text = path.read_text()
        self.assertEqual(text.count(old), 1, f"{old!r} in {header}")
        path.write_text(text.replace(old, new))
        return include

    def layout_with(self, header, old, new):
        return abi.read_headers(self.headers_with(header, old, new))
