"""No two headers of the host define a class of one name: to the linker they would be one class, and one's destructor would run for the other."""
import collections
import os
import pathlib
import re
import unittest

SOURCE = pathlib.Path(os.environ["TRAINHOST_SOURCE_DIR"])


class UniqueClassNamesTest(unittest.TestCase):
    def test_host_headers(self):
        places = collections.defaultdict(list)
        for header in sorted((SOURCE / "core").rglob("*.h")):
            for name in re.findall(r"^(?:struct|class|enum class) (\w+)(?: final)?(?: :[^;]*)? \{", header.read_text(), re.M):
                places[name].append(header.relative_to(SOURCE).as_posix())
        self.assertGreater(len(places), 40)
        self.assertEqual({name: files for name, files in places.items() if len(files) > 1}, {})


if __name__ == "__main__":
    unittest.main()
