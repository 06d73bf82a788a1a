"""How fast briefs are answered, how soon and within how much memory: SYNTHETIC creators, each figure beside a baseline.

`python -m benchmarks.serving [--sizes 100000,1000000] [--huge] [--quick] [--only cpu,scoring,http,load,start]
[--models shipped,big] [--work DIR]`. The model is trained on `influencer-roi sample` as it comes, and a big one made
of it; creators are drawn from the sample's. With `--work` all that is kept and found again by the next run.
"""

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

SECTIONS = ("cpu", "scoring", "http", "load", "start", "huge")
# as a worker of the server has it, for everything that is timed; read when the libraries load
ENVIRONMENT = {"OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def main() -> None:
    os.environ.update(ENVIRONMENT)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that servers are ended too
    asked = arguments()
    if asked.work:
        asked.work.mkdir(parents=True, exist_ok=True)
        measure(asked, asked.work.resolve())
    else:
        with tempfile.TemporaryDirectory() as temporary:
            measure(asked, Path(temporary))


def measure(asked: argparse.Namespace, work: Path) -> None:
    from benchmarks import serving_cpu, serving_http
    from benchmarks.serving_report import Report

    report = Report()
    sizes, models, quick = asked.sizes, asked.models, asked.quick
    if "cpu" in asked.only:
        serving_cpu.answers(report, work, sizes, models, quick)
    if "scoring" in asked.only:
        serving_cpu.scoring(report, work, sizes, models, quick)
    if "http" in asked.only:
        serving_http.latency(report, work, sizes, models, quick)
    if "load" in asked.only:
        serving_http.load(report, work, sizes[0], models[0], quick)
    if "start" in asked.only:
        serving_http.start(report, work, sizes, models[0], quick)
    if asked.huge or asked.only == ["huge"]:
        serving_cpu.huge(report, work, models[:1] if quick else models)
    report.summary()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=_numbers, default=[100_000, 1_000_000], help="creators of the catalogues")
    parser.add_argument("--models", type=_words("shipped", "big"), default=["shipped", "big"])
    parser.add_argument("--only", type=_words(*SECTIONS), default=list(SECTIONS), help=", ".join(SECTIONS))
    parser.add_argument("--huge", action="store_true", help="also ten million creators (10 GB of disk)")
    parser.add_argument("--quick", action="store_true", help="few repetitions: to see that it runs")
    parser.add_argument("--work", type=Path, help="folder for market, home and catalogues; default: a temporary one")
    return parser.parse_args()


def _numbers(text: str) -> list[int]:
    return [int(float(part)) for part in text.split(",")]


def _words(*known: str):
    def chosen(text: str) -> list[str]:
        words = text.split(",")
        if unknown := [word for word in words if word not in known]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: known are {', '.join(known)}")
        return words

    return chosen


if __name__ == "__main__":
    main()
