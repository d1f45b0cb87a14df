"""How long the test box takes: a feature's activations and the effect of removing it, over HTTP from a real uvicorn.

    python benchmarks/live_box.py WORKSPACE --out benchmarks/results/live_box.json

WORKSPACE is one that `saebench demo` made; it is only read. Texts of several lengths, the strongest feature of each,
the same request again and again from one client after a warm-up; the server is a process of its own.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import httpx
from markdown import markdown
from timing import machine

SOURCE = """def read_config(path, encoding='utf-8'):
    \"\"\"Return the settings in a file as a dictionary.\"\"\"
    with open(path, encoding=encoding) as file:
        lines = [line.strip() for line in file if not line.startswith('#')]
    return dict(line.split('=', 1) for line in lines if line)


class Reader:
    def __init__(self, path):
        self.path = path
        self.settings = read_config(path)

"""
LENGTHS = (16, 64, 256, 512)
TARGET = {"tokens": 64, "milliseconds": 250}


def of_length(client: httpx.Client, n_tokens: int) -> tuple[str, int]:
    """A text of so many tokens, as the prompt page counts them,, and its strongest feature."""
    text = SOURCE * (n_tokens // 60 + 1)
    low, high = 1, min(len(text), 4000)  # the prompt page takes 4,000 characters
    while low < high:
        middle = (low + high) // 2
        answer = client.get("/prompt.json", params={"text": text[:middle]}).json()
        low, high = (middle + 1, high) if answer["n_tokens"] < n_tokens else (low, middle)
    answer = client.get("/prompt.json", params={"text": text[:low]}).json()
    return text[:low], answer["features"][0]["feature"]


def measure(client: httpx.Client, n_tokens: int, repetitions: int) -> dict[str, float]:
    """Milliseconds of one length."""
    text, feature = of_length(client, n_tokens)
    sae = client.get("/prompt.json", params={"text": "x"}).json()["sae"]
    times = []
    for repetition in range(-5, repetitions):
        begun = time.perf_counter()
        answer = client.post(f"/saes/{sae}/features/{feature}/live", json={"text": text})
        spent = 1e3 * (time.perf_counter() - begun)
        answer.raise_for_status()
        if repetition >= 0:
            times.append(spent)
    at = statistics.quantiles(times, n=20)
    return {
        "tokens": n_tokens,
        "median_ms": statistics.median(times),
        "p95_ms": at[18],
        "kB": len(answer.content) / 1e3,
    }


def report(result: dict) -> str:
    """The results as Markdown."""
    rows = [[r["tokens"], f"{r['median_ms']:.0f}", f"{r['p95_ms']:.0f}", f"{r['kB']:.0f}"] for r in result["rows"]]
    on = result["machine"]
    return "\n".join(
        [
            "# The test box", "",
            "One feature on a text: its activation at every token and the effect of removing it on the loss and on the "
            "next-token probabilities, as the page asks for it (HTML), from one client over HTTP, the model warm. "
            f"The aim is {TARGET['milliseconds']} ms for {TARGET['tokens']} tokens on the bundled model.", "",
            *markdown(["tokens", "median, ms", "p95, ms", "answer, kB"], rows), "",
            f"{result['repetitions']} requests each. {on['cpu']}, {on['threads']} threads, torch {on['torch']}, "
            f"load average before {on['load_average_before']}, {on['date']}.", "",
            "`python benchmarks/live_box.py WORKSPACE --out benchmarks/results/live_box.json`", "",
        ]
    )  # fmt: skip


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("workspace", type=Path)
    arguments.add_argument("--repetitions", type=int, default=60)
    arguments.add_argument("--out", type=Path, required=True)
    given = arguments.parse_args()
    on = machine()
    command = [sys.executable, "-m", "saebench", "serve", "--workspace", str(given.workspace), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            address = re.search(r"http://\S+?(?=/\s)", server.stdout.readline())
            assert address, "the server did not say where it listens"
            with httpx.Client(base_url=address[0], timeout=120) as client:
                rows = [measure(client, n, given.repetitions) for n in LENGTHS]
        finally:
            server.terminate()
    result = {"machine": on, "repetitions": given.repetitions, "rows": rows}
    given.out.write_text(json.dumps(result, indent=1) + "\n")
    given.out.with_suffix(".md").write_text(report(result))
    print(report(result))


if __name__ == "__main__":
    main()
