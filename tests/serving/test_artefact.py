import json
import subprocess

import pytest

from serving.artefact import check_files, checksum, digest, digest_of, read_json, write_json


def test_what_was_written_is_read_with_its_digest(tmp_path):
    data = {"format": 3, "name": "tên, 名", "list": [1.5, None]}
    write_json(tmp_path, "a.json", data)
    read, found = read_json(tmp_path, "a.json")
    assert read == data
    assert found == digest_of(tmp_path, "a.json") == digest((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert len(found) == 64


def test_the_digest_is_one_that_sha256sum_checks(tmp_path):
    write_json(tmp_path, "a.json", {"a": 1})
    said = subprocess.run(["sha256sum", "--check", "a.json.sha256"], cwd=tmp_path, capture_output=True, check=False)
    assert (said.returncode, said.stdout) == (0, b"a.json: OK\n")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_json_is_not_written(tmp_path, value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path, "a.json", {"a": value})


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f / "a.json").write_text('{"a": 2}'), "a.json is not the file that was saved"),
        (lambda f: (f / "a.json").write_text('{"a"'), "a.json is not the file that was saved"),
        (lambda f: (f / "a.json").write_text(""), "a.json is not the file that was saved"),
        (lambda f: (f / "a.json.sha256").unlink(), "a.json.sha256 is missing: .*earlier version"),
        (lambda f: (f / "a.json.sha256").write_text(""), "a.json.sha256 is missing"),
        (lambda f: (f / "a.json.sha256").write_text("0 a.json"), "a.json is not the file that was saved"),
    ],
    ids=["other", "cut", "empty", "no digest", "empty digest", "other digest"],
)
def test_a_file_that_is_not_the_one_written_is_refused(tmp_path, spoil, words):
    write_json(tmp_path, "a.json", {"a": 1})
    spoil(tmp_path)
    with pytest.raises(ValueError, match=words):
        read_json(tmp_path, "a.json")


def test_a_file_that_is_gone_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path, "a.json")
    assert digest_of(tmp_path, "a.json") is None


def test_checksums_tell_any_change(tmp_path, monkeypatch):
    monkeypatch.setattr("serving.artefact._BLOCK", 8)
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(bytes(range(100)))
    two.write_bytes(b"")
    sums = {name: checksum(tmp_path / name) for name in ("one", "two")}
    check_files(tmp_path, sums)
    for changed in (bytes(range(99)), bytes(reversed(range(100))), bytes(range(100)) + b"\0", b""):
        one.write_bytes(changed)
        with pytest.raises(ValueError, match="one is not the file that was saved"):
            check_files(tmp_path, sums)
    one.unlink()
    with pytest.raises(FileNotFoundError):
        check_files(tmp_path, json.loads(json.dumps(sums)))


def test_a_checksum_does_not_go_by_the_pieces_read(tmp_path, monkeypatch):
    path = tmp_path / "one"
    path.write_bytes(bytes(range(256)) * 5)
    whole = checksum(path)
    for size in (1, 7, 1280, 1281):
        monkeypatch.setattr("serving.artefact._BLOCK", size)
        assert checksum(path) == whole
