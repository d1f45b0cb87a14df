"""The least that could serve features: four queries and no page, to measure the dashboard against.

`python benchmarks/bare_server.py WORKSPACE` serves `/<feature>.json` of the first index: a row of statistics, the
histogram, the logits and the strongest examples as DuckDB gives them, without text, neighbours or anything said. One
cursor per thread, one DuckDB thread, orjson; and an answer of 304 to whoever brings the index' name as a tag.
"""

import sys
import threading

import orjson
import uvicorn
from fastapi import FastAPI, Request
from starlette.responses import Response

from store import FeatureStore

QUERIES = [
    "SELECT * FROM {feature} WHERE feature = ?::INTEGER",
    "SELECT edges, counts FROM {histogram} WHERE feature = ?::INTEGER",
    "SELECT sign, token, logit FROM {logit} WHERE feature = ?::INTEGER",
    "SELECT place, half, active, halves, tokens FROM {example} WHERE feature = ?::INTEGER AND band = 0",
]


def bare(workspace: str) -> FastAPI:
    """The app."""
    index = FeatureStore.open(workspace, threads=1).index()
    tables = {name: index.table(name) for name in ("feature", "histogram", "logit", "example")}
    queries = [query.format(**tables) for query in QUERIES]
    tag, own, app = f'"{index.path.stem}"', threading.local(), FastAPI()

    @app.get("/{feature}.json")
    def one(request: Request, feature: int) -> Response:
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304)
        if not hasattr(own, "cursor"):
            own.cursor = index.cursor()
        rows = [own.cursor.execute(query, [feature]).fetchall() for query in queries]
        return Response(orjson.dumps(rows), headers={"ETag": tag}, media_type="application/json")

    return app


if __name__ == "__main__":
    config = uvicorn.Config(bare(sys.argv[1]), port=0, log_level="info", access_log=False)
    uvicorn.Server(config).run()
