"""Budget plans as one page that needs nothing else: no scripts, no fonts, no pictures from elsewhere."""

from collections.abc import Iterable, Sequence
from html import escape

from serving.plan_answers import PlanAnswer
from training import plan_words
from training.plan_charts import charts
from training.plan_words import TextTable

# The browser loads nothing, whatever a name might make of the page.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1c1c1c; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.25rem; margin-top: 3rem; border-top: 2px solid #ddd; padding-top: 1rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
.synthetic { background: #fff3cd; border: 1px solid #d9b44a; padding: .4rem .8rem; font-weight: 600; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; }
th, td { border-bottom: 1px solid #ddd; padding: .3rem .6rem; text-align: left; vertical-align: top; }
th { border-bottom: 2px solid #999; } .number { text-align: right; font-variant-numeric: tabular-nums; }
figure { margin: 1.6rem 0; } figcaption { font-weight: 600; margin-bottom: .4rem; }
svg { max-width: 100%; height: auto; background: #fff; font: 12px system-ui, sans-serif; fill: #1c1c1c; }
svg text { unicode-bidi: isolate; }
"""


def page(answers: Sequence[PlanAnswer]) -> str:
    """All plans, one below another, as an HTML document."""
    title = "Budget plan" if len(answers) == 1 else f"{len(answers)} budget plans"
    if any(plan_words.synthetic(answer) for answer in answers):
        title += " - SYNTHETIC DATA"
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style>"
    )
    body = f"<h1>{title}</h1>" + "".join(_plan(answer) for answer in answers)
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def _plan(answer: PlanAnswer) -> str:
    made_up = "SYNTHETIC DATA: every creator, brand and number here is invented."
    parts = [
        f"<h2>{escape(plan_words.head(answer))}</h2>",
        f'<p class="synthetic">{made_up}</p>' if plan_words.synthetic(answer) else "",
        _list(plan_words.summary(answer)),
        *charts(answer),
        _table(plan_words.pick_table(answer)),
        _table(plan_words.alternatives_table(answer)),
        "<h3>Conclusions</h3>",
        _list(plan_words.conclusions(answer)),
        _table(plan_words.sensitivity_table(answer)),
        "<h3>Notes</h3>",
        _list([*answer.notes, *plan_words.basis(answer)]),
    ]
    return f"<section>{''.join(parts)}</section>"


def _table(table: TextTable) -> str:
    kinds = ["number" if table.is_numeric(column) else "words" for column in table.columns]
    head = _row("th", kinds, table.columns)
    rows = "".join(_row("td", kinds, row) for row in table.rows)
    drawn = f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"
    return f'<h3>{escape(table.title)}</h3><div class="wide">{drawn}</div>'


def _row(tag: str, kinds: Sequence[str], cells: Sequence[str]) -> str:
    # what is written from right to left must not turn round what stands beside it
    written = (
        f'<{tag} class="{kind}"><bdi>{escape(cell)}</bdi></{tag}>' for kind, cell in zip(kinds, cells, strict=True)
    )
    return f"<tr>{''.join(written)}</tr>"


def _list(lines: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in lines)}</ul>"
