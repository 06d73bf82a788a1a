"""`influencer-roi ui` as a reviewer sees it: opened in a browser, read as what the pages then show."""

import json
import re
from html import unescape
from urllib.parse import quote
from urllib.request import urlopen

import pytest

from tests.end_to_end.servers import opened

LIMIT_SECONDS = 60  # to reach the UI, as people were promised


@pytest.fixture(scope="module")
def ui(start):
    server = start("influencer-roi", "ui")
    print(f"UI answers after {server.wait_for('/health', seconds=LIMIT_SECONDS):.1f} s")
    return server


@pytest.fixture(scope="module")
def runs(ui):
    """The runs by name, the newest first, as the UI itself asks for them."""
    status, found = ui.ask("GET", "/api/2.0/mlflow/experiments/get-by-name?experiment_name=influencer-roi")
    assert status == 200
    experiment = found["experiment"]["experiment_id"]
    status, found = ui.ask("POST", "/api/2.0/mlflow/runs/search", {"experiment_ids": [experiment]})
    assert status == 200
    return {run["info"]["run_name"]: run for run in found["runs"]}


@pytest.fixture
def shown(ui, tmp_path):
    """A function that opens an address of the UI: the page's HTML, and its text."""

    def shows(path):
        html = opened(f"http://127.0.0.1:{ui.port}/#{path}", tmp_path / "browser")
        plain = re.sub(r"<(script|style)\b.*?</\1>", " ", html, flags=re.DOTALL)
        return html, " ".join(unescape(re.sub(r"<[^>]+>", " ", plain)).split())

    return shows


@pytest.fixture(scope="module")
def newest(runs):
    """The run of the version that is served, and where its pages are."""
    (name,) = (name for name in runs if name.startswith("train 2026-07-01"))
    info = runs[name]["info"]
    return runs[name], f"/experiments/{info['experiment_id']}/runs/{info['run_id']}"


def metrics(run):
    return {metric["key"]: metric["value"] for metric in run["data"]["metrics"]}


def test_the_list_shows_every_run(runs, newest, shown):
    experiment = newest[0]["info"]["experiment_id"]
    _, text = shown(f"/experiments/{experiment}/runs?workflowType=machine_learning")
    assert len(runs) == 2
    assert [name for name in runs if name not in text] == []
    assert "2 matching runs" in text


def test_the_page_of_a_run_shows_what_it_is_its_figures_and_its_version(newest, shown):
    run, path = newest
    html, text = shown(path)
    assert run["info"]["run_name"] in text
    assert "SYNTHETIC" in text
    assert len([name for name, value in metrics(run).items() if f"{name} {value}" in text]) > 3
    assert "/models/influencer-roi/versions/1" in html


def test_the_page_of_a_plot_shows_the_plot(ui, newest, shown):
    run, path = newest
    run_id = run["info"]["run_id"]
    plot = ui.ask("GET", f"/api/2.0/mlflow/artifacts/list?run_id={run_id}&path=plots")[1]["files"][0]["path"]
    html, text = shown(f"{path}/artifacts/{plot}")
    assert plot in text
    # MLflow's page fetches the file, and shows what it has got
    assert re.search(rf'<img[^>]* alt="{re.escape(plot)}"[^>]* src="blob:http://127\.0\.0\.1', html)
    file = f"http://127.0.0.1:{ui.port}/get-artifact?path={plot}&run_uuid={run_id}"
    with urlopen(file, timeout=60) as answer:
        assert answer.read(8) == b"\x89PNG\r\n\x1a\n"


def test_two_runs_stand_beside_each_other(runs, newest, shown):
    experiment = newest[0]["info"]["experiment_id"]
    ids = [run["info"]["run_id"] for run in runs.values()]
    _, text = shown(f"/compare-runs?runs={quote(json.dumps(ids))}&experiments={quote(json.dumps([experiment]))}")
    assert "Comparing 2 Runs from 1 Experiment" in text
    assert [name for name in runs if name not in text] == []
    for run in runs.values():
        assert len([name for name in metrics(run) if name in text]) > 3


def test_the_registry_shows_the_versions_with_their_aliases_and_verdicts(shown):
    html, text = shown("/models/influencer-roi")
    first = text.index("Version 1")
    assert text.index("Version 2") < first  # the newest above
    assert "challenger" in text[:first]
    assert "champion" in text[first:]
    assert "PROMOTE" in text[first:]
    assert "/models/influencer-roi/versions/1" in html
