"""Files in batches read as the whole file does."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from features import batches
from features.reading import read_table, typed

CSV = {
    "blank lines first": b"\n\nplatform,creator_id\ntiktok,007\n",
    "a byte order mark": b"\xef\xbb\xbfcreator_id,platform\n007,tiktok\n",
    "blank lines between": b"creator_id,platform\n\n007,tiktok\n\n\n8,x\n\n",
    "Windows line ends": b"creator_id,platform\r\n007,tiktok\r\n8,x\r\n",
    "no line end": b"creator_id,platform\n007,tiktok",
    "line ends and commas in quotes": b'creator_id,platform,username\n7,x,"a\n""b"",\n\nc"\n8,y,\n9,z,"\n"\n',
    "a trailing comma": b"creator_id,platform,\n7,x,\n8,y,\n",
    "a column without a name": b"creator_id,platform,\n7,x,\n8,y,5\n",
    "short lines": b"creator_id,platform,username\n7,x\n8\n9,z,u\n",
    "a header without a line end": b"creator_id,platform",
    "an open quote": b'creator_id,platform\n7,x\n8,"y\n9,z\n10,u\n',
}


@pytest.mark.parametrize("case", CSV)
@pytest.mark.parametrize("size", [1, 9, 1000])
def test_csv_in_batches_reads_as_the_whole_file(tmp_path, case, size):
    path = tmp_path / "creators.csv"
    path.write_bytes(CSV[case])
    whole, findings = read_table("creators", path)

    def parts():
        return [typed("creators", raw)[0] for raw in batches.raw_batches("creators", path, rows=1, size=size)]

    if whole is None:
        with pytest.raises(batches.Unreadable) as caught:
            parts()
        assert str(caught.value).split(" (")[0] in findings[0].message
    else:
        assert_frame_equal(pl.concat(parts()), whole)


def test_a_quote_that_is_never_closed_is_named_before_memory_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(batches, "LONGEST_RECORD", 3000)
    path = tmp_path / "creators.csv"
    path.write_bytes(b'creator_id,platform\n7,x\n8,"y\n' + b"9,z\n" * 50_000)
    with pytest.raises(batches.Unreadable, match=r"from line 3 on: a double quote there is not closed"):
        list(batches.raw_batches("creators", path, rows=1, size=500))


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_parquet_in_batches_reads_as_the_whole_file(tmp_path, rows):
    path = tmp_path / "creators.parquet"
    frame = pl.DataFrame({"creator_id": range(10), "niches": [["a", "b"]] * 5 + [None] * 5, "country": [None] * 10})
    frame.write_parquet(path, row_group_size=4)
    parts = list(batches.raw_batches("creators", path, rows=rows, size=1))
    assert max(part.height for part in parts) <= max(rows, 4)
    assert_frame_equal(pl.concat([typed("creators", part)[0] for part in parts]), read_table("creators", path)[0])
