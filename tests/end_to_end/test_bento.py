"""The built bento, booted and asked: that the packed code is enough, and that nothing else is packed."""

import ast
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
BROUGHT = {"annotated-types", "pydantic-core", "rich"}  # by packages that are named: pydantic, bentoml
BRIEF = {"goal": "conversion", "budget": 20000, "target_countries": {"SG": 0.7, "MY": 0.3}, "top": 5}


@pytest.fixture(scope="module")
def store(place, tmp_path_factory):
    """A BENTOML_HOME that holds the built bento."""
    folder = tmp_path_factory.mktemp("bento")
    ran = subprocess.run(
        [Path(sys.executable).with_name("bentoml"), "build"],
        env={**place.environment(), "BENTOML_HOME": str(folder), "BENTOML_DO_NOT_TRACK": "True"},
        cwd=ROOT, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return folder


@pytest.fixture(scope="module")
def bento(store):
    version = (store / "bentos" / "influencer_roi" / "latest").read_text().strip()
    return store / "bentos" / "influencer_roi" / version


def test_the_bento_packs_what_serves_and_nothing_else(bento):
    packed = {str(path.relative_to(bento / "src")) for path in (bento / "src").rglob("*") if path.is_file()}
    sources = {str(path.relative_to(ROOT)) for name in ("features", "serving") for path in (ROOT / name).glob("*.py")}
    assert packed == sources | {"bentofile.yaml", "pyproject.toml"}
    assert sum(path.stat().st_size for path in bento.rglob("*") if path.is_file()) < 2_000_000


def test_the_bento_states_its_service_its_packages_and_no_model(bento):
    said = yaml.safe_load((bento / "bento.yaml").read_text())
    assert (said["service"], said["models"]) == ("serving.service:InfluencerROI", [])
    assert sorted(route["route"] for route in said["schema"]["routes"]) == ["/v1/plan", "/v1/rank"]
    installed = (bento / "env" / "python" / "requirements.txt").read_text()
    assert "lightgbm==" in installed
    assert "highspy==" in installed
    assert "mlflow" not in installed
    assert "libgomp1" in (bento / "env" / "docker" / "Dockerfile").read_text()


def canonical(package):
    return package.lower().replace("_", "-")


def test_the_bento_installs_all_that_the_packed_code_imports(bento):
    """What only some request needs is imported when it is asked for: a boot would not show that it lacks."""
    imported = set()
    for path in (bento / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {name.name.split(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module.split(".")[0])
    others = imported - sys.stdlib_module_names - {"features", "serving"}
    assert {"highspy", "lightgbm", "polars"} <= others
    provided = packages_distributions()
    said = yaml.safe_load((bento / "src" / "bentofile.yaml").read_text())
    packages = {canonical(package.split("==")[0]) for package in [*said["python"]["packages"], *BROUGHT]}
    assert {name for name in others if not packages & {canonical(one) for one in provided[name]}} == set()


@pytest.fixture(scope="module")
def packed_code(bento):
    """The packed code says of itself that it is the packed code: the source tree is installed here too."""
    service = bento / "src" / "serving" / "service.py"
    packed = service.read_text()
    assert packed.count('"there are POST /v1/rank') == 1
    service.write_text(packed.replace('"there are POST /v1/rank', '"in this bento there are POST /v1/rank'))


@pytest.mark.usefixtures("packed_code")
def test_the_bento_answers_from_the_home_it_is_given(store, start):
    server = start("bentoml", "serve", "influencer_roi:latest", more={"BENTOML_HOME": str(store)})
    print(f"bento ready after {server.wait_for('/readyz'):.1f} s")
    status, answer = server.ask("POST", "/v1/rank", BRIEF)
    assert (status, answer["model_version"], len(answer["picks"])) == (200, "1", 5)
    status, answer = server.ask("POST", "/v1/plan", {**BRIEF, "plan": {"max_creators": 4}})
    assert (status, answer["model_version"], 0 < len(answer["plan"]["picks"]) <= 4) == (200, "1", True)
    assert answer["plan"]["solved"]["method"] == "optimal"
    assert server.ask("GET", "/v1/model")[1]["synthetic"] is True
    assert "in this bento there are POST /v1/rank" in server.ask("GET", "/v2")[1]["error"]["message"]


@pytest.mark.usefixtures("packed_code")
def test_the_bento_on_an_empty_home_says_which_command_to_run(store, start, tmp_path):
    server = start("bentoml", "serve", "influencer_roi:latest", home=tmp_path, more={"BENTOML_HOME": str(store)})
    server.wait_for("/livez")
    for method, path, body in (("POST", "/v1/rank", BRIEF), ("GET", "/readyz", None)):
        status, said = server.ask(method, path, body)
        assert status == 503
        assert "influencer-roi train DIR" in said["error"]["message"]
    assert list(tmp_path.iterdir()) == []
