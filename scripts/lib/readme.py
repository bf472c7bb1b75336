"""The places of README.md that are made from a record: between `<!-- gpu NAME -->` and `<!-- end -->`."""

import re

from lib.common import ROOT, Failure, in_words
from lib.markdown import NAMES, machine, milliseconds, steps_table

README = ROOT / "README.md"
UNKNOWN = "not measured"
PLACE = re.compile(r"(<!-- gpu ([a-z0-9-]+) -->)(.*?)(<!-- end -->)", re.DOTALL)


def rows_of(record, part):
    return record["parts"].get(part, {}).get("rows", [])


def own_rows(record):
    return [row for row in rows_of(record, "steps") if row["contender"] == "retrospect" and milliseconds(row)]


def step_256(record):
    """The step of README's sizes."""
    for row in own_rows(record):
        if (row["hidden"], row["batch"], row["window"], row["layers"]) == (256, 32, 64, 1):
            return f"{in_words(row['ms_per_step'])} ms, its kernels {in_words(row['gpu_ms'])}"
    return UNKNOWN


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
    return f"\n{steps_table(rows_of(record, 'steps'))}\n" if rows_of(record, "steps") else UNKNOWN


def where(record):
    """What the numbers were measured on and with."""
    return f"{machine(record)}; {record['date'][:10]}"


def short(record):
    """The adapter and the commit."""
    commit = record["versions"].get("commit")
    return f"{record['adapter']}, {f'commit {commit[:7]}' if commit else record['date'][:10]}"


PLACES = {
    "machine": where,
    "short": short,
    "steps": steps,
    "step-256": step_256,
    "host": host,
    "text": text_step,
    "check": check_time,
    "product": product,
}


def filled(text, record, name):
    """README's text with all of its places made from a record, whose path the place `record` names."""

    def place(found):
        key = found[2]
        if key != "record" and key not in PLACES:
            raise Failure(f"README.md has a place {key!r}, and there are record, {', '.join(PLACES)}")
        return found[1] + (f"[{name}]({name})" if key == "record" else PLACES[key](record)) + found[4]

    return PLACE.sub(place, text)


def named(text):
    """The path of the record that README's places are made from."""
    for found in PLACE.finditer(text):
        if found[2] == "record" and (link := re.fullmatch(r"\[.*\]\((.*)\)", found[3])):
            return link[1]
    raise Failure("README.md names no record between <!-- gpu record --> and <!-- end -->")


def tables(record):
    """Every place, for people."""
    return "\n\n".join(f"{name}:\n{make(record).strip()}" for name, make in PLACES.items())
