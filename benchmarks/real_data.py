"""Real data beside simple rules: `python -m benchmarks.real_data [--data DIR] [--markdown FILE]`.

The data are not part of the project (no source states a licence); without them this says so and ends well.
"""

import argparse
import os
from pathlib import Path

from rich.console import Console

from benchmarks import real_ads, real_vn
from benchmarks.real_compare import Table

VARIABLE = "INFLUENCER_ROI_SHARED_DATA"
VN, ADS = "tiktokshop-vn", "online-ads-performance"


def shared_data() -> Path:
    """The folder of the real data: beside the project, or where the environment says."""
    return Path(os.environ.get(VARIABLE) or Path(__file__).resolve().parents[2] / "shared" / "data")


def tables(data: Path) -> list[Table]:
    """Every table, of the data sets that are there."""
    found: list[Table] = []
    if (data / VN / "contract").is_dir():
        found += real_vn.report(data / VN / "contract")
    if (data / ADS / "contract").is_dir():
        found += real_ads.report(data / ADS / "contract")
    return found


def main() -> None:
    """Print the tables, and write them where asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_data", description=main.__doc__)
    parser.add_argument("--data", type=Path, default=shared_data(), help=f"default ../shared/data, or {VARIABLE}")
    parser.add_argument("--markdown", type=Path, help="write the tables here as well")
    asked = parser.parse_args()
    console = Console()
    absent = [name for name in (VN, ADS) if not (asked.data / name / "contract").is_dir()]
    if absent:
        console.print(f"No real data in {asked.data}: {', '.join(absent)} not there. Nothing to judge on them.")
    found = tables(asked.data)
    for table in found:
        console.print(table.rich())
        console.print()
    if asked.markdown and found:
        asked.markdown.write_text("\n\n".join(table.markdown() for table in found) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
