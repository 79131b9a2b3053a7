"""Puts what a run has measured into docs/performance.md: the tables between its marks, the figures and plots beside it."""

import json
import re

from systems import ROOT

PAGE = ROOT / "docs/performance.md"
FIGURES = ROOT / "docs/performance"


def fill(name, text):
    """Replaces what stands between the page's two marks of this name."""
    page = PAGE.read_text()
    begin, end = f"<!-- bench {name} -->", f"<!-- /bench {name} -->"
    marked = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if len(marked.findall(page)) != 1:
        raise ValueError(f"{PAGE} has no mark {begin}")
    PAGE.write_text(marked.sub(lambda _: f"{begin}\n{text.strip()}\n{end}", page))


def keep(name, result):
    """Every single figure, as JSON, one measurement a line."""
    FIGURES.mkdir(exist_ok=True)
    rows = {key: value for key, value in result.items() if key != "rounds"}
    rounds = ",\n  ".join(json.dumps(row) for row in result.get("rounds", []))
    text = json.dumps(rows, indent=1)
    (FIGURES / f"{name}.json").write_text(f'{text[:-2]},\n "rounds": [\n  {rounds}\n ]\n}}\n' if rounds else text + "\n")


def without_heading(table):
    """The table alone: the page has headings of its own."""
    return table[table.index("| ") :]
