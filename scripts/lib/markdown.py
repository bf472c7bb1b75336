"""A record of scripts/gpu-report as Markdown."""

import math

from lib.common import in_words

NAMES = {"retrospect": "retrospect", "pytorch": "PyTorch", "jax": "JAX"}
COLUMNS = [("retrospect", "f32"), ("pytorch", "f32"), ("pytorch", "tf32"), ("jax", "f32")]
SIZE = ("hidden", "batch", "window")


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def milliseconds(row):
    return row.get("ms_per_step", row.get("ms"))


def size_of(row):
    return ", ".join(f"{letter}={row[key]}" for letter, key in zip("HBT", SIZE) if key in row)


def steps_table(rows, size=SIZE):
    """The times of training steps, a line for each size; and the best of the others in f32 over retrospect's."""
    found = {(row["contender"], row["precision"], tuple(row[key] for key in size)): row for row in rows if "precision" in row}
    columns = [column for column in COLUMNS if any(key[:2] == column for key in found)]
    # By length of the window, longest first, then by hidden size and batch.
    sizes = sorted({key[2] for key in found}, key=lambda size: (*size[:-3], -size[-1], *size[-3:-1]))
    lines = []
    for one in sizes:
        times = {column: found.get((*column, one)) for column in columns}
        cells = ["" if row is None else in_words(milliseconds(row)) if milliseconds(row) else "error" for row in times.values()]
        others = [milliseconds(row) for (name, kind), row in times.items() if row and name != "retrospect" and kind == "f32"]
        own, best = milliseconds(times.get(COLUMNS[0]) or {}), min(filter(None, others), default=None)
        lines.append([*one, *cells, f"{in_words(best / own)} ×" if own and best else ""])
    on_cpu = {row["contender"] for row in rows if row.get("backend") == "cpu"}
    names = [
        NAMES[name] + (" on the CPU" if name in on_cpu else "") + (", TF32" if kind == "tf32" else "") for name, kind in columns
    ]
    heads = {"hidden": "H", "batch": "B", "window": "T"}
    return table([*(heads.get(key, key) for key in size), *names, "the best other in f32"], lines)


def means(rows):
    """The geometric means of the others' times in f32 over retrospect's, for the sizes that both have."""
    times = {}
    for row in rows:
        if row.get("precision") == "f32" and milliseconds(row):
            times.setdefault(row["contender"], {})[tuple(row[key] for key in SIZE)] = milliseconds(row)
    own, said = times.pop("retrospect", {}), []
    for name, found in times.items():
        ratios = [found[size] / own[size] for size in found if size in own]
        if ratios:
            mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
            times_as_long = f"takes {in_words(mean)} times as long as retrospect in the geometric mean"
            said.append(f"{NAMES[name]} {times_as_long} of {len(ratios)} sizes.")
    return " ".join(said)


def machine(record):
    """What was measured on and with."""
    versions = record["versions"]
    commit = f"commit {versions['commit'][:7]}" if versions.get("commit") else "commit not known"
    changed = " with changes" if versions.get("uncommitted_changes") else ""
    words = [record["adapter"], record["driver"], record["cpu"] and f"{record['cpu']}, {record['threads']} threads"]
    words.append(f"retrospect {versions['retrospect']}, {commit}{changed}")
    libraries = [("wgpu", "wgpu"), ("PyTorch", "torch"), ("JAX", "jax")]
    words += [f"{name} {versions[key]}" for name, key in libraries if versions.get(key)]
    return "; ".join(word for word in (*words, versions.get("cuda")) if word)


def report(record):
    """All of a record, for people."""
    parts = record["parts"]
    verdict = "Nothing failed." if record["passed"] else "**Something failed.**"
    if any(part["status"] in ("no time", "interrupted") for part in parts.values()):
        verdict += " Not everything was done."
    rows = [
        [name, part["status"], f"{part['seconds']:.0f}" if part.get("seconds") is not None else "", remark(part)]
        for name, part in parts.items()
    ]
    text = [f"# {record['adapter'] or 'No adapter'}, {record['date'][:10]}", f"{verdict} {machine(record)}."]
    text.append(table(["part", "", "seconds", ""], rows))
    for name, (title, show) in SHOWN.items():
        if said := show(parts.get(name, {})):
            text += [f"## {title}", *said]
    return "\n\n".join(text) + "\n"


def remark(part):
    """Why a part is not done, on one line of a table."""
    said = [part["reason"]] if part.get("reason") else []
    if part.get("no_time_for"):
        said.append("no time for " + "; ".join(part["no_time_for"]))
    said += [f"{name} is left out: {reason}" for name, reason in part.get("left_out", {}).items()]
    return " ".join("; ".join(said).split()).replace("|", "\\|")


# ---- the parts, each as paragraphs and tables


def show_check(part):
    if "rows" not in part:
        return []
    kind = " (`--quick`)" if part["quick"] else ""
    failures = [f"- {one['name']} ({one['shape']}): {one.get('note', '')}" for one in part.get("first_failures", [])]
    rows = [[row["name"], row["variant"], row["cases"], row["failed"] or "", f"{row['of_bound']:.2f}"] for row in part["rows"]]
    said = [f"{part['checks']:,} checks{kind}, {part['failures']} failed.", "\n".join(failures)]
    return [*filter(None, said), table(["name", "variant", "cases", "failed", "error, of its bound"], rows)]


def show_gradients(part):
    rows = []
    for row in part.get("rows", []):
        off = "not finite" if row["error"] is None else f"{row['error']:.1e}"
        rows.append([row["case"], off, row["tensor"], "" if row["passed"] else "**wrong**"])
    if not rows:
        return []
    said = f"How far off, over the largest number of the same tensor; {part['rows'][0]['bound']:.0e} at most."
    return [said, table(["network", "off by", "worst tensor", ""], rows)]


def show_steps(part):
    rows = part.get("rows", [])
    if not rows:
        return []
    said = "Milliseconds of a training step (forward, backward, gradient descent), I = O = 64. Last: over retrospect's time."
    text = [said, steps_table(rows), *filter(None, [means(rows)])]
    own = [row for row in rows if row["contender"] == "retrospect" and row.get("kernels")]
    names = list(dict.fromkeys(kernel["name"] for row in own for kernel in row["kernels"]))
    lines = []
    for row in own:
        line = [*(row[key] for key in SIZE), f"{row['peak_fraction'] * 100:.0f} %", row["dispatches"]]
        for name in names:
            kernels = [kernel for kernel in row["kernels"] if kernel["name"] == name]
            variants = ", ".join(kernel["variant"] for kernel in kernels)
            line.append(f"{sum(kernel['ms'] for kernel in kernels):.3f} ({variants})" if kernels else "")
        lines.append(line)
    if lines:
        said = "Where retrospect's time goes: the milliseconds of each kernel in a training step, and its variants."
        text += [said, table(["H", "B", "T", "of peak", "dispatches", *names], lines)]
    notes = [f"- {row['contender']}, {size_of(row)}: {row['error']}" for row in rows if row.get("error")]
    notes += [f"- {size_of(row)}: {note}" for row in own for note in row.get("notes", [])]
    return [*text, *(["\n".join(notes)] if notes else [])]


def show_cells(part):
    return [steps_table(part["rows"], ("cell", *SIZE))] if part.get("rows") else []


def show_products(part):
    lines = []
    for row in part.get("rows", []):
        who = [row["contender"], row.get("backend", ""), row.get("precision", "")]
        rate = f"{row['gflops'] / 1e3:.2f}" if row.get("gflops") else row.get("error", "")
        time = in_words(row["ms"]) if row.get("ms") else ""
        lines.append([*who, row["size"], row["form"], row.get("variant", ""), time, rate])
    head = ["", "on", "in", "N", "form", "variant", "ms", "TFLOP/s"]
    return ["Products of N × N; nn: a·b, nt: a·bᵀ, tn: aᵀ·b.", table(head, lines)] if lines else []


def show_text(part):
    if "gpu" not in part or "cpu" not in part:
        return []
    keys = ("steps", "loss", "validation_loss", "ms_per_step")
    rows = [[where, *(part[where][key] for key in keys)] for where in ("gpu", "cpu")]
    said = f"The text: {part['text']}."
    if "first_off" in part:
        said += f" The losses differ by {part['first_off']:.1e} at most at first, and by {part['last_off']:.1e} in the end."
    return [said, table(["", "steps", "loss", "validation loss", "ms a step"], rows)]


def show_tuning(part):
    rows = sorted(part.get("rows", []), key=lambda row: -row["ratio"])
    lines = [
        ["H={}, B={}, T={}".format(*row["size"]), row["shape"], row["chosen"], row["best"], f"{row['ratio']:.2f}"]
        for row in rows
    ]
    judged = f"at most {part['bound']}" if part.get("bound") else "a software adapter is not judged"
    said = f"What a first look chose, in a second one over the best of that: {judged}."
    return [said, table(["model", "step", "chosen", "best", "times as long"], lines)] if lines else []


def show_tests(part):
    rows = []
    for row in part.get("rows", []):
        said = ", ".join(row["failed"]) or ("stopped, as its time was over" if row.get("stopped") else "")
        rows.append([row["program"], row["passed"], len(row["failed"]), row["ignored"], said])
    return [table(["program", "passed", "failed", "ignored", ""], rows)] if rows else []


SHOWN = {
    "check": ("Check", show_check),
    "gradients": ("Gradients, against the equations in f64", show_gradients),
    "steps": ("Training steps", show_steps),
    "cells": ("Training steps of other cells", show_cells),
    "products": ("Products", show_products),
    "text": ("Training on text, on the GPU and on the CPU", show_text),
    "tuning": ("The choice of variants", show_tuning),
    "tests": ("Tests", show_tests),
}
