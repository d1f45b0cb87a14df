"""An unlearning run and saved interventions for the workspace that pages are tested on."""

from pathlib import Path

import hostile
import synthetic

from saebench.files import file_sha256
from saebench.interventions import Add, ClampActive, InterventionSet, Often, Zero, write_interventions
from saebench.interventions.choosing import Candidate, Excerpt
from saebench.interventions.kinds import AnyIntervention
from saebench.interventions.scores import DosePoint, Scores, UnlearningScore
from saebench.interventions.scores.bootstrap import Estimate
from saebench.interventions.scores.rule import Cell, Row
from saebench.interventions.scores.side_effects import Flip, TokenChange, TopicChange
from saebench.interventions.sets import UsedSAE
from saebench.interventions.unlearning import ChoosingConfig, Treatment, UnlearnConfig, UnlearningResult, write_result
from saebench.interventions.unlearning.result import Curve, NextToken, Picked, Sample, SideEffects
from web.live.models import trained_on

FEATURES = (3, 5, 9)
DOSES = {"clamp": {0.5: (0.8, 1.0), 2: (0.35, 1.0), 8: (0.1, 0.6)}, "zero": {1: (0.9, 1.0)}}
"""(forget right, controls right) by strength."""


def estimate(value: float, n: int = 40) -> Estimate:
    return Estimate(value=value, low=max(value - 0.1, 0), high=min(value + 0.1, 1), n=n)


def scores(forget: float, controls: float) -> Scores:
    return Scores(forget=estimate(forget), controls=estimate(controls), ce_added=estimate(0.012), kl=estimate(0.034))


def curve(name: str, doses: dict[float, tuple[float, float]], best: int | None, *, baseline: bool = False) -> Curve:
    points = tuple(DosePoint(strength=dose, scores=scores(*right)) for dose, right in doses.items())
    return Curve(name=name, baseline=baseline, points=points, best=best)


def interventions(features: tuple[int, ...] = FEATURES) -> tuple[AnyIntervention, ...]:
    return tuple(ClampActive(sae=synthetic.SAE, feature=feature, activation=-4.0) for feature in features)


def a_run(
    run_id: str = "tkinter.frequency", features: tuple[int, ...] = FEATURES, text: str = "tkinter"
) -> UnlearningResult:
    """Forgets `text` with three features; clamping at 2 is best; texts and names can be hostile."""
    candidates = tuple(
        Candidate(
            sae=synthetic.SAE, feature=feature, method="frequency", scores={"forget density": 0.02 * (i + 1)},
            forget_density=0.02 * (i + 1), retain_density=0.001,
            excerpts=(
                Excerpt(document=f"{text}/dialog.py", tokens=("from", f" {text}", " import", "\n"),
                        activations=(0.0, 2.5, 0.5, 0.0), peak=1),
                Excerpt(document="turtle.py", tokens=("import", f" {text}"), activations=(0.0, 1.5), peak=1),
            ),
        )
        for i, feature in enumerate(features)
    )  # fmt: skip
    sample = Sample(
        topic=text, forget=True, answer=f" {text}", tokens=("import", f" {text}", "\n"), moved=(0.0, 0.8, 0.02),
        before=f"root = {text}.Tk()", after="root = os.path", kl=1.5,
        next=(NextToken(text=" Tk", before=0.75, after=0.05), NextToken(text=text, before=0.1, after=0.4)),
    )  # fmt: skip
    topics = (
        TopicChange(
            topic=text,
            before=estimate(1.0),
            after=estimate(0.35),
            difference=Estimate(value=-0.65, low=-0.8, high=-0.5, n=40),
        ),
        TopicChange(
            topic="xml", before=estimate(1.0), after=estimate(1.0), difference=Estimate(value=0, low=0, high=0, n=40)
        ),
    )
    return UnlearningResult(
        id=run_id,
        sae=synthetic.SAE,
        hook_point="blocks.0.hook_resid_post",
        config=UnlearnConfig(
            forget={text: ("tkinter/*",)}, retain={"xml": ("xml/*",)}, choose=ChoosingConfig(n=len(features)),
            treatments=(Treatment(strengths=(0.5, 2, 8)), Treatment(kind="zero", strengths=(1,))),
            baselines=("random", "rmu"),
        ),
        questions=(40, 80),
        candidates=candidates,
        units=(2.0,) * len(features),
        curves=(
            curve("clamp", DOSES["clamp"], 1),
            curve("zero", DOSES["zero"], 0),
            curve("random", {0.5: (1.0, 1.0), 2: (0.95, 0.98)}, 0, baseline=True),
            curve("rmu", {60: (0.3, 0.9)}, None, baseline=True),
        ),
        saebench=UnlearningScore(
            score=0.55, admissible=7, best=Row(cell=Cell(retain_threshold=0.01, n_features=10, multiplier=25.0),
                                               forget=0.45, controls=1.0),
        ),
        picked=Picked(
            treatment="clamp", strength=2, keeps_controls=True, interventions=interventions(features),
            scores=scores(*DOSES["clamp"][2]),
        ),
        side_effects=SideEffects(
            topics=topics,
            flips=(
                Flip(
                    id=f"{text}.12", topic=text, asks=20 * "# long ago\n" + f"from {text} import", answer=" messagebox",
                    says=f" {text}.os", became_right=False, margin_before=2.0, margin_after=-1.5,
                ),
            ),
            tokens=(TokenChange(token=7, text=f" {text}", added=0.42, before=1.25, count=31),),
        ),
        samples=(sample, sample.model_copy(update={"forget": False, "topic": "xml"})),
        provenance={"model": {"name": "tiny"}, "sae": synthetic.SAE, "code": "0.1.0"},
    )  # fmt: skip


def used(folder: Path) -> tuple[dict[str, str], UsedSAE]:
    """(model, SAE) as sets name them."""
    own = folder / "saes" / synthetic.SAE
    model, hook_point = trained_on(own)
    return model, UsedSAE(id=synthetic.SAE, sha256=file_sha256(own / "sae.safetensors"), hook_point=hook_point)


def a_set(folder: Path, set_id: str, values: tuple[AnyIntervention, ...], notes: str = "") -> InterventionSet:
    model, sae = used(folder)
    return InterventionSet(id=set_id, model=model, saes={synthetic.SAE: sae}, interventions=values, notes=notes)


def add_interventions(folder: Path) -> None:
    """Two runs, the second hostile; the first one's set, and one of several kinds."""
    write_result(folder, a_run())
    write_result(folder, a_run("hostile", (3, 7), hostile.SCRIPT))
    write_interventions(folder, a_set(folder, "tkinter.frequency", interventions(), "unlearning tkinter: clamp at 2"))
    several = (
        Add(sae=synthetic.SAE, feature=5, activation=1.5),
        Zero(sae=synthetic.SAE, feature=(1, 2), when=Often(feature=(1, 2), share=0.25)),
    )
    write_interventions(folder, a_set(folder, "several", several, hostile.SCRIPT))
