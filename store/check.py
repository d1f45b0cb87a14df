"""Whether what a workspace's store holds can be trusted: every byte read, every count counted again.

Decisions:
- DuckDB keeps a checksum in every block and compares it when the block is read; so all columns of all tables are read.
- What must agree is asked as SQL over the views that readers use, whatever the tables beneath look like: a query that
  counts what is wrong, and finds nothing in a sound index.
- A problem is a sentence that ends with the command that puts it right. Nothing is ever changed.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb

from store.catalog import Catalog
from store.errors import StoreError, explained, first_line
from store.mirror import OF_FEATURES
from store.reading import attach, quoted
from store.workspace import CATALOG, index_files, indexes_folder, split_index_id

_RULES = {
    "the contexts are not numbered from 0 to the last": """
        SELECT count(*) != {n_contexts} OR count(DISTINCT context) != {n_contexts} OR min(context) != 0
               OR max(context) != {n_contexts} - 1 FROM context""",
    "a context's tokens, spans and source do not fit together": """
        SELECT count(*) FROM context WHERE len(tokens) != {context_length} OR len(spans) != {context_length}
               OR list_sum([greatest(span, 0) for span in spans]) != octet_length(source)""",
    "a context has tokens outside the vocabulary": """
        SELECT count(*) FROM context, (SELECT count(*) AS n FROM vocabulary)
        WHERE list_min(tokens) < 0 OR list_max(tokens) >= n""",
    "a segment is of no document or of no context": """
        SELECT count(*) FROM segment WHERE document NOT IN (SELECT document FROM document)
               OR context NOT IN (SELECT context FROM context)""",
    "the number of codes by feature is not the one recorded": "SELECT count(*) != {n_codes} FROM activation",
    "the codes by feature and those by token differ": """
        SELECT a != b FROM (SELECT {digest} AS a FROM activation), (SELECT {digest} AS b FROM code)""",
    "an activation is zero, negative or not finite": """
        SELECT count(*) FROM activation WHERE NOT isfinite(value) OR value <= 0""",
    "a code lies outside the features or the contexts": """
        SELECT count(*) FROM activation WHERE feature NOT BETWEEN 0 AND {n_features} - 1
               OR context NOT BETWEEN 0 AND {n_contexts} - 1 OR position NOT BETWEEN 0 AND {context_length} - 1""",
    "the codes by feature are not sorted": """
        SELECT count(*) FROM (SELECT place <= lag(place) OVER () AS falls FROM (
            SELECT (feature::BIGINT * {n_contexts} + context) * {context_length} + position AS place FROM activation))
        WHERE falls""",
    "the codes by token are not sorted": """
        SELECT count(*) FROM (SELECT context < lag(context) OVER () AS falls FROM code) WHERE falls""",
    "the features are not numbered from 0 to the last": """
        SELECT count(*) != {n_features} OR count(DISTINCT feature) != {n_features} OR min(feature) != 0
               OR max(feature) != {n_features} - 1 FROM feature""",
    "a feature's statistics are not those of its codes": """
        SELECT count(*) FROM feature LEFT JOIN (
            SELECT feature, count(*) AS n, max(value) AS largest, sum(value::DOUBLE) AS total
            FROM activation GROUP BY feature
        ) AS counted USING (feature)
        WHERE n_active != coalesce(n, 0) OR max_activation != coalesce(largest, 0)
              OR abs(mean - coalesce(total / n, 0)) > 1e-6 * mean OR abs(density - n_active / {n_tokens}) > 1e-9""",
    "the headline figures are not those of the features": """
        SELECT count(*) FILTER (n_active = 0) != {n_dead} OR sum(n_active) != {n_codes}
               OR abs(sum(n_active) / greatest({n_tokens}, 1) - {l0}) > 1e-6 * {l0} FROM feature""",
    "a histogram does not count its feature's activations": """
        SELECT count(*) FROM feature LEFT JOIN histogram USING (feature)
        WHERE coalesce(list_sum(counts), -1) != n_active""",
    "an example is at no activation of its feature": """
        SELECT count(*) FROM (SELECT feature, (place // {context_length})::INTEGER AS context,
                                     (place % {context_length})::INTEGER AS position, f16(half) AS value FROM example)
        ANTI JOIN activation USING (feature, context, position, value)""",
    "a neighbour is no other feature": """
        SELECT count(*) FROM neighbour WHERE neighbour NOT BETWEEN 0 AND {n_features} - 1 OR neighbour = feature""",
    "the shares of heads in a decoder row do not add up to one": """
        SELECT count(*) FROM (SELECT sum(share) AS total, min(share) AS least FROM head GROUP BY feature)
        WHERE least < 0 OR abs(total - 1) > 1e-3 AND total != 0""",
    "not every feature has its heads": "SELECT count(DISTINCT feature) NOT IN (0, {n_features}) FROM head",
    "an attribution is of no strongest example": """
        SELECT count(*) FROM attribution
        ANTI JOIN (SELECT feature, rank, place FROM example WHERE band = 0) USING (feature, rank, place)""",
    "a strongest example has no attribution": """
        SELECT count(*) FROM (SELECT feature, rank, place FROM example
                              WHERE band = 0 AND rank <= (SELECT max(rank) FROM attribution))
        ANTI JOIN attribution USING (feature, rank, place)""",
    "an attribution's positions and heads do not add up alike": """
        SELECT count(*) FROM attribution WHERE len(sources) != place % {context_length} + 1
               OR abs(list_sum(sources) - list_sum(heads)) > 1e-3 * list_sum([abs(source) for source in sources])
               OR NOT isfinite(list_sum(sources))""",
    "a co-activation is with no other feature": """
        SELECT count(*) FROM coactive WHERE partner NOT BETWEEN 0 AND {n_features} - 1 OR partner = feature
               OR together < 1""",
    "a negative lies where its feature is active": """
        SELECT count(*) FROM (SELECT feature, (place // {context_length})::INTEGER AS context FROM negative)
        SEMI JOIN activation USING (feature, context)""",
    "a negative is at no activation of its neighbour": """
        SELECT count(*) FROM (SELECT neighbour AS feature, (place // {context_length})::INTEGER AS context,
                                     (place % {context_length})::INTEGER AS position, f16(half) AS value FROM negative)
        ANTI JOIN activation USING (feature, context, position, value)""",
    "a logit is of no token": "SELECT count(*) FROM logit WHERE token NOT IN (SELECT token FROM vocabulary)",
}
"""What would be wrong → a query for how often it is; `{…}` are figures of the index."""

_DIGEST = """(count(*), bit_xor(hash(feature, context, position, value)),
              sum(hash(feature, context, position, value)::HUGEINT))"""
"""Equal for equal rows in any order."""


def check_indexes(workspace: Path) -> Iterator[tuple[str, list[str]]]:
    """Every index's newest file, one after the other: its name, and the problems found."""
    for identifier, path in index_files(indexes_folder(workspace)).items():
        command = f"`saebench index --sae {split_index_id(identifier)[0]}`"
        try:
            with duckdb.connect(config={"memory_limit": "2GB"}) as connection:
                meta = attach(connection, path, "checked")
                connection.execute("USE checked")
                problems = [*_misnamed(path, meta), *_unreadable(connection), *_broken(connection, meta)]
        except StoreError as error:
            yield path.name, [f"{error}: {command}"]
            continue
        command = "`saebench store import`" if "imported" in meta["provenance"] else command
        again = f"delete it and run {command}"
        yield path.name, [f"{path}: {problem}; {again}" for problem in problems] + _other_weights(workspace, path, meta)


def _misnamed(path: Path, meta: dict[str, Any]) -> list[str]:
    named = f"{meta.get('index_id')}.{str(meta.get('content_hash'))[:12]}.duckdb"
    return [] if path.name == named else [f"by its content it should be called {named}"]


def _unreadable(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Read every column of every table of the current database; a table with a block whose checksum is not its own is
    named.
    """
    tables = "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database() ORDER BY ALL"
    found = []
    for (name,) in connection.execute(tables).fetchall():
        try:
            connection.execute(f"SELECT bit_xor(hash(rows)) FROM {quoted(name)} AS rows").fetchall()
        except duckdb.Error as error:
            found.append(f"table {name} is damaged ({first_line(error)[:90]})")
    return found


def _broken(connection: duckdb.DuckDBPyConnection, meta: dict[str, Any]) -> list[str]:
    """The rules that do not hold."""
    found = []
    for problem, sql in _RULES.items():
        try:
            wrong = connection.execute(sql.format(**meta, digest=_DIGEST)).fetchall()[0][0]
        except duckdb.Error as error:
            found.append(f"cannot tell whether {problem} ({first_line(error)[:90]})")
            continue
        except KeyError as error:
            found.append(f"its meta table does not say {error}")
            continue
        if wrong:
            found.append(problem + (f" ({wrong:,} of them)" if wrong is not True and wrong > 1 else ""))
    return found


def _other_weights(workspace: Path, path: Path, meta: dict[str, Any]) -> list[str]:
    """Weights that are not those the index was made from: either of the two has changed."""
    sae = split_index_id(path.stem.rpartition(".")[0])[0]
    made = meta["provenance"].get("sae", {}).get("sha256")
    weights = workspace / "saes" / sae / "sae.safetensors"
    if made is None or not weights.exists() or _sha256(weights) == made:
        return []
    return [
        f"{weights} is not the SAE that {path.name} was made from: restore the file, or if it was trained anew run "
        f"`saebench index --sae {sae}`"
    ]


def check_saes(workspace: Path) -> Iterator[tuple[str, list[str] | None]]:
    """Every trained SAE of the catalogue and the problems found: whether its weights still have the hash noted there.
    None where none was noted, because an older version trained it; an index that was made from it tells all the same.
    """
    for entry in _catalogued(workspace, "sae"):
        weights = workspace / "saes" / entry["id"] / "sae.safetensors"
        if not weights.exists():
            continue
        if "sha256" not in entry:
            yield entry["id"], None
            continue
        problem = (
            f"{weights} has changed since it was trained (its checksum is not the catalogue's); restore it, or delete "
            "its folder and run `saebench train`"
        )
        yield entry["id"], [] if _sha256(weights) == entry["sha256"] else [problem]


def _catalogued(workspace: Path, kind: str) -> list[dict[str, Any]]:
    """Entries of a catalogue, none if it cannot be read: that is `check_catalog`'s to say."""
    try:
        return Catalog(workspace).all(kind) if (workspace / CATALOG).exists() else []
    except StoreError:
        return []


def check_catalog(workspace: Path) -> list[str]:
    """Whether the catalogue can be read and says what the files say."""
    if not (workspace / CATALOG).exists():
        return [f"there is no {workspace / CATALOG}; run any `saebench` command that writes to make one"]
    try:
        catalog = Catalog(workspace)
        with catalog.open() as connection:
            damaged = [f"{catalog.path}: {problem}" for problem in _unreadable(connection)]
        found = damaged or [
            *(_forgotten(kind, id) for kind, id in rows_without_files(workspace, catalog)),
            *_files_without_rows(workspace, catalog),
            *_features_out_of_range(catalog),
        ]
    except StoreError as error:
        damaged = found = [str(error)]
    again = "restore it from a copy, or delete it and run the commands again that made its entries"
    return [f"{problem}; {again}" for problem in damaged] or found


def rows_without_files(workspace: Path, catalog: Catalog) -> list[tuple[str, str]]:
    """(kind, id) of the catalogue's entries whose files are gone; of a set, those of one of its SAEs are enough."""
    folders = {"sae": workspace / "saes", "harvest": workspace / "harvests"}
    entries = [(kind, entry["id"]) for kind in folders for entry in catalog.all(kind)]
    gone = [(kind, id) for kind, id in entries if not (folders[kind] / id).exists()]
    gone += [("set", entry["id"]) for entry in catalog.all("set") if _missing(workspace, entry)]
    files = index_files(indexes_folder(workspace))
    return gone + [("index", entry["id"]) for entry in catalog.all("index") if entry["id"] not in files]


def _missing(workspace: Path, entry: dict[str, Any]) -> bool:
    """Whether a set names an SAE that is not there."""
    return any(not (workspace / "saes" / sae).exists() for sae in entry["saes"].values())


def _forgotten(kind: str, id: str) -> str:
    if kind == "set":
        return (
            f"the catalogue has set {id}, but not all its SAEs are left; run `saebench circuit set RECIPE --id {id}` "
            "with its recipe to train the missing ones again or `saebench store gc --yes` to forget it"
        )
    command = {"sae": "train", "harvest": "harvest", "index": "index"}[kind]
    return (
        f"the catalogue has {kind} {id}, but its files are gone; run `saebench {command}` to make it again or "
        "`saebench store gc --yes` to forget it"
    )


def _files_without_rows(workspace: Path, catalog: Catalog) -> Iterator[str]:
    known = {entry["id"]: entry.get("file") for entry in catalog.all("index")}
    for id, path in index_files(indexes_folder(workspace)).items():
        if known.get(id) != path.name:
            command = f"saebench index --sae {split_index_id(id)[0]}"
            yield f"the catalogue does not know {path.name}; run `{command}` to enter it"


def _features_out_of_range(catalog: Catalog) -> Iterator[str]:
    sizes = {entry["id"]: entry["n_latents"] for entry in catalog.all("sae") if "n_latents" in entry}
    tables = " UNION ALL ".join(f"SELECT '{name}' AS kind, sae, feature FROM {name}" for name in OF_FEATURES)
    with catalog.open() as connection:
        rows = connection.execute(
            f"SELECT kind, sae, max(feature) FROM ({tables}) GROUP BY ALL ORDER BY ALL"
        ).fetchall()
    for kind, sae, last in rows:
        if last is not None and last >= sizes.get(sae, last + 1):
            yield (
                f"the catalogue's table `{kind}` has a feature {last} of {sae}, which has 0 to {sizes[sae] - 1}: was "
                "another SAE trained under that name? give one of them another with `saebench train --id`"
            )


def _sha256(path: Path) -> str:
    with explained("cannot read", path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
