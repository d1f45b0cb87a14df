"""The parts of an unlearning run against what they are by hand."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from saebench.config import load_recipe
from saebench.corpus import Document
from saebench.errors import UserError
from saebench.interventions.baselines.weights import weights_of
from saebench.interventions.kinds import ClampActive, Project, Scale, Zero
from saebench.interventions.questions import Cloze
from saebench.interventions.scores import DosePoint, Scores
from saebench.interventions.scores.bootstrap import Estimate
from saebench.interventions.unlearning.config import ChoosingConfig, Treatment, UnlearnConfig
from saebench.interventions.unlearning.evidence import spread
from saebench.interventions.unlearning.material import halves
from saebench.interventions.unlearning.run import best
from saebench.interventions.unlearning.selection import units_of
from saebench.interventions.unlearning.treatments import Chosen, interventions
from saebench.interventions.where import Often
from saebench.lm import LanguageModel
from store import Firings

CHOSEN = Chosen("s", (3, 7), (2.0, 0.5), 0.125)


def test_treatments_are_their_interventions():
    clamp = interventions(Treatment(), CHOSEN, 4)
    assert clamp == [
        ClampActive(sae="s", feature=3, activation=-8.0),
        ClampActive(sae="s", feature=7, activation=-2.0),
    ]
    prime = interventions(Treatment(kind="clamp_prime", above=0.5), CHOSEN, 4)
    assert prime[0] == ClampActive(sae="s", feature=3, activation=-8.0, above=1.0)
    guarded = interventions(Treatment(kind="guarded"), CHOSEN, 4)
    assert guarded[1] == ClampActive(sae="s", feature=7, activation=-2.0, when=Often(feature=(3, 7), share=0.125))
    assert Treatment(kind="zero").strengths == Treatment(kind="zero", strengths=(2, 8)).strengths == (1,)
    assert interventions(Treatment(kind="zero"), CHOSEN, 1) == [Zero(sae="s", feature=(3, 7))]
    assert interventions(Treatment(kind="scale"), CHOSEN, 0.25) == [Scale(sae="s", feature=(3, 7), factor=0.75)]
    assert interventions(Treatment(kind="project"), CHOSEN, 2) == [Project(sae="s", feature=(3, 7), factor=-1.0)]


def test_units_are_root_mean_squares_where_features_fire():
    values = np.array([[0.0, 3.0, 0.0], [4.0, 4.0, 0.0], [0.0, 0.0, 0.0]])
    firings = Firings(3, (values > 0).sum(0), (values**2).sum(0))
    assert units_of(firings) == pytest.approx([4.0, np.sqrt(12.5), 1.0])


@given(st.lists(st.integers(1, 500), min_size=2, max_size=20), st.integers(0, 3))
def test_halves_share_documents_out_evenly(sizes: list[int], seed: int):
    documents = [Document(f"{i}.py", "x" * size) for i, size in enumerate(sizes)]
    one, other = halves(documents, "topic", seed)
    assert one
    assert other
    assert sorted(d.name for d in [*one, *other]) == sorted(d.name for d in documents)
    assert abs(sum(len(d.text) for d in one) - sum(len(d.text) for d in other)) <= max(sizes)
    again = halves(documents[::-1], "topic", seed)
    assert [[d.name for d in side] for side in again] == [[d.name for d in side] for side in (one, other)]


def test_one_document_cannot_be_halved():
    with pytest.raises(UserError, match=r"topic 'json' has one document, json\.py: nothing is left to judge by"):
        halves([Document("json.py", "x")], "json", 0)


def point(strength: float, forget: float, controls: float) -> DosePoint:
    forgotten, held = (Estimate(value=value, low=None, high=None, n=1) for value in (forget, controls))
    return DosePoint(strength=strength, scores=Scores(forget=forgotten, controls=held, ce_added=None, kl=None))


def test_the_best_point_forgets_most_within_the_bound():
    points = [point(1, 0.9, 1.0), point(2, 0.5, 0.99), point(4, 0.1, 0.98)]
    assert best(points, 0.99) == 1
    assert best(points, 0.9) == 2
    assert best(points[2:], 0.99) is None


def test_samples_are_of_what_turned_first_and_of_many_documents():
    rows = [("a1", "a", "x"), ("a2", "a", "x"), ("a3", "a", "y"), ("b1", "b", "z"), ("b2", "b", "w")]
    questions = [Cloze(id=i, topic=topic, document=document, prompt="?", answer="a") for i, topic, document in rows]

    def chosen(n: int, *turned: str) -> list[str]:
        return [one.id for one in spread(questions, n, turned)]

    assert chosen(9) == ["a1", "b1", "a3", "b2"]
    assert chosen(9, "a2", "b2") == ["a2", "b2", "a3", "b1"]
    assert chosen(1, "b2") == ["b2"]
    assert chosen(2, "a1", "a2") == ["a1", "b1"]  # of one document one


def test_a_model_stands_under_anothers_weights_and_comes_back(lm: LanguageModel):
    tokens = torch.randint(10, 200, (2, 9), generator=torch.Generator().manual_seed(0))
    changed = copy.deepcopy(lm.plain)
    with torch.no_grad():
        for parameter in changed.parameters():
            parameter.mul_(1.1)
        expected = changed(input_ids=tokens).logits
    plain = lm.run(tokens)[0]
    with weights_of(lm, SimpleNamespace(plain=changed)):  # type: ignore[arg-type]
        torch.testing.assert_close(lm.run(tokens)[0], expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(lm.run(tokens)[0], plain)
    with pytest.raises(RuntimeError, match="inside"), weights_of(lm, SimpleNamespace(plain=changed)):  # type: ignore[arg-type]
        raise RuntimeError("inside")
    assert torch.equal(lm.run(tokens)[0], plain)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["retain.tkinter=[a]"], "topic 'tkinter' is both to be forgotten and kept"),
        (["treatments=[{kind: clamp}, {kind: clamp}]"], "a kind of treatment is there twice"),
        (["treatments=[{kind: clamp, strengths: [1, -2]}]"], "strengths are numbers from 0 to a million"),
        (["treatments=[{kind: clamp, strengths: [.inf]}]"], "strengths are numbers from 0 to a million"),
        (["treatments=[{kind: clamp, strengths: [1e38]}]"], "strengths are numbers from 0 to a million"),
        (["treatments=[{kind: clamp, strengths: [2, 2]}]"], "a strength is there twice"),
        (["treatments=[{kind: clamp_prime, above: .inf}]"], "above: Input should be a finite number"),
        (["treatments=[{kind: melt}]"], "kind: Input should be 'clamp'"),
        (["direction_strengths=[1e38]"], "strengths are numbers from 0 to a million"),
        (["direction_strengths=[.nan]"], "strengths are numbers from 0 to a million"),
        (["choose.method=list"], "method list wants the name of a list"),
        (["choose.list=mine"], "method list wants the name of a list"),
    ],
)
def test_settings_that_cannot_work(settings: list[str], message: str):
    with pytest.raises(UserError, match=message) as error:
        load_recipe(UnlearnConfig, None, settings)
    assert "\n" not in str(error.value)


def test_the_demo_is_the_default():
    assert load_recipe(UnlearnConfig, None, []) == UnlearnConfig()
    assert ChoosingConfig().method == "frequency"
