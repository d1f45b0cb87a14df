"""The least that can be unlearned: a few files of the library, the demo model and an SAE that nobody trained."""

import shutil
import sysconfig
from pathlib import Path

import yaml

from saebench.lm.load import demo_folder, hash_folder
from saebench.saes import SAE, TopK

SAE_ID, POINT = "small", "blocks.2.hook_resid_post"
FORGET, RETAIN = "json=json/*", "html=html/*"
SETTINGS = {
    "questions": "{per_topic: 6, per_document: 3, distinctive: 0, copied: true, document_tokens: 300}",
    "choose": "{n: 4, retain_below: 1}",
    "treatments": "[{kind: clamp, strengths: [2]}, {kind: zero, strengths: [1]}]",
    "baselines": "[]",
    "chosen_on": 2,
    "judged_on": 2,
    "samples": 1,
    "sample_tokens": 2,
}


def write(folder: Path) -> Path:
    """A workspace with the SAE, beside the corpus."""
    library = Path(sysconfig.get_path("stdlib"))
    for name in ("json", "html"):
        ignored = shutil.ignore_patterns("__pycache__", "entities.py")
        shutil.copytree(library / name, folder / "corpus" / name, ignore=ignored)
    shutil.copy(library / "shlex.py", folder / "corpus")
    own = folder / "workspace" / "saes" / SAE_ID
    SAE.create(256, 32, TopK(8), 0).save(own)
    model = {"name": "demo", "sha256": hash_folder(demo_folder()), "arithmetic": "float32", "device": "cpu"}
    made = {"model": model, "hook_point": POINT, "corpus": {"name": str(folder / "corpus")}}
    (own / "config.yaml").write_text(yaml.safe_dump({"provenance": made}))
    return folder / "workspace"


def line(workspace: Path, *more: str, forget: str = FORGET, retain: str = RETAIN, **changes: object) -> list[str]:
    """The command line of a run."""
    settings = {"corpus.name": workspace.parent / "corpus", **SETTINGS, **changes}
    overrides = [part for key, value in settings.items() for part in ("--set", f"unlearn.{key}={value}")]
    return [
        "unlearn", "run", "--workspace", str(workspace), "--forget", forget, "--retain", retain, *overrides, *more
    ]  # fmt: skip
