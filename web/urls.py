"""The one place that builds URLs. Everything a page shows is in its URL, so every view is a link."""

import hashlib
from collections.abc import Mapping
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote, urlencode

HERE = Path(__file__).parent
STATIC = HERE / "static"
TEMPLATES = HERE / "templates"


class Urls:
    """Paths of pages and assets. Assets carry a fingerprint of the code, so that browsers may keep them for good."""

    @cached_property
    def fingerprint(self) -> str:
        """Changes whenever anything that shapes a page does: templates, assets, code, plotly."""
        digest = hashlib.sha256(version("plotly").encode())
        for path in sorted(p for p in HERE.rglob("*") if p.suffix in {".html", ".css", ".js", ".svg", ".py"}):
            digest.update(path.read_bytes())
        return digest.hexdigest()[:12]

    def static(self, name: str) -> str:
        """An asset of this package. The fingerprint is in the path, so that relative imports of modules keep it."""
        return f"/static/{self.fingerprint}/{name}"

    @cached_property
    def plotly(self) -> str:
        """plotly.min.js as it comes inside the Python package."""
        return f"/static/plotly-{version('plotly')}.min.js"

    def home(self) -> str:
        """The list of SAEs."""
        return "/"

    def runs(self) -> str:
        """Trainings under way, as a fragment."""
        return "/runs"

    def sae(self, sae_id: str, **query: str | int | None) -> str:
        """An SAE's page; `query`: filter, order, search, columns, from, corpus."""
        return f"/saes/{quote(sae_id, safe='')}" + _query(query)

    def rows(self, sae_id: str, **query: str | int | None) -> str:
        """Some rows of the table of features; `query` as for `sae`."""
        return f"/saes/{quote(sae_id, safe='')}/rows" + _query(query)

    def features_file(self, sae_id: str, ending: str, **query: str | int | None) -> str:
        """The table of features as a file to keep, `csv` or `parquet`; `query`: filter, order, search, corpus."""
        return f"/saes/{quote(sae_id, safe='')}/features.{ending}" + _query(query)

    def plotted(self, sae_id: str, plot: str, **query: str | int | None) -> str:
        """The numbers behind a plot of the SAE's page, as CSV."""
        return f"/saes/{quote(sae_id, safe='')}/plots/{plot}.csv" + _query(query)

    def feature(self, sae_id: str, feature: int, **query: str | int | None) -> str:
        """A feature's page; `query`: the list it belongs to (filter, order) and the corpus."""
        return f"/saes/{quote(sae_id, safe='')}/features/{feature}" + _query(query)

    def feature_json(self, sae_id: str, feature: int, **query: str | int | None) -> str:
        """A feature's page as data."""
        return f"/saes/{quote(sae_id, safe='')}/features/{feature}.json" + _query(query)

    def feature_pattern(self, sae_id: str, **query: str | int | None) -> str:
        """A feature's page with `{feature}` left open, for the go-to dialog."""
        return f"/saes/{quote(sae_id, safe='')}/features/{{feature}}" + _query(query)

    def context(self, sae_id: str, feature: int, context: int, **query: str | int | None) -> str:
        """A whole context; `query`: the peak to outline, the corpus."""
        return f"/saes/{quote(sae_id, safe='')}/features/{feature}/contexts/{context}" + _query(query)

    def examples(self, sae_id: str, feature: int, kind: str, **query: str | int | None) -> str:
        """A feature's examples of one kind."""
        return f"/saes/{quote(sae_id, safe='')}/features/{feature}/examples/{kind}" + _query(query)

    def coactive(self, sae_id: str, feature: int, measure: str, **query: str | int | None) -> str:
        """The features that fire on the same tokens."""
        return f"/saes/{quote(sae_id, safe='')}/features/{feature}/coactive/{measure}" + _query(query)

    def dream(self, sae_id: str, feature: int, corpus: str | None = None) -> str:
        """A feature's dream, a part of its page; POST dreams it."""
        return f"/saes/{quote(sae_id, safe='')}/features/{feature}/dream" + _query({"corpus": corpus})

    def label(self, sae_id: str, feature: int) -> str:
        """A feature's label: PUT sets it, DELETE takes it away."""
        return f"/saes/{quote(sae_id, safe='')}/features/{feature}/label"

    def notes(self, sae_id: str, feature: int, number: int | None = None, **query: str | None) -> str:
        """A feature's notes: POST adds one; DELETE takes the one of that number away."""
        base = f"/saes/{quote(sae_id, safe='')}/features/{feature}/notes"
        return base if number is None else f"{base}/{number}" + _query({**query})

    def lists_of(self, sae_id: str, feature: int) -> str:
        """A feature's lists: POST puts it on one."""
        return f"/saes/{quote(sae_id, safe='')}/features/{feature}/lists"

    def feature_list(self, name: str) -> str:
        """One list."""
        return f"/lists/{quote(name, safe='')}"

    def list_feature(self, name: str, sae_id: str, feature: int) -> str:
        """A feature's place on a list: PUT adds it, DELETE takes it off."""
        return f"/lists/{quote(name, safe='')}/features/{quote(sae_id, safe='')}/{feature}"

    def live(self, sae_id: str, feature: int, **query: str | int | None) -> str:
        """Where the test box sends its text."""
        return f"/saes/{quote(sae_id, safe='')}/features/{feature}/live" + _query(query)

    def lists(self) -> str:
        """All lists of features."""
        return "/lists"

    def list_csv(self, name: str) -> str:
        """A list as CSV."""
        return f"/lists/{quote(name, safe='')}.csv"

    def jobs(self) -> str:
        """Work in the background."""
        return "/jobs"

    def job(self, job_id: str) -> str:
        """One job."""
        return f"/jobs/{quote(job_id, safe='')}"

    def job_cancel(self, job_id: str) -> str:
        """Where a job is ended."""
        return f"{self.job(job_id)}/cancel"

    def job_again(self, job_id: str) -> str:
        """Where a job is run anew."""
        return f"{self.job(job_id)}/again"

    def map(self, sae_id: str, corpus: str | None = None) -> str:
        """The map of an SAE's decoder directions, a part of its page; POST draws it."""
        return f"/saes/{quote(sae_id, safe='')}/map" + _query({"corpus": corpus})

    def map_data(self, sae_id: str, corpus: str | None = None) -> str:
        """The points of the map."""
        return f"/saes/{quote(sae_id, safe='')}/map.json" + _query({"corpus": corpus})

    def sql(self, query: str = "", sae_id: str | None = None) -> str:
        """The SQL box with a query in it."""
        return "/sql" + _query({"q": query, "sae": sae_id if query else None})

    def sql_file(self, ending: str, query: str, sae_id: str | None) -> str:
        """The rows of a query as a file, csv or json."""
        return f"/sql.{ending}" + _query({"q": query, "sae": sae_id})

    def compare(self, a: str | None = None, b: str | None = None, **query: str | int | None) -> str:
        """Two SAEs matched; `query`: corpus, side, status, page. POST matches them."""
        return "/compare" + _query({"a": a, "b": b, **query})

    def compare_features(self, sae_a: str, a: int, sae_b: str, b: int, corpus: str | None = None) -> str:
        """Two features side by side."""
        return "/compare/features" + _query({"a": f"{sae_a}/{a}", "b": f"{sae_b}/{b}", "corpus": corpus})

    def circuits(self) -> str:
        """The circuits of the workspace; POST finds one."""
        return "/circuits"

    def circuit(self, circuit_id: str, **query: str | int | float | None) -> str:
        """A circuit's page; `query`: what is chosen on it, as static/circuit.js keeps it."""
        return f"/circuits/{quote(circuit_id, safe='')}" + _query(query)

    def circuit_part(self, circuit_id: str, part: str, **query: str | int | float | None) -> str:
        """Something of a circuit: graph.json, attribution.json, node, edge, edges/test."""
        return f"/circuits/{quote(circuit_id, safe='')}/{part}" + _query(query)

    def supernode(self, circuit_id: str, name: str = "") -> str:
        """A supernode of a circuit: PUT makes it, DELETE takes it apart."""
        return f"/circuits/{quote(circuit_id, safe='')}/supernodes/{quote(name, safe='')}"

    def compare_circuits(self, a: str | None = None, b: str | None = None, **query: str | int | None) -> str:
        """Two circuits side by side; `query`: show, page."""
        return "/circuits/compare" + _query({"a": a, "b": b, **query})

    def interventions(self) -> str:
        """Unlearning runs and saved interventions; POST starts a run."""
        return "/interventions"

    def interventions_part(self, part: str, **query: str | int | None) -> str:
        """Parts of that page: form, documents."""
        return f"/interventions/{part}" + _query(query)

    def unlearning(self, run_id: str, part: str = "") -> str:
        """An unlearning run; `part`: again, keep."""
        return f"/interventions/{quote(run_id, safe='')}" + (f"/{part}" if part else "")

    def compare_unlearning(self, a: str | None = None, b: str | None = None) -> str:
        """Two unlearning runs side by side."""
        return "/interventions/compare" + _query({"a": a, "b": b})

    def compare_sets(
        self, a: str | None = None, b: str | None = None, part: str = "", **query: str | int | float | None
    ) -> str:
        """Two saved sets side by side; `part`: result, the text continued; `query`: text, tokens, temperature, seed."""
        return "/interventions/compare/sets" + (f"/{part}" if part else "") + _query({"a": a, "b": b, **query})

    def saved_sets(self, part: str = "") -> str:
        """Where interventions are saved; `part`: steering, composed."""
        return "/interventions/sets" + (f"/{part}" if part else "")

    def compose(self, edit: str | None = None, **query: str | int | None) -> str:
        """Where a set of interventions is composed, or changed; `query`: sae, features of a new one."""
        return "/interventions/compose" + _query({"edit": edit, **query})

    def saved(self, set_id: str) -> str:
        """A saved set of interventions: PATCH renames it, PUT replaces what it does, DELETE takes it away."""
        return f"/interventions/sets/{quote(set_id, safe='')}"

    def prompt(self, **query: str | int | None) -> str:
        """The prompt page; `query`: sae, corpus, text, token."""
        return "/prompt" + _query(query)

    def prompt_result(self, **query: str | int | None) -> str:
        """What the prompt page shows below its text."""
        return "/prompt/result" + _query(query)

    def steer(self, **query: str | int | float | None) -> str:
        """The steer page; `query`: sae, corpus, features, text, tokens, temperature, seed."""
        return "/steer" + _query(query)

    def steer_result(self, **query: str | int | float | None) -> str:
        """What the steer page shows below its form."""
        return "/steer/result" + _query(query)

    def steer_find(self, **query: str | int | None) -> str:
        """Features by number or by what is said of them, for the steer page; `query`: sae, corpus, q."""
        return "/steer/find.json" + _query(query)


def _query(values: Mapping[str, str | int | float | None]) -> str:
    kept = {name: value for name, value in values.items() if value not in (None, "")}
    return "?" + urlencode(kept) if kept else ""


urls = Urls()
