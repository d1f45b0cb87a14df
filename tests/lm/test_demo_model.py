"""The two figures that the bundled weights are held to, and that they fit the repository."""

import pytest

from saebench.config import CorpusConfig
from saebench.lm import load_lm
from saebench.lm.demo_model.evaluate import bits_per_byte, induction_gain, xz_bits_per_byte
from saebench.lm.load import demo_folder


@pytest.fixture(scope="module")
def demo():
    return load_lm("demo")


def test_it_beats_xz_by_a_tenth_on_heldout_modules(demo):
    corpus = CorpusConfig(name="stdlib-heldout", max_tokens=100_000)
    found = bits_per_byte(demo, corpus)
    assert found == pytest.approx(1.066, abs=0.005)
    assert found <= 0.9 * xz_bits_per_byte(CorpusConfig(name="stdlib-heldout"))  # of all of it, which favours xz


def test_it_copies_what_it_has_seen_once(demo):
    assert induction_gain(demo) >= 2.0


def test_it_is_small_half_precision_and_documented():
    folder = demo_folder()
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 16 * 2**20
    assert (folder / "README.md").exists()
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "pt") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F16"}  # noqa: SIM118
