import io
import os
from pathlib import Path

import pytest
from rich.console import Console

from features.check import check, load_checked, render
from features.reading import read_folder
from features.settings import Settings

SHARED = Path(os.environ.get("INFLUENCER_ROI_SHARED_DATA") or Path(__file__).parents[3] / "shared" / "data")

PLACEMENTS = "placement_id,campaign_id,creator_id,agreed_on,posted_at,fee,impressions,revenue,settled_at\n"
SNAPSHOTS = "creator_id,snapshot_at,follower_count,sponsored_share\n"
AUDIENCE = "creator_id,snapshot_at,dimension,code,weight\n"

SOUND_CHANGES = [
    {},
    {"README.md": "about this data"},
    {"creator_audience.csv": AUDIENCE + "c1,2024-01-01,country,SG,0.99\nc1,2024-01-01,country,MY,0.02\n"},
    {"creator_audience.csv": AUDIENCE + "c1,2024-01-01,interest,food,0.9\nc1,2024-01-01,interest,travel,0.9\n"},
    {"placements.csv": PLACEMENTS + "p1,k1,c1,2025-01-01,2025-01-09T10:00:00Z,1,,,2025-01-09\n"},
    {"creator_snapshots.csv": SNAPSHOTS + "c1,2025-01-04T23:00:00Z,5,\nc2,2024-12-01,5,1\n"},
    {"creators.csv": "creator_id,platform,person_id\nc1,tiktok,ana\nc2,weibo,ana\n"},
    {"placements.csv": PLACEMENTS + "p1,k1,c1,,2025-01-08,1,5,0,\np2,k2,c1,,2025-01-08,1,5,0,\n"},
    {"placements.csv": PLACEMENTS + "p1,k2,c1,,,,5,,\n"},
]


@pytest.mark.parametrize("changes", SOUND_CHANGES)
def test_nothing_is_said_of_sound_data(checked, changes):
    report = checked(changes)
    assert report.findings == (), "\n".join(map(str, report.findings))
    assert report.ok


def test_a_missing_table_does_not_make_every_row_an_orphan(checked):
    report = checked({"creators.csv": None})
    assert [finding.table for finding in report.errors] == ["creators"]


def test_only_the_first_ids_are_named(checked):
    rows = "".join(f"p{i},k1,c1,,,-1,,,\n" for i in range(8))
    report = checked({"placements.csv": PLACEMENTS + rows})
    (finding,) = report.errors
    assert (finding.count, finding.ids) == (8, ("p0", "p1", "p2", "p3", "p4"))
    assert "(8 rows: p0, p1, p2, p3, p4, ...)" in str(finding)


def test_checking_changes_nothing(write_folder, sound):
    tables, findings = read_folder(write_folder(sound), Settings())
    before = {name: frame.clone() for name, frame in tables.by_name().items()}
    check(tables, findings, Settings())
    assert all(frame.equals(before[name]) for name, frame in tables.by_name().items())


def rendered(report):
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(render(report))
    return console.export_text()


def test_the_report_reads_as_text(checked):
    rows = PLACEMENTS + "p[red],k1,c1,2025-01-05,,-1,,,\np2,k2,c1,2025-03-05,,1,,,\n"
    changes = {"placements.csv": rows, "zodiac.csv": "a\n1\n"}
    text = rendered(checked(changes))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "placements 2 2025-01-05 2025-03-05" in lines
    assert "fx none" in lines
    assert "Base currency USD." in lines
    assert lines.index("Errors (1)") < lines.index("Warnings (1)")
    assert any(line.startswith("- placements.fee: negative") and "p[red]" in line for line in lines)
    assert "Not usable yet: mend the 1 error above, then check again." in lines


def test_a_sound_report_says_so(checked):
    text = rendered(checked({}))
    assert "Usable: nothing wrong was found." in text
    assert "Errors" not in text


@pytest.mark.parametrize(
    ("name", "base", "words"),
    [
        (
            "tiktokshop-vn",
            "VND",
            ["undated profiles", "commission only, 8.0%", "constant by construction", "but no revenue", "2025-04-01"],
        ),
        ("online-ads-performance", "USD", []),
    ],
)
def test_real_data(name, base, words):
    folder = SHARED / name / "contract"
    if not folder.is_dir():
        pytest.skip(f"shared data not there: {name}/contract (INFLUENCER_ROI_SHARED_DATA names the folder)")
    _, report = load_checked(folder, Settings())
    assert report.ok, "\n".join(map(str, report.errors))
    assert report.base_currency == base
    said = "\n".join(map(str, report.warnings))
    assert [word for word in words if word not in said] == []
    assert bool(report.warnings) == bool(words)


@pytest.mark.parametrize(
    ("placements", "words"),
    [
        ("placement_id,campaign_id,creator_id,fee,impressions,revenue\np,k1,c1,,5,6\n", "no fee is known"),
        ("placement_id,campaign_id,creator_id,fee,revenue\np,k1,c1,1,6\n", "no impressions known: goals awareness"),
        ("placement_id,campaign_id,creator_id,fee,impressions\np,k1,c1,1,6\n", "no revenue known: goals conversion"),
        ("placement_id,campaign_id,creator_id,fee,impressions\np,k1,c1,1,6\n", "1 placements know an outcome: 50"),
    ],
)
def test_what_is_missing_is_said_without_a_warning(checked, placements, words):
    report = checked({"placements.csv": placements})
    assert any(words in line for line in report.missing), report.missing
    assert not any(words in str(finding) for finding in report.findings)
