"""Dreams kept beside the weights that they were dreamt with."""

from pathlib import Path

import pytest

from store import Dream, DreamExample, DreamPrompt, StoreError, find_dream, write_dream
from store.dreams import check_dreams, dream_path
from store.garbage import find_garbage, remove_garbage
from store.maps import weights_sha256

SAE = "one.sae"


def prompt(activation: float, cross_entropy: float) -> DreamPrompt:
    return DreamPrompt("a b", [1, 2], ["61", "2062"], [0.0, activation], activation, cross_entropy, True)


def made(sha256: str, frontier: list[DreamPrompt] | None = None) -> Dream:
    example = DreamExample(**vars(prompt(2.0, 5.0)), document="a.py", context=3, position=7, value=9.0)
    frontier = frontier or [prompt(1.0, 3.0), prompt(3.0, 4.5), prompt(6.0, 8.0)]
    return Dream(SAE, 7, frontier, "text", [example], {"sha256": sha256})


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    weights = tmp_path / "saes" / SAE / "sae.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"weights")
    return tmp_path


def test_a_dream_comes_back_until_the_weights_change(workspace: Path):
    assert find_dream(workspace, SAE, 7) is None
    dream = made(weights_sha256(workspace, SAE))
    path = write_dream(workspace, dream)
    assert path == workspace / "dreams" / SAE / "7.json"
    assert find_dream(workspace, SAE, 7) == dream
    assert find_dream(workspace, SAE, 8) is None
    assert [one.name for one in path.parent.iterdir()] == ["7.json"]
    (workspace / "saes" / SAE / "sae.safetensors").write_bytes(b"other weights")
    assert find_dream(workspace, SAE, 7) is None


def test_what_it_gains_over_the_corpus():
    assert made("").gain == 1.5
    assert made("", [prompt(9.0, 5.5)]).gain is None  # nothing as likely as the example
    assert made("", [prompt(9.0, 5.0)]).gain == 4.5


def test_a_spread_keeps_the_ends():
    dream = made("", [prompt(float(i), float(i)) for i in range(30)])
    assert [one.activation for one in dream.spread(4)] == [0.0, 10.0, 19.0, 29.0]
    assert len(dream.spread(40)) == 30


@pytest.mark.parametrize("text", ["", "{", "[]", '{"frontier": []}', '{"frontier": [{"text": 1}]}'])
def test_a_damaged_file_is_said(workspace: Path, text: str):
    path = dream_path(workspace, SAE, 7)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(StoreError, match=r"is no dream .* run `saebench dream --sae one.sae --feature 7`"):
        find_dream(workspace, SAE, 7)


def test_dreams_are_checked_and_those_that_are_never_shown_are_garbage(workspace: Path):
    index = workspace / "indexes" / f"{SAE}.text.0123456789ab.duckdb"
    index.parent.mkdir()
    index.touch()
    sound = write_dream(workspace, made(weights_sha256(workspace, SAE)))
    assert list(check_dreams(workspace)) == [(f"{SAE} (1)", [])]
    assert find_garbage(workspace) == []
    other = sound.with_name("8.json")
    other.write_text(sound.read_text())
    ((_, [misplaced]),) = check_dreams(workspace)
    assert f"{other} is a dream of feature 7 of {SAE}; put it where it belongs" in misplaced
    other.write_text("{")
    ((_, [damaged]),) = check_dreams(workspace)
    assert "8.json is no dream" in damaged
    assert find_garbage(workspace) == []
    other.unlink()
    index.unlink()
    ((_, [lost]),) = check_dreams(workspace)
    assert f"of an index on text that is gone; make it again with `saebench index --sae {SAE}`" in lost

    (workspace / "saes" / SAE / "sae.safetensors").write_bytes(b"other weights")
    ((_, [stale]),) = check_dreams(workspace)
    assert "was dreamt with other weights than its SAE has now; run `saebench dream --sae one.sae --feature 7`" in stale
    (workspace / "saes" / SAE / "sae.safetensors").unlink()
    ((name, [gone]),) = check_dreams(workspace)
    assert (name, "7.json: its SAE is gone" in gone) == (f"{SAE} (1)", True)
    found = find_garbage(workspace)
    assert [(one.name, one.why) for one in found] == [(f"dreams/{SAE}/7.json", "its SAE is gone")]
    assert remove_garbage(workspace, found) == found
    assert not sound.exists()


def test_a_file_that_cannot_be_written(workspace: Path):
    (workspace / "dreams").write_text("a file")
    with pytest.raises(StoreError, match="cannot write"):
        write_dream(workspace, made(""))
