"""Importing codling does nothing: no output, no environment, no device."""

import json
import subprocess
import sys

PROBE = """
import importlib, io, json, os, pkgutil, sys
before = dict(os.environ)
out = io.StringIO()
sys.stdout = out
import codling
names = [m.name for m in pkgutil.walk_packages(codling.__path__, "codling.") if not m.name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
sys.stdout = sys.__stdout__
from jax._src import xla_bridge
print(json.dumps({
    "names": names, "printed": out.getvalue(), "devices": xla_bridge.backends_are_initialized(),
    "environment": {k: v for k, v in os.environ.items() if before.get(k) != v},
}))
"""


def test_every_module_imports_silently() -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert len(seen["names"]) > 60
    # TensorFlow-style libraries that Orbax loads set this one; nothing of ours may set any.
    assert set(seen["environment"]) <= {"KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK"}
    assert not seen["printed"]
    assert not seen["devices"]
