from collections.abc import Callable


def test_the_store_needs_no_torch(python: Callable):
    code = """
import sys
import store, store.build, store.interchange, store.writer
heavy = {"torch", "transformers", "saebench", "web", "pandas", "polars"} & set(sys.modules)
sys.exit(", ".join(heavy) or 0)
"""
    process = python(code)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
