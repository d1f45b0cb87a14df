"""The page of interventions, the form of an unlearning run, and what is checked before one is started."""

import re
import threading
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from saebench.errors import UserError
from saebench.files import atomic_write
from saebench.wording import BASELINES, TREATMENTS
from store import Annotations, StoreError
from web.errors import ProblemError
from web.files import checked_id
from web.jobs.runner import JobRunner
from web.models.interventions import KINDS, Again, Documents, InterventionsPage, NewUnlearning, WantedTreatment
from web.models.jobs import Job
from web.views.lists import lists_page, refused
from web.views.saved import usable
from web.workspace import Workspace

if TYPE_CHECKING:
    from saebench.interventions.unlearning import Treatment, UnlearnConfig

RESERVED = {"compare", "sets", "documents", "form", "compose"}
"""Ids that would hide a page."""
JOB = "unlearn"
BUNDLED = ("stdlib-train", "stdlib-heldout")
NAMED = 40
"""Documents that are named where a pattern is tried."""
_STARTING = threading.Lock()


def interventions_page(here: Workspace) -> InterventionsPage:
    """Runs and saved interventions of the workspace."""
    return InterventionsPage(
        workspace=str(here.path),
        runs=here.interventions.runs(),
        saved=here.interventions.sets(),
        saes=[row["id"] for row in here.saes() if here.trained(row["id"])],
        lists=[one.name for one in lists_page(here).lists],
    )


def corpora(here: Workspace) -> dict[str, dict[str, Any]]:
    """Corpora with named documents that a run may use: the bundled ones, and local ones that an SAE here was trained
    on. A name that somebody types opens no file.
    """
    found: dict[str, dict[str, Any]] = {name: {"name": name} for name in BUNDLED}
    for row in here.saes():
        made = here.config(row["id"]).get("provenance", {}).get("corpus", {})
        name = made.get("name") if isinstance(made, dict) else None
        if isinstance(name, str) and name not in found and Path(name).exists():
            found[name] = {key: made[key] for key in ("name", "text_field") if key in made}
    return found


def topics(text: str, what: str) -> dict[str, tuple[str, ...]]:
    """Topics from lines of NAME=PATTERN,…; a NAME alone is a module. Raises ProblemError 422."""
    from saebench.interventions.questions.topics import parse_topic

    found: dict[str, tuple[str, ...]] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        try:
            name, patterns = parse_topic(re.sub(r"\s*([=,])\s*", r"\1", line))
        except UserError as error:
            raise _unreadable(f"{what}: {error}") from None
        if name in found:
            raise _unreadable(f"{what}: topic {name!r} is there twice; write its patterns on one line")
        found[name] = patterns
    if not found:
        raise _unreadable(f"{what}: no topic is given; write for example tkinter=tkinter/*,turtle.py")
    return found


def topic_lines(kept: dict[str, tuple[str, ...]]) -> str:
    """The same as text."""
    return "\n".join(f"{name}={','.join(patterns)}" for name, patterns in kept.items())


def documents(here: Workspace, corpus: str, text: str) -> list[Documents]:
    """The documents that topics match. Raises ProblemError for an unknown corpus or what is no topic."""
    from saebench.interventions.questions.topics import topics_of

    names = document_names(here, corpus)
    found = []
    for topic, patterns in topics(text, "topics").items():
        own = [name for name in names if topics_of(name, {topic: patterns})]
        found.append(
            Documents(topic=topic, patterns=list(patterns), n=len(own), of=len(names), names=sorted(own)[:NAMED])
        )
    return found


def document_names(here: Workspace, corpus: str) -> tuple[str, ...]:
    """The names of a corpus' documents; kept. Raises ProblemError 404 for one that is not to be read here."""
    known = corpora(here)
    if corpus not in known:
        cause = f"{corpus!r} is no corpus that this dashboard reads by its documents' names."
        raise ProblemError(404, "No such corpus", cause, f"It reads: {', '.join(known)}.")
    return _names(tuple(sorted(known[corpus].items())))


@lru_cache(maxsize=4)
def _names(settings: tuple[tuple[str, Any], ...]) -> tuple[str, ...]:
    from saebench.config import CorpusConfig
    from saebench.corpus.documents import read_documents

    return tuple(document.name for document in read_documents(CorpusConfig(**dict(settings))))


def unlearn_config(here: Workspace, wanted: NewUnlearning) -> "UnlearnConfig":
    """What is wanted as a run takes it.

    Raises:
        ProblemError: no such corpus or set of interventions (404), or what is wrong in one line (422).
    """
    from saebench.config import CorpusConfig
    from saebench.interventions.sets import by_ids
    from saebench.interventions.unlearning import ChoosingConfig, Treatment, UnlearnConfig

    known = corpora(here)
    document_names(here, wanted.corpus)
    forget, retain = topics(wanted.forget, "topics to forget"), topics(wanted.retain, "topics to keep")
    default = UnlearnConfig()
    try:
        choose = ChoosingConfig(
            method=wanted.method, n=wanted.n, retain_below=wanted.retain_below, percentile=wanted.percentile,
            list=(wanted.list_name.strip() or None) if wanted.method == "list" else None,
        )  # fmt: skip
        return UnlearnConfig(
            corpus=CorpusConfig(**known[wanted.corpus]),
            forget=forget,
            retain=retain,
            questions=default.questions.model_copy(update={"per_topic": wanted.per_topic}),
            choose=choose,
            treatments=tuple(_treatment(one, wanted, Treatment) for one in wanted.treatments),
            sets={name: by_ids(usable(here, name)) for name in wanted.sets},
            baselines=tuple(dict.fromkeys(wanted.baselines)),
            chosen_on=wanted.chosen_on,
            judged_on=wanted.judged_on,
            bound=wanted.bound,
            samples=wanted.samples,
            seed=wanted.seed,
        )
    except ValidationError as error:
        first = error.errors()[0]
        place = " ".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        raise _unreadable(f"{place}: {said}" if place else said) from None


def start(here: Workspace, jobs: JobRunner, wanted: NewUnlearning) -> Job:
    """Check all of it, write it down as a recipe, and start the job.

    Raises:
        ProblemError: no such SAE, corpus or list (404), something that cannot be used (422), an id that is taken or a
            job that cannot be started now (409).
    """
    if not any(row["id"] == wanted.sae and here.trained(wanted.sae) for row in here.saes()):
        raise ProblemError(404, "No such SAE", f"This workspace has no finished SAE {wanted.sae!r}.")
    config = unlearn_config(here, wanted)
    _check_documents(document_names(here, wanted.corpus), {**config.forget, **config.retain})
    if config.choose.list is not None:
        _check_list(here, config.choose.list, wanted.sae)
    return _started(here, jobs, wanted.sae, config, wanted.id.strip())


def again(here: Workspace, jobs: JobRunner, run_id: str, wanted: Again) -> Job:
    """Put features on a new list and start a run like another, but with these.

    Raises:
        ProblemError: no such run (404), a feature that it did not choose (422), a list or id that is taken (409).
    """
    run = here.interventions.run(run_id)
    known = {one.feature for one in run.candidates}
    features = list(dict.fromkeys(wanted.features))
    for feature in features:
        if feature not in known:
            raise _unreadable(f"features: {feature} is no candidate of {run_id}; choose among its candidates")
    lists = [one.name for one in lists_page(here).lists]
    name = wanted.list_name.strip() or free(f"{run_id}.chosen", lists)
    if name in lists:
        raise ProblemError(409, "That list is there", f"This workspace has a list {name!r}.", "Give it another name.")
    try:
        for feature in features:
            Annotations(here.path).add_to_list(name, run.sae, feature, f"chosen from {run_id}")
    except StoreError as error:
        raise refused(error) from None
    choose = run.config.choose.model_copy(update={"method": "list", "list": name, "n": len(features)})
    config = run.config.model_copy(update={"choose": choose})
    return _started(here, jobs, run.sae, config, wanted.id.strip())


def free(stem: str, taken: Iterable[str]) -> str:
    """A name that is not taken: the stem, or the stem with a number."""
    known = set(taken)
    return next(name for n in range(1, 10**6) if (name := stem if n == 1 else f"{stem}-{n}") not in known)


def defaults() -> dict[str, Any]:
    """What the form is filled with: the demo's settings."""
    from saebench.interventions.unlearning import Treatment, UnlearnConfig

    config = UnlearnConfig()
    chosen = {one.kind: one for one in config.treatments}
    others = (kind for kind in KINDS if kind not in chosen)
    unusual = {"scale": (0.5, 1.0)}
    return {
        "config": config,
        "forget": topic_lines(config.forget),
        "retain": topic_lines(config.retain),
        "treatments": [
            *((kind, TREATMENTS[kind], True, numbers(one.strengths)) for kind, one in chosen.items()),
            *((kind, TREATMENTS[kind], False, numbers(unusual.get(kind, Treatment().strengths))) for kind in others),
        ],
        "baselines": BASELINES,
    }


def numbers(values: Sequence[float]) -> str:
    """Strengths as they are typed."""
    return ", ".join(f"{value:g}" for value in values)


def _started(here: Workspace, jobs: JobRunner, sae: str, config: "UnlearnConfig", asked: str) -> Job:
    with _STARTING:
        waiting = {job.about.get("id", "") for job in jobs.all() if job.kind == JOB and job.alive}
        kept = {one.id for one in here.interventions.runs()} | {one.id for one in here.interventions.sets()}
        taken = kept | waiting | RESERVED
        if asked and asked in taken:
            cause = f"This workspace has a run or interventions {asked!r}, or one is being made."
            raise ProblemError(409, "That id is taken", cause, "Choose another id.")
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(config.forget)).strip("-._") or "topic"
        run_id = checked_id(asked) if asked else free(f"{stem[:80]}.{config.choose.method}", taken)
        path = here.interventions.recipe(run_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(yaml.safe_dump({"unlearn": config.model_dump(mode="json")}, sort_keys=False).encode())
        try:
            return jobs.start(JOB, id=run_id, sae=sae)
        except UserError as error:
            raise ProblemError(409, "That cannot be started now", f"{error}.") from None


def _treatment(one: WantedTreatment, wanted: NewUnlearning, make: "type[Treatment]") -> "Treatment":
    called = TREATMENTS[one.kind].label
    try:
        strengths = tuple(map(float, _parts(one.strengths)))
    except ValueError:
        raise _unreadable(f"{called}: strengths {one.strengths!r} are no numbers; write 0.5, 1, 2") from None
    if not strengths:
        raise _unreadable(f"{called}: no strength is given; write for example 0.5, 1, 2")
    try:
        return make(kind=one.kind, strengths=tuple(sorted(strengths)), above=wanted.above, percentile=wanted.often)
    except ValidationError as error:
        said = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise _unreadable(f"{called}: {said}") from None


def _parts(text: str) -> list[str]:
    return [part for part in re.split(r"[,\s]+", text.strip()) if part]


def _check_documents(names: tuple[str, ...], patterns: dict[str, tuple[str, ...]]) -> None:
    """As the run itself will: a topic of no or one document, or a document of two topics."""
    from saebench.interventions.questions.topics import folders, topics_of

    counts = dict.fromkeys(patterns, 0)
    for name in names:
        own = topics_of(name, patterns)
        if len(own) > 1:
            raise _unreadable(f"{name} is of topics {own[0]!r} and {own[1]!r}; let their patterns not overlap")
        for topic in own:
            counts[topic] += 1
    for topic, n in counts.items():
        if n < 2:
            said = "one document only: nothing is left to judge by" if n else "no document of this corpus"
            where = f"topic {topic!r} ({', '.join(patterns[topic])})"
            raise _unreadable(f"{where} matches {said}; add a pattern{folders(names)}")


def _check_list(here: Workspace, name: str, sae: str) -> None:
    if not any(one.name == name for one in lists_page(here).lists):
        raise ProblemError(404, "No such list", f"This workspace has no list {name!r}.", "The page of lists has all.")
    if not any(one.sae == sae for one in Annotations(here.path).listed(name)):
        raise _unreadable(f"list {name!r} has no feature of {sae}; add some, or choose another list")


def _unreadable(cause: str) -> ProblemError:
    return ProblemError(422, "That cannot be unlearned", f"{cause[:1].upper()}{cause[1:]}.")
