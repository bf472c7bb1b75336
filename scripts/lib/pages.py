"""The places in README.md and docs/ that are made from a record: between `<!-- gpu NAME -->` and `<!-- end -->`.

A place in a line is filled in that line. A place whose markers stand on lines of their own is filled with lines of its own, of
at most 120 columns.
"""

import os
import pathlib
import re
import textwrap

from lib.common import ROOT, Failure, in_words, shown
from lib.markdown import NAMES, machine, milliseconds, steps_table

PERFORMANCE = ROOT / "docs" / "performance.md"
PAGES = [ROOT / "README.md", PERFORMANCE]
COLUMNS = 120
UNKNOWN = "not measured"
PLACE = re.compile(r"(<!-- gpu ([a-z0-9-]+) -->)(.*?)(<!-- end -->)", re.DOTALL)


def rows_of(record, part):
    return record["parts"].get(part, {}).get("rows", [])


def own_rows(record):
    return [row for row in rows_of(record, "steps") if row["contender"] == "retrospect" and milliseconds(row)]


def step_of_256(record, contender):
    """The training step of the pages' usual size in f32."""
    for row in rows_of(record, "steps"):
        size = (row["hidden"], row["batch"], row["window"], row.get("layers", 1))
        if size == (256, 32, 64, 1) and (row["contender"], row["precision"]) == (contender, "f32") and milliseconds(row):
            return row
    return {}


def step_256(record):
    """The time of that step."""
    time = milliseconds(step_of_256(record, "retrospect"))
    return f"{in_words(time)} ms" if time else UNKNOWN


def kernels_256(record):
    """The time of that step's kernels."""
    time = step_of_256(record, "retrospect").get("gpu_ms")
    return f"{in_words(time)} ms" if time else UNKNOWN


def row_256(record):
    """A row of a table: the adapter, and the milliseconds of that step by this program and by PyTorch."""
    times = [milliseconds(step_of_256(record, contender)) for contender in ("retrospect", "pytorch")]
    return " | ".join([short(record), *(in_words(time) if time else UNKNOWN for time in times)])


def host(record):
    """The host's time for a dispatch."""
    rows = [row for row in own_rows(record) if row.get("host_ms") and row.get("dispatches")]
    times = [row["host_ms"] / row["dispatches"] * 1e3 for row in rows]
    if not times:
        return UNKNOWN
    low, high = (f"{time:.1f}" for time in (min(times), max(times)))
    return f"{low} µs" if low == high else f"{low} to {high} µs"


def text_step(record):
    """Training on tinyshakespeare, by its defaults and clipped; another text is another model."""
    text = record["parts"].get("text", {})
    is_it = text.get("text") == "tinyshakespeare.txt" and text.get("gpu", {}).get("ms_per_step")
    return f"{in_words(text['gpu']['ms_per_step'])} ms" if is_it else UNKNOWN


def check_time(record):
    """The whole check, where that was timed."""
    check = record["parts"].get("check", {})
    if not check.get("checks") or check.get("quick") or check.get("failures"):
        return UNKNOWN
    return (
        f"{check['seconds']:.0f} s" if check.get("seconds") is not None else f"passed ({check['checks']:,} checks), not timed"
    )


def product(record):
    """The largest a·b, in 10¹² operations a second."""
    rows = [row for row in rows_of(record, "products") if row.get("gflops") and row["form"] == "nn" and row["backend"] != "cpu"]
    size = max((row["size"] for row in rows), default=None)
    if size is None:
        return UNKNOWN
    rates = {(row["contender"], row["precision"]): f"{row['gflops'] / 1e3:.1f}" for row in rows if row["size"] == size}
    others = [
        f"{NAMES[who]}{', TF32' if kind == 'tf32' else ''} {rate}" for (who, kind), rate in rates.items() if who != "retrospect"
    ]
    return f"{size}³: " + "; ".join([rates.get(("retrospect", "f32"), UNKNOWN), *others]) + " TFLOP/s"


def steps(record):
    """All training steps, beside the other libraries."""
    return steps_table(rows_of(record, "steps")) if rows_of(record, "steps") else UNKNOWN


def where(record):
    """What the numbers were measured on and with."""
    return f"{machine(record)}; {record['date'][:10]}."


def short(record):
    """The adapter and the commit."""
    commit = record["versions"].get("commit")
    return f"{record['adapter']}, {f'commit {commit[:7]}' if commit else record['date'][:10]}"


PLACES = {
    "machine": where,
    "short": short,
    "steps": steps,
    "step-256": step_256,
    "kernels-256": kernels_256,
    "row-256": row_256,
    "host": host,
    "text": text_step,
    "check": check_time,
    "product": product,
}


def filled(page, text, record, name):
    """The text of a page with all of its places made from a record, whose path the place `record` names."""

    def place(found):
        start, key, before, end = found.groups()
        if key == "record":
            made = f"[{pathlib.Path(name).name}]({pathlib.Path(os.path.relpath(ROOT / name, page.parent)).as_posix()})"
        elif key in PLACES:
            made = PLACES[key](record)
        else:
            raise Failure(f"{shown(page)} has a place {key!r}, and there are record, {', '.join(PLACES)}")
        if not before.startswith("\n"):
            return f"{start}{made}{end}"
        lines = [made] if made.startswith("|") else textwrap.wrap(made, COLUMNS, break_long_words=False, break_on_hyphens=False)
        return "\n".join([start, *lines, end])

    return PLACE.sub(place, text)


def named():
    """The path of the record that the places are made from, as docs/performance.md names it."""
    for found in PLACE.finditer(PERFORMANCE.read_text()):
        if found[2] == "record" and (link := re.fullmatch(r"\[.*\]\((.*)\)", found[3].strip())):
            return str(shown((PERFORMANCE.parent / link[1]).resolve()))
    raise Failure(f"{shown(PERFORMANCE)} names no record between <!-- gpu record --> and <!-- end -->")


def tables(record):
    """Every place, for people."""
    return "\n\n".join(f"{name}:\n{make(record).strip()}" for name, make in PLACES.items())
