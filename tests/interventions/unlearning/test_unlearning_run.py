"""An unlearning run of the demo model on a few files: what it says is so, and it goes on where it was stopped."""

import shutil
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import torch
import yaml

from saebench.config import CorpusConfig
from saebench.errors import UserError
from saebench.interventions import Hooked, Project, Scale, Zero, generate, intervened
from saebench.interventions.baselines import RMUConfig
from saebench.interventions.questions import BuildConfig, ask, build_questions
from saebench.interventions.scores import dose_response, text_scores
from saebench.interventions.unlearning import (
    Treatment,
    UnlearnConfig,
    UnlearningResult,
    divide,
    read_result,
    result_ids,
    unlearn,
    write_result,
)
from saebench.interventions.unlearning.config import ChoosingConfig
from saebench.interventions.unlearning.material import Material, gather
from saebench.interventions.unlearning.result import result_path
from saebench.interventions.unlearning.treatments import Chosen, interventions
from saebench.lm import LanguageModel
from saebench.saes import SAE, TopK

HOOK_POINT = "blocks.2.hook_resid_post"
TOPICS = {"json": "json", "html": "html"}


class StoppedError(Exception):
    """As if the process had been killed."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    library = Path(sysconfig.get_path("stdlib"))
    for name in TOPICS:
        shutil.copytree(library / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "entities.py"))
    for name in ("shlex.py", "bisect.py", "textwrap.py"):
        shutil.copy(library / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def hooked(lm: LanguageModel) -> Hooked:
    """An SAE whose latents are directions of the demo model's own activations."""
    library = Path(sysconfig.get_path("stdlib"))
    text = "".join((library / name / "__init__.py").read_text() for name in TOPICS)
    ids = lm.tokenizer(text, add_special_tokens=False)["input_ids"][: 8 * 250]
    x = lm.activations(torch.tensor(ids[: len(ids) // 8 * 8]).view(8, -1), [HOOK_POINT])[HOOK_POINT].flatten(0, 1)
    mean = x.mean(0)
    rows = torch.nn.functional.normalize((x - mean)[:: len(x) // 300][:300].float())
    return Hooked(SAE(rows.clone(), torch.zeros(len(rows)), rows, mean.float(), TopK(8)), HOOK_POINT)


@pytest.fixture(scope="module")
def config(corpus: Path) -> UnlearnConfig:
    return UnlearnConfig(
        corpus=CorpusConfig(name=str(corpus)),
        forget={"json": ("json/*",)},
        retain={"html": ("html/*",)},
        questions=BuildConfig(per_topic=12, distinctive=0, copied=True, per_document=6),
        choose=ChoosingConfig(n=4, retain_below=1.0),
        treatments=(Treatment(strengths=(0, 3)), Treatment(kind="guarded", strengths=(3,))),
        sets={"gentle": (Zero(sae="s", feature=(1, 2)),)},
        direction_strengths=(1,),
        rmu=RMUConfig(layer=1, c=20, alpha=10, lr=1e-3, steps=2, batch=2),
        chosen_on=8,
        judged_on=3,
        samples=1,
        sample_tokens=4,
    )


@pytest.fixture(scope="module")
def material(lm: LanguageModel, config: UnlearnConfig) -> Material:
    """What the run has to choose and to judge by, made anew."""
    questions = build_questions(lm, config.corpus, {**config.forget, **config.retain}, config.questions, "all")
    return gather(lm, questions, divide(config), config)


@pytest.fixture(scope="module")
def result(
    lm: LanguageModel, hooked: Hooked, config: UnlearnConfig, tmp_path_factory: pytest.TempPathFactory
) -> UnlearningResult:
    """The result of a run that was stopped in its second curve, and called again."""
    work = tmp_path_factory.mktemp("work") / "json"
    seen: list[str] = []

    @contextmanager
    def stopping(what: str, _total: int) -> Iterator[Callable[[int], None]]:
        seen.append(what)
        if what == "guarded" and seen.count("guarded") == 1:
            raise StoppedError
        yield lambda _done: None

    def keep(made: UnlearningResult) -> None:
        assert (work / "rmu.json").exists(), "nothing is removed before the result is kept"
        made_kept.append(made)

    made_kept: list[UnlearningResult] = []

    def run() -> UnlearningResult:
        divided = divide(config)
        return unlearn(lm, "s", hooked, config, divided, work.parent, work, "json", stopping, keep=keep)

    with pytest.raises(StoppedError):
        run()
    kept = {path: path.stat().st_mtime_ns for path in work.rglob("*.json*")}
    assert {"questions.jsonl", "candidates.json", "point.3.0.json"} <= {path.name for path in kept}
    original = Path.replace

    def not_again(self: Path, target: Path) -> Path:
        assert Path(target) not in kept, f"{target} is made twice"
        return original(self, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", not_again)
        found = run()
    assert seen.count("questions") == 1
    assert made_kept == [found]
    assert not work.exists()
    return found


def test_every_treatment_and_baseline_is_scored(result: UnlearningResult):
    shape = [(curve.name, curve.baseline, [point.strength for point in curve.points]) for curve in result.curves]
    assert shape == [
        ("clamp", False, [0, 3]), ("guarded", False, [3]), ("set:gentle", False, [1]),
        ("random", True, [0, 3]), ("direction", True, [1]), ("rmu", True, [20]),
    ]  # fmt: skip
    assert len(result.candidates) == len(result.units) == 4
    for candidate in result.candidates:
        assert candidate.excerpts
        for excerpt in candidate.excerpts:
            assert excerpt.document.startswith("json/")
            assert excerpt.activations[excerpt.peak] == max(excerpt.activations) > 0
    assert result.saebench is not None
    assert {sample.forget for sample in result.samples} == {True, False}
    assert {change.topic for change in result.side_effects.topics} == {"json", "html"}


def test_the_picked_intervention_scores_what_it_says(
    result: UnlearningResult, lm: LanguageModel, hooked: Hooked, material: Material
):
    exam = material.exam
    assert result.questions == (len(exam.forget), len(exam.controls))

    def under():
        return intervened(lm, result.picked.interventions, {"s": hooked})

    with under():
        right = [float(ask(lm, own, "given").right.float().mean()) for own in (exam.forget, exam.controls)]
    own = result.picked.scores
    assert right == pytest.approx([own.forget.value, own.controls.value])
    assert own.ce_added is not None
    assert text_scores(lm, under, exam.retained).ce_added.value == pytest.approx(own.ce_added.value, abs=1e-6)
    asked = {question.id: question for own in (exam.forget, exam.controls) for question in own.questions}
    for flip in result.side_effects.flips:
        question = asked[flip.id]
        assert (flip.asks, flip.answer) == (question.prompt, question.answer)
        prompt = torch.tensor([lm.tokenizer.bos_token_id, *lm.tokenizer(flip.asks)["input_ids"]])
        with under():
            first = lm.tokenizer.decode(generate(lm, prompt, 1).tokens)
        assert flip.says.startswith(first)
        assert flip.says != flip.answer
    lost = {flip.id for flip in result.side_effects.flips if not flip.became_right}
    assert len(lost) == round((1 - right[0]) * len(exam.forget)) + round((1 - right[1]) * len(exam.controls))


def test_a_set_is_examined_as_it_is(
    result: UnlearningResult, lm: LanguageModel, hooked: Hooked, material: Material, config: UnlearnConfig
):
    [curve] = [curve for curve in result.curves if curve.name == "set:gentle"]
    with intervened(lm, config.sets["gentle"], {"s": hooked}):
        right = float(ask(lm, material.exam.forget, "given").right.float().mean())
    assert curve.points[0].scores.forget.value == pytest.approx(right)


def test_a_set_can_be_what_is_picked(lm: LanguageModel, hooked: Hooked, config: UnlearnConfig, tmp_path: Path):
    """Only sets, of which one changes nothing and the other nearly everything, by another SAE of the workspace."""
    hooked.sae.save(tmp_path / "saes" / "two")
    provenance = {"model": lm.provenance, "hook_point": "blocks.1.hook_resid_post"}
    (tmp_path / "saes" / "two" / "config.yaml").write_text(yaml.safe_dump({"provenance": provenance}))
    sets = {"none": (Scale(sae="s", feature=1, factor=1.0),), "all": (Project(sae="two", feature=tuple(range(200))),)}
    own = config.model_copy(update={"treatments": (), "sets": sets, "baselines": (), "samples": 1})
    found = unlearn(lm, "s", hooked, own, divide(own), tmp_path, tmp_path / "work" / "x", "x")
    assert [curve.name for curve in found.curves] == ["set:none", "set:all"]
    best = min(found.curves, key=lambda curve: curve.points[0].scores.forget.value)
    if best.points[0].scores.controls.value < config.bound:
        best = max(
            found.curves,
            key=lambda curve: curve.points[0].scores.controls.value - curve.points[0].scores.forget.value,
        )
    assert found.picked.treatment == best.name
    assert found.picked.interventions == sets[best.name.removeprefix("set:")]
    if best.name == "set:all":
        assert any(moved > 0.1 for sample in found.samples for moved in sample.moved)
    own = config.model_copy(update={"sets": {"elsewhere": (Zero(sae="gone", feature=1),)}})
    with pytest.raises(UserError, match="no finished SAE 'gone'"):
        unlearn(lm, "s", hooked, own, divide(own), tmp_path, tmp_path / "work" / "y", "y")


def test_no_document_chooses_and_judges(material: Material):
    choosing = {q.document for own in (material.forget_questions, material.retain_questions) for q in own.questions}
    judging = {q.document for own in (material.exam.forget, material.exam.controls) for q in own.questions}
    assert choosing
    assert judging
    assert not choosing & judging


def test_samples_say_where_the_intervention_acted(result: UnlearningResult, lm: LanguageModel, hooked: Hooked):
    sample = result.samples[0]
    text = "".join(sample.tokens[1:])
    ids = torch.tensor([[lm.tokenizer.bos_token_id, *lm.tokenizer(text, add_special_tokens=False)["input_ids"]]])
    assert ids.shape[1] == len(sample.tokens)
    x = lm.activations(ids, [HOOK_POINT])[HOOK_POINT][0].float()
    codes = hooked.sae.encode(x).to_dense()
    features = [one.feature for one in result.candidates]
    if result.picked.treatment == "clamp":
        fires = (codes[:, features] > 0).any(1)
        fires[0] = False  # the begin token is left alone
        assert [moved > 1e-6 for moved in sample.moved] == fires.tolist()
    assert sample.moved[0] == 0


def test_a_result_is_kept_and_read_again(result: UnlearningResult, tmp_path: Path):
    write_result(tmp_path, result)
    assert result_ids(tmp_path) == ["json"]
    assert read_result(tmp_path, "json") == result
    with pytest.raises(UserError, match="has no unlearning run 'html'; it has: json"):
        read_result(tmp_path, "html")
    result_path(tmp_path, "json").write_text("{}")
    with pytest.raises(UserError, match=r"json\.json is no unlearning run: .*; delete it and run again"):
        read_result(tmp_path, "json")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"forget": {"yaml": ("yaml/*",)}}, "topic 'yaml': no document of .* is called"),
        ({"forget": {"json": ("json/*", "html/*")}}, "is of topics 'json' and 'html'; let their patterns not overlap"),
        ({"forget": {"one": ("shlex.py",)}}, r"topic 'one' has one document, shlex\.py: nothing is left to judge by"),
    ],
)
def test_topics_that_cannot_be_unlearned(config: UnlearnConfig, changes: dict, message: str):
    with pytest.raises(UserError, match=message) as error:
        divide(config.model_copy(update=changes))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rmu": RMUConfig(layer=4)}, "has 4 blocks, 0 to 3; set layer to one of them"),
        ({"sample_tokens": 256}, "continuations of 256 tokens do not fit the model's context of 256"),
    ],
)
def test_what_the_model_cannot_do_is_said_before_anything_is_done(
    lm: LanguageModel, hooked: Hooked, config: UnlearnConfig, tmp_path: Path, changes: dict, message: str
):
    with pytest.raises(UserError, match=message):
        unlearn(lm, "s", hooked, config.model_copy(update=changes), divide(config), tmp_path, tmp_path / "w" / "x", "x")
    assert list(tmp_path.iterdir()) == []


def test_strengths_that_overflow_leave_the_model_and_no_point(
    result: UnlearningResult, lm: LanguageModel, hooked: Hooked, material: Material, tmp_path: Path
):
    """The largest strength that a recipe may have, of features whose units are a trillion: 1e18 is finite."""
    features = tuple(one.feature for one in result.candidates)
    chosen = Chosen("s", features, (1e12,) * len(features), None)
    tokens, modules = torch.tensor([[1, 2, 3]]), [*lm.plain.modules(), *lm.bridge.modules()]
    clean, hooks = lm.run(tokens)[0], [len(module._forward_hooks) for module in modules]

    def at(strength: float) -> AbstractContextManager[None]:
        return intervened(lm, interventions(Treatment(), chosen, strength), {"s": hooked})

    with pytest.raises(UserError, match=r"activations at blocks\.2\..* overflow .*; use smaller strengths") as error:
        dose_response(lm, at, [0, 999_999], material.exam, tmp_path / "clamp", {})
    assert "\n" not in str(error.value)
    assert [len(module._forward_hooks) for module in modules] == hooks
    assert torch.equal(lm.run(tokens)[0], clean)
    assert [path.name for path in (tmp_path / "clamp").glob("point*")] == ["point.0.0.json"]
