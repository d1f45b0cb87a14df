"""Where the tests run the Triton kernels: on the GPU where there is one, else in Triton's interpreter.

Triton reads TRITON_INTERPRET, which `tests/conftest.py` sets, when it is imported. What needs its compiler runs in a
process of its own (`compile_ahead.py`).
"""

import os

import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def _hasten_interpreter() -> None:
    """Leave out what the interpreter (3.7) does over and over: several times less time, the same arithmetic.

    It patches the whole language anew at each call of a helper such as tl.sum, though the kernel's start has done so
    (but for tl.core, which the helpers see and the kernels do not: once is enough).
    """
    from triton.runtime import interpreter

    patched: set[int] = set()

    def call(self, *arguments, **options):
        scope = id(self.fn.__globals__)
        if scope not in patched:
            interpreter._patch_lang(self.fn)
            patched.add(scope)
        return self.rewrite()(*arguments, **options)

    interpreter.InterpretedFunction.__call__ = call


if DEVICE == "cpu":
    assert os.environ.get("TRITON_INTERPRET") == "1", "tests/conftest.py asks for the interpreter before triton loads"
    _hasten_interpreter()
