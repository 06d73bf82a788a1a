"""Cells of one column, as found in CSV (strings) or Parquet (native types), to the column's declared type.

`parse` never raises: a cell it cannot read becomes null and is marked in the mask it returns.
"""

import polars as pl

from features.kinds import DATETIME, WEIGHTED, Kind

_GROUPED = r"^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$"
_DATE = r"^\d{4}-\d{2}-\d{2}$"
_TIME = r"^(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2})(:\d{2})?([.,]\d+)? ?(?:[Zz]|([+-])(\d{2}):?(\d{2})?)?$"
_FLAGS = {"true": True, "1": True, "1.0": True, "yes": True, "false": False, "0": False, "0.0": False, "no": False}


def parse(raw: pl.Series, kind: Kind) -> tuple[pl.Series, pl.Series]:
    """Read `raw` as `kind`: the values in `kind.dtype` and a mask of cells that could not be read.

    >>> from features.contract import columns
    >>> values, bad = parse(pl.Series(["1,234", " 12.5 ", "12k", ""]), columns("placements")["fee"].kind)
    >>> values.to_list(), bad.to_list()
    ([1234.0, 12.5, None, None], [False, False, True, False])
    """
    match kind.shape:
        case "number":
            values = _numbers(raw)
        case "timestamp":
            values = _timestamps(raw)
        case "flag":
            # An unfit native type has no text either: every cell of it is then marked below.
            values = text(raw).str.to_lowercase().replace_strict(_FLAGS, default=None, return_dtype=pl.Boolean)
        case "text":
            values = _fold(text(raw), kind)
        case "list":
            values = _lists(raw, kind)
        case "weighted":
            return _weighted(raw, kind)
    return values, present(raw) & values.is_null() & _says_something(raw, kind)


def present(raw: pl.Series) -> pl.Series:
    """Which cells hold anything: not null, not blank.

    >>> present(pl.Series(["a", " ", None])).to_list()
    [True, False, False]
    """
    if raw.dtype == pl.String:
        return raw.str.strip_chars().str.len_bytes().fill_null(0) > 0
    return raw.is_not_null()


def text(raw: pl.Series) -> pl.Series:
    """Cells as stripped text, blank as null; whole numbers without a decimal part.

    >>> text(pl.Series([7.0, None])).to_list()
    ['7', None]
    """
    if raw.dtype.is_float():
        # Integers with gaps come as floats from pandas: "7.0" would match no other table's "7".
        whole = raw.is_finite() & (raw == raw.floor()) & (raw.abs() < 2**53)
        as_whole = pl.select(pl.when(whole).then(raw).otherwise(None)).to_series().cast(pl.Int64, strict=False)
        return as_whole.cast(pl.String).fill_null(raw.cast(pl.String))
    if raw.dtype.is_nested():
        return pl.Series(raw.name, [None] * len(raw), dtype=pl.String)
    stripped = raw.cast(pl.String, strict=False).str.strip_chars()
    return stripped.set(stripped == "", None)


def _fold(values: pl.Series, kind: Kind) -> pl.Series:
    if kind.fold is None:
        return values
    return values.str.to_uppercase() if kind.fold == "upper" else values.str.to_lowercase()


def _numbers(raw: pl.Series) -> pl.Series:
    if raw.dtype.is_numeric():
        values = raw.cast(pl.Float64, strict=False)
    elif raw.dtype.is_nested() or raw.dtype.is_temporal() or raw.dtype == pl.Boolean:
        return pl.Series(raw.name, [None] * len(raw), dtype=pl.Float64)
    else:
        words = text(raw)
        values = words.cast(pl.Float64, strict=False)
        if (values.is_null() & words.is_not_null()).any():
            grouped = words.set(~words.str.contains(_GROUPED), None).str.replace_all(",", "", literal=True)
            values = values.fill_null(grouped.cast(pl.Float64, strict=False))
    return values.set(~values.is_finite(), None)


def _timestamps(raw: pl.Series) -> pl.Series:
    if raw.dtype == pl.Date:
        return raw.cast(DATETIME)
    if isinstance(raw.dtype, pl.Datetime):
        if raw.dtype.time_zone is not None:
            raw = raw.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return raw.cast(DATETIME)
    if raw.dtype.is_nested() or raw.dtype.is_numeric() or raw.dtype == pl.Boolean:
        return pl.Series(raw.name, [None] * len(raw), dtype=DATETIME)
    words = text(raw).alias("words")
    # The pattern comes first because the parser alone takes 2024-1-1 and other near-dates.
    days = words.set(~words.str.contains(_DATE), None).str.to_datetime("%Y-%m-%d", strict=False, time_unit="us")
    if (days.is_null() & words.is_not_null()).any():
        days = days.fill_null(_moments(words))
    return days.alias(raw.name)


def _moments(words: pl.Series) -> pl.Series:
    """Date-times with an optional fraction and offset, as naive UTC."""
    parts = words.str.extract_groups(_TIME).struct
    day, minute, second, fraction, sign, hours, minutes = (parts.field(name) for name in parts.fields)
    clock = day + " " + minute + second.fill_null(":00") + fraction.fill_null("").str.replace(",", ".", literal=True)
    local = clock.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", strict=False, time_unit="us")
    offset = hours.cast(pl.Int64).fill_null(0) * 60 + minutes.cast(pl.Int64).fill_null(0)
    frame = pl.DataFrame({"local": local, "offset": offset, "east": sign != "-"})
    signed = pl.when("east").then(pl.col("offset")).otherwise(-pl.col("offset"))
    east = pl.when(pl.col("east").is_null()).then(0).otherwise(signed)
    return frame.select(pl.col("local") - pl.duration(minutes=east)).to_series()


def _lists(raw: pl.Series, kind: Kind) -> pl.Series:
    """Lists of stripped, non-blank texts; an empty list is null."""
    elements = _elements(raw)
    if elements is None or elements.schema["item"].is_nested():
        return pl.Series(raw.name, [None] * len(raw), dtype=pl.List(pl.String))
    items = elements.with_columns(_fold(text(elements["item"]), kind).alias("item")).drop_nulls("item")
    return _gathered(items, "item", len(raw)).alias(raw.name)


def _weighted(raw: pl.Series, kind: Kind) -> tuple[pl.Series, pl.Series]:
    """Lists of (code, weight); a code without a weight weighs 1. Unreadable: no code, or no number above 0."""
    elements = _elements(raw)
    item = None if elements is None else elements.schema["item"]
    unfit = isinstance(item, pl.Struct) and {field.name for field in item.fields} != {"code", "weight"}
    if elements is None or unfit:
        return pl.Series(raw.name, [None] * len(raw), dtype=WEIGHTED), present(raw)
    if isinstance(item, pl.Struct):
        elements = elements.drop_nulls("item")
        codes, weights = elements["item"].struct.field("code"), elements["item"].struct.field("weight")
    else:
        elements = elements.with_columns(text(elements["item"]).alias("item")).drop_nulls("item")
        halves = elements["item"].str.splitn(":", 2).struct
        codes, weights = halves.field("field_0"), halves.field("field_1")
    amounts = pl.select(pl.when(weights.is_null()).then(1.0).otherwise(_numbers(weights))).to_series()
    codes = _fold(text(codes), kind)
    wrong = (codes.is_null() | amounts.is_null() | (amounts <= 0)).fill_null(value=True)
    pairs = elements.select("row", pl.struct(codes.alias("code"), amounts.alias("weight")).alias("item"))
    bad = pl.Series(range(len(raw)), dtype=pl.UInt32).is_in(elements.filter(wrong)["row"].unique().implode())
    return _gathered(pairs, "item", len(raw)).set(bad, None).cast(WEIGHTED).alias(raw.name), bad


def _elements(raw: pl.Series) -> pl.DataFrame | None:
    """One row an element (row, item); None where the native type is no list and no text."""
    if raw.dtype == pl.Null or (not raw.dtype.is_nested() and not raw.dtype.is_numeric()):
        raw = text(raw).str.split("|")
    elif not isinstance(raw.dtype, pl.List | pl.Array):
        return None
    frame = pl.DataFrame({"item": raw}).with_row_index("row").with_columns(pl.col("row").cast(pl.UInt32))
    return frame.explode("item").drop_nulls("item")


def _gathered(items: pl.DataFrame, column: str, rows: int) -> pl.Series:
    """Elements back into one list a row, in their order; rows without any are null."""
    lists = items.group_by("row", maintain_order=True).agg(pl.col(column))
    index = pl.DataFrame({"row": pl.Series(range(rows), dtype=pl.UInt32)})
    return index.join(lists, on="row", how="left", maintain_order="left")[column]


def _says_something(raw: pl.Series, kind: Kind) -> pl.Series:
    """False for lists that are empty or hold only separators: nothing said is missing, not wrong."""
    if kind.shape != "list":
        return pl.repeat(value=True, n=len(raw), eager=True)
    if isinstance(raw.dtype, pl.List):
        return raw.list.drop_nulls().list.len().fill_null(0) > 0
    if raw.dtype == pl.String:
        return raw.str.contains(r"[^|\s]").fill_null(value=False)
    return raw.is_not_null()
