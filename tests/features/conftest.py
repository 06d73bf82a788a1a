from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from features.check import Report, load_checked
from features.settings import Settings

Content = str | bytes | None

SOUND = {
    "creators.csv": (
        "creator_id,platform,username,person_id,country,language,niches,is_verified\n"
        "c1, TikTok ,ana,,sg,en,beauty|美妆,true\n"
        "c2,instagram,,,VN,vi, food ,no\n"
    ),
    "creator_snapshots.csv": (
        "creator_id,snapshot_at,follower_count,audience_credibility,price,price_currency,price_source\n"
        "c1,2024-12-01,12000,0.8,100,USD,Quoted\n"
        "c2,2024-12-01,5000,,,,\n"
    ),
    "campaigns.csv": (
        "campaign_id,brand_id,goal,starts_on,target_countries,platforms,budget,currency\n"
        "k1,b1,Conversion,2025-01-01,SG:0.7|MY:0.3,TikTok,1000,USD\n"
        "k2,b1,awareness,2025-02-01,VN,,,usd\n"
    ),
    "placements.csv": (
        "placement_id,campaign_id,creator_id,agreed_on,posted_at,fee,impressions,likes,saves,revenue,refunds\n"
        'p1,k1,c1,2025-01-05,2025-01-07T20:00:00+08:00,"1,200",5000,10,5,900,\n'
        "p2,k2,c2,,,80,3000,,,,\n"
    ),
}


@pytest.fixture
def sound() -> dict[str, Content]:
    return dict(SOUND)


@pytest.fixture
def write_folder(tmp_path: Path) -> Callable[[Mapping[str, Content]], Path]:
    def write(files: Mapping[str, Content]) -> Path:
        folder = tmp_path / "data"
        folder.mkdir()
        for name, content in files.items():
            if content is not None:
                (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return folder

    return write


@pytest.fixture
def checked(
    write_folder: Callable[[Mapping[str, Content]], Path], sound: dict[str, Content]
) -> Callable[[Mapping[str, Content]], Report]:
    """The report on the sound folder with some files replaced, added or (None) left out."""
    return lambda changes: load_checked(write_folder({**sound, **changes}), Settings())[1]


@pytest.fixture
def counts() -> Callable[..., list[int]]:
    """The counts of findings of one severity and place that have all the words."""

    def of(report: Report, severity: str, table: str, column: str | None, words: list[str]) -> list[int]:
        return [
            finding.count
            for finding in report.findings
            if (finding.severity, finding.table, finding.column) == (severity, table, column)
            and all(word in str(finding) for word in words)
        ]

    return of
