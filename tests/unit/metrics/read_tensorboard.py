"""Prints what TensorBoard itself reads in a folder: {"versions": [...], "scalars": {tag: [[step, value], ...]}, "texts": {...}}."""

import glob
import json
import sys

from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

folder = sys.argv[1]
accumulator = EventAccumulator(folder, size_guidance={"tensors": 0})
accumulator.Reload()
found = {"versions": [], "scalars": {}, "texts": {}}
for path in sorted(glob.glob(folder + "/*tfevents*")):
    found["versions"].append(next(iter(EventFileLoader(path).Load())).file_version)
for kind, plugin in (("scalars", "scalars"), ("texts", "text")):
    for tag in accumulator.PluginTagToContent(plugin) if plugin in accumulator.ActivePlugins() else []:
        values = [(event.step, tensor_util.make_ndarray(event.tensor_proto).item()) for event in accumulator.Tensors(tag)]
        found[kind][tag] = [[step, value.decode() if isinstance(value, bytes) else value] for step, value in values]
print(json.dumps(found))
