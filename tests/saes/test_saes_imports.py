"""Kernels and SAEs stand on torch, safetensors, einops and jaxtyping alone."""

import subprocess
import sys

BLOCKER = """
import importlib.abc, sys

class Blocker(importlib.abc.MetaPathFinder):
    allowed = {"saebench", "torch", "safetensors", "einops", "jaxtyping"}
    def find_spec(self, name, path=None, target=None):
        frame, top = sys._getframe(1), name.partition(".")[0]
        while frame and "importlib" in frame.f_code.co_filename:
            frame = frame.f_back
        asker = frame.f_globals.get("__name__", "") if frame else ""
        ours = asker.partition(".")[0] in ("saebench", "__main__")
        if ours and top not in self.allowed and top not in sys.stdlib_module_names:
            raise ImportError(f"{asker} imports {name}")
        if name.startswith("saebench.") and name.split(".")[1] not in ("kernels", "saes"):
            raise ImportError(f"{asker} imports {name}")

sys.meta_path.insert(0, Blocker())
for name in ("pydantic", "yaml", "scipy", "transformers", "transformer_lens", "duckdb", "pyarrow"):
    sys.modules[name] = None
"""

USE = """
import tempfile, torch
from saebench.kernels import SparseCodes
from saebench.saes import SAE, TopK, formats
sae = SAE.create(8, 32, TopK(4))
sae.loss(torch.randn(16, 8)).total.backward()
with tempfile.TemporaryDirectory() as folder:
    sae.save(folder)
    SAE.load(folder)
    formats.save(sae, folder + "/other", "saelens")
    formats.load(folder + "/other")
print("fine")
"""


def test_import_and_use_without_anything_else():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", BLOCKER + USE], capture_output=True, text=True)
    assert done.stdout == "fine\n", done.stderr


def test_the_blocker_blocks():
    done = subprocess.run([sys.executable, "-c", BLOCKER + "import pytest"], capture_output=True, text=True)
    assert "imports pytest" in done.stderr
    done = subprocess.run([sys.executable, "-c", BLOCKER + "import saebench.errors"], capture_output=True, text=True)
    assert "imports saebench.errors" in done.stderr
