from pathlib import Path

import pytest

from features.contract import TABLES, columns

DOCS = Path(__file__).parents[2] / "docs" / "data.md"


@pytest.mark.parametrize("table", TABLES)
def test_the_docs_name_every_column_and_mark_the_required_ones(table):
    section = DOCS.read_text(encoding="utf-8").split(f"\n## {table}")[1].split("\n## ")[0]
    for column in columns(table).values():
        assert f"`{column.name}`" in section
        assert (f"`{column.name}`*" in section) == column.value_required, column.name
