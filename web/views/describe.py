"""SAEs in words and headline figures, from their config, catalogue row and last metrics."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from web.formats import large, quantity


def find(data: Any, *keys: str) -> Any:
    """The shallowest value of the first of `keys` that nested mappings hold; None where there is none."""
    for key in keys:
        level = [data]
        while level:
            for mapping in level:
                if isinstance(mapping, dict) and mapping.get(key) is not None:
                    return mapping[key]
            level = [value for mapping in level if isinstance(mapping, dict) for value in mapping.values()]
    return None


def sae_summary(*sources: dict[str, Any]) -> str:
    """What an SAE is, in one line: rule, size, hook point."""
    merged = {"sources": dict(enumerate(sources))}
    rule = find(merged, "rule")
    if isinstance(rule, dict):
        name = str(rule.get("name") or rule.get("type") or rule.get("kind") or "")
        rest = ", ".join(f"{k} {v}" for k, v in rule.items() if k == "k")
        rule = f"{name} {rest}".strip()
    n_latents, d_in = find(merged, "n_latents"), find(merged, "d_in", "d_model")
    hook_point, model = find(merged, "hook_point"), find(merged, "model")
    model = model.get("name") if isinstance(model, dict) else model
    parts = [
        f"{large(n_latents)} features" if isinstance(n_latents, int) else "",
        f"{d_in} dimensions" if isinstance(d_in, int) else "",
        str(rule or ""),
        f"{hook_point} of {model}" if hook_point and model else str(hook_point or ""),
    ]
    return " · ".join(filter(None, parts))


def sae_headline(sae: dict[str, Any], last: dict[str, Any]) -> list[tuple[str, str]]:
    """The figures people compare SAEs by: held-out ones where it was evaluated, else of the last training row."""
    measured = {name: sae.get(f"heldout_{name}", last.get(name)) for name in ("fvu", "l0", "dead")}
    found = {**last, **measured, "ce_recovered": sae.get("ce_recovered")}
    known = [("FVU", "fvu"), ("CE recovered", "ce_recovered"), ("L0", "l0"), ("dead", "dead"), ("tokens", "tokens")]
    return [(name, quantity(found[key], key)) for name, key in known if found.get(key) is not None]


def quality(sae: dict[str, Any], last: dict[str, Any], index: dict[str, Any] | None) -> list[tuple[str, str]]:
    """How good an SAE is and what it was looked at with: (what and on which text, value). Figures on text it was not
    trained on come first; those of its training stand in where it was not evaluated.
    """
    known: list[tuple[str, Any, str]] = [
        ("FVU, held out", sae.get("heldout_fvu"), "fvu"),
        ("CE recovered, held out", sae.get("ce_recovered"), "ce_recovered"),
        ("dead, held out", sae.get("heldout_dead"), "dead"),
        ("FVU, training", last.get("fvu", sae.get("fvu")) if sae.get("heldout_fvu") is None else None, "fvu"),
        ("dead, training", last.get("dead", sae.get("dead")) if sae.get("heldout_dead") is None else None, "dead"),
        ("L0", sae.get("heldout_l0", index["l0"] if index else last.get("l0", sae.get("l0"))), "l0"),
        ("tokens trained on", last.get("tokens", sae.get("tokens")), "tokens"),
        ("features", index["n_features"] if index else None, "features"),
        ("tokens indexed", index["n_tokens"] if index else None, "tokens"),
    ]
    facts = [(name, quantity(value, key)) for name, value, key in known if value is not None]
    return [*facts, ("corpus indexed", index["corpus_id"])] if index else facts


def flat(data: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as `a.b.c` and a short text."""
    for key, value in data.items() if isinstance(data, dict) else ():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from flat(value, f"{name}.")
        elif isinstance(value, list) and len(value) > 8:
            yield name, f"{len(value)} values"
        elif isinstance(value, float):
            yield name, f"{value:.6g}"
        elif value is not None:
            yield name, ", ".join(map(str, value)) if isinstance(value, list) else short(str(value))


def index_facts(index: dict[str, Any]) -> list[tuple[str, str]]:
    """Where an index's numbers come from: its file, what it covers, and what it was made from."""
    covered = {key: index[key] for key in ("n_tokens", "n_contexts", "context_length", "l0")}
    return [("file", Path(index["path"]).name), *flat(covered), *flat(index["provenance"])]


def short(text: str) -> str:
    """A hash by its first twelve digits; anything else as it is."""
    return text[:12] if len(text) in {40, 64} and all(c in "0123456789abcdef" for c in text) else text
