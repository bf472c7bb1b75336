"""The parts of scripts/gpu-report. Each fills a dictionary, so that what was found is kept when it ends early."""

import json
import pathlib
import re
import subprocess
import tempfile
import threading

from lib import gradients, tensors
from lib.common import ROOT, Failure, in_words, last_words, say
from lib.context import LeftOut, OutOfTime

# Sizes of training steps: hidden, batch, window; those of README and docs/performance.md first, then by what is learnt from them.
STEPS = [(256, 32, 64), (2048, 64, 256), *((h, b, 256) for b in (16, 64, 1) for h in (1024, 512, 2048) if (h, b) != (2048, 64))]
STEPS += [(4096, 64, 32), (8192, 64, 32), (16384, 64, 32), (128, 32, 1000)]
STEPS += [(h, b, 256) for b in (64, 16, 1) for h in (128, 256)]
# Other cells, for which there is no program in JAX here.
CELLS = [("lstm", 1024, 16, 256), ("lstm", 128, 32, 256), ("gru", 512, 16, 256)]
# JAX takes minutes to compile larger ones.
LARGEST_FOR_JAX = 2048
PRODUCTS = [4096, 1024, 2048]
TUNED = [(2048, 64, 256), (512, 64, 256), (1024, 16, 256), (128, 1, 256), (8192, 64, 32)]
ENDS = 64  # inputs and outputs
QUICK = {"steps": [(33, 5, 6), (16, 1, 7)], "cells": [("lstm", 17, 3, 5)], "products": [65], "tuned": [(33, 5, 6)]}
# A second look that finds another variant so much faster is a fault; not on a software adapter, which shares its cores.
SLOWER = 1.1
# Not where both take a moment: clocks and timestamps scatter by so many milliseconds.
SCATTER = 0.001
# Training on text: every loss of the first steps, over itself; then the mean of the last ones, as rounding grows in between.
FIRST, FIRST_BOUND, LAST, LAST_BOUND = 20, 1e-4, 20, 0.03


# Seconds for the whole report below which the check leaves out the long sums.
SHORT = 300


def check(context, found):
    """Every kernel, every variant, whole training steps."""
    quick = context.options.quick or context.options.budget < SHORT
    document, _ = context.json(["check", *context.device, *(["--quick"] if quick else [])], codes=(0, 1))
    results = document["results"]
    groups = {}
    for result in results:
        groups.setdefault((result["name"], result["variant"]), []).append(result)
    failures = [result for result in results if not result["passed"]]

    def of_bound(result):
        return result["error"] / result["bound"] if result.get("error") and result.get("bound") else 0.0

    rows = []
    for (name, variant), group in groups.items():
        worst = max(group, key=of_bound)
        row = {"name": name, "variant": variant, "cases": len(group), "failed": sum(not result["passed"] for result in group)}
        rows.append(
            row | {"of_bound": of_bound(worst), **{key: worst.get(key) for key in ("error", "bound", "shape", "oracle")}}
        )
    found |= {"quick": quick, "checks": len(results), "failures": len(failures)}
    found |= {"first_failures": failures[:30], "rows": sorted(rows, key=lambda row: -row["of_bound"])}
    # Both are asked: a document that says nothing is no success.
    if failures or not results or not document["passed"]:
        raise Failure(f"{len(failures)} of {len(results)} checks failed")


def gradient_cases(context, found):
    """Gradients of networks of many kinds, against f64."""
    found["rows"] = []
    for case, seed in gradients.cases(context.options.quick):
        context.left()
        found["rows"].append(gradients.check(case, seed, context.folder, context.program, context.device))
    wrong = [row for row in found["rows"] if not row["passed"]]
    if wrong:
        raise Failure("; ".join(f"{row['case']}: {row['tensor']} is off by {row['error']}" for row in wrong))


def tests(context, found):
    """The built chain test programs."""
    if not context.options.tests:
        raise LeftOut("no --tests, and the program was not built here")
    found["rows"] = []
    for program in context.options.tests:
        found["rows"].append({"program": pathlib.Path(program).name, "passed": 0, "ignored": 0, "failed": [], "stopped": False})
        run_tests(program, context, found["rows"][-1])
    failed = [name for row in found["rows"] for name in row["failed"]]
    if failed:
        raise Failure(f"{len(failed)} tests failed: {', '.join(failed)}")
    if any(row["stopped"] for row in found["rows"]):
        raise OutOfTime
    if not any(row["passed"] for row in found["rows"]):
        raise Failure("no test was run")


def run_tests(program, context, row):
    """Counts the tests as they pass, so that those are known that there was time for."""

    def stop():
        row["stopped"] = True
        process.kill()

    with tempfile.TemporaryFile("w+", errors="replace") as stderr:
        pipes = {"stdout": subprocess.PIPE, "stderr": stderr, "stdin": subprocess.DEVNULL}
        try:
            # In the folder in which cargo would start it.
            process = subprocess.Popen([str(program)], text=True, env=context.environment, cwd=ROOT, **pipes)
        except OSError as error:
            raise Failure(f"{program}: {error.strerror}") from None
        timer = threading.Timer(context.left(), stop)
        timer.start()
        for line in process.stdout:
            if result := re.fullmatch(r"test (.*) \.\.\. (ok|FAILED|ignored.*)\s*", line):
                if result[2] == "FAILED":
                    row["failed"].append(result[1])
                else:
                    row["passed" if result[2] == "ok" else "ignored"] += 1
        code = process.wait()
        timer.cancel()
        if code and not row["failed"] and not row["stopped"]:
            stderr.seek(0)
            raise Failure(f"{row['program']}: exit code {code}: {last_words(stderr.read())}")


def measure(context, found, sizes, ask, requests, name, without=lambda peer, size: False):
    """Asks retrospect and then each peer for each size in turn, but those that it is `without`. What there was no time for is named."""
    found |= {"rows": [], "no_time_for": []}
    context.peers.start(context.left())
    failures = []
    for size in sizes:
        try:
            context.left()
            rows = ask(size)
            found["rows"] += [{"contender": "retrospect", **row} for row in rows]
            say(f"  {name(size)}: " + spoken("retrospect", rows))
            for peer, precision in context.peers.names():
                if without(peer, size):
                    continue
                asked = [{**request, "precision": precision} for request in requests(size)]
                rows = [context.peers.ask(peer, request, context.left()) for request in asked]
                found["rows"] += [{"contender": peer, **request, **row} for request, row in zip(asked, rows)]
                say(f"  {name(size)}: " + spoken(f"{peer} {precision}", rows))
        except OutOfTime:
            found["no_time_for"].append(name(size))
        except Failure as failure:
            found["rows"].append({"contender": "retrospect", "error": str(failure), **requests(size)[0]})
            failures.append(f"{name(size)}: {failure}")
    found["left_out"] = dict(context.peers.left_out)
    if failures:
        raise Failure("; ".join(failures))
    if found["no_time_for"]:
        raise OutOfTime


def spoken(who, rows):
    times = [row.get("ms_per_step", row.get("ms")) for row in rows]
    return who + " " + ", ".join(in_words(time) + " ms" if time else "error" for time in times)


def step_request(cell, *size):
    return {"cell": cell, **dict(zip(("hidden", "batch", "window"), size)), "layers": 1, "input": ENDS, "output": ENDS}


def step_rows(context, found, cell, *size):
    """What bench says of a training step."""
    flags = [part for key, value in step_request(cell, *size).items() for part in (f"--{key}", value)]
    document, said = context.json(["bench", *context.device, *flags, "--runs", context.options.runs], codes=(0, 4))
    found.setdefault("ceilings", document["ceilings"])
    notes = [line.strip() for line in said.splitlines() if "tuning" in line or "Measured which" in line]
    return [row | {"notes": notes} for row in document["rows"]]


def steps(context, found):
    """Training steps, beside PyTorch and JAX."""
    measure(
        context,
        found,
        QUICK["steps"] if context.options.quick else STEPS,
        lambda size: step_rows(context, found, "elman", *size),
        lambda size: [step_request("elman", *size)],
        lambda size: "H={}, B={}, T={}".format(*size),
        lambda peer, size: peer == "jax" and size[0] > LARGEST_FOR_JAX,
    )


def cells(context, found):
    """Training steps of LSTM and GRU networks, beside PyTorch."""
    measure(
        context,
        found,
        QUICK["cells"] if context.options.quick else CELLS,
        lambda size: step_rows(context, found, *size),
        lambda size: [step_request(*size)],
        lambda size: "{}, H={}, B={}, T={}".format(*size),
        lambda peer, size: peer == "jax",
    )


def products(context, found):
    """Products of square matrices, of the CPU too, beside the libraries of PyTorch and JAX."""
    least = [part for key in ("hidden", "batch", "window", "input", "output") for part in (f"--{key}", 1)]

    def ask(n):
        flags = ["bench", *context.both, *least, "--products", n, "--runs", context.options.runs]
        return context.json(flags)[0]["products"]

    def requests(n):
        return [{"form": form, "size": n} for form in ("nn", "nt", "tn")]

    measure(context, found, QUICK["products"] if context.options.quick else PRODUCTS, ask, requests, lambda n: f"{n}³")


def tuning(context, found):
    """The variant that is chosen, against the best of its candidates in a later run."""
    sizes = QUICK["tuned"] if context.options.quick else TUNED
    found |= {"rows": [], "no_time_for": [], "bound": None if context.is_software else SLOWER}

    def look(size):
        hidden, batch, window = size
        # A tenth is held out, and a batch is made of the rest.
        sequences = -(-batch * 10 // 9) + 1
        data = context.folder / "zeros.safetensors"
        tensors.write(data, {name: tensors.zeros([window, sequences, ENDS]) for name in ("inputs", "values")})
        flags = ["tune", "--data", data, "--hidden", hidden, "--batch", batch, "--optimizer", "sgd", "--clip", "none"]
        return {shape["shape"]: shape for shape in context.json([*flags, *context.device])[0]["measured"]}

    def looks():
        for size in sizes:
            try:
                context.left()
                yield size, look(size)
            except OutOfTime:
                found["no_time_for"].append("H={}, B={}, T={}".format(*size))

    # First all, then all again: a later run is not the next moment.
    first = dict(looks())
    sizes = list(first)
    for size, again in looks():
        for shape, then in first[size].items():
            now = {c["variant"]: c["ms"] for c in again.get(shape, {"candidates": []})["candidates"] if c["ms"]}
            if then["chosen"] not in now:
                continue
            best = min(now, key=now.get)
            ms = {"ms": now[then["chosen"]], "best_ms": now[best], "ratio": now[then["chosen"]] / now[best]}
            found["rows"].append(
                {"size": size, "shape": shape, "chosen": then["chosen"], "best": best, "candidates": len(now), **ms}
            )
    found["worst_ratio"] = max((row["ratio"] for row in found["rows"]), default=None)
    judged = [row for row in found["rows"] if found["bound"] and row["ms"] - row["best_ms"] > SCATTER]
    slower = [row for row in judged if row["ratio"] > found["bound"]]
    if slower:
        said = [f"{row['shape']}: {row['chosen']} takes {row['ratio']:.2f} times as long as {row['best']}" for row in slower]
        raise Failure("; ".join(said))
    if found["no_time_for"]:
        raise OutOfTime
    if not found["rows"]:
        raise LeftOut("no step of these sizes has several variants here")


WORDS = "the king and queen shall speak no more of winter , but O night ! my lord what news from the field ? we have".split()


def made_text(characters):
    """The same on every machine: words of a small grammar, in which each depends on the one before and on chance."""
    state, place, pieces, length = 1, 0, [], 0
    while length < characters:
        state = (state * 1_664_525 + 1_013_904_223) % 2**32
        place = (place * 7 + (state >> 24) % 5) % len(WORDS)
        pieces.append(WORDS[place] + ("\n" if state >> 28 == 0 else " "))
        length += len(pieces[-1])
    return "".join(pieces)[:characters]


def text(context, found):
    """Training on text, on the GPU and on the CPU from the same weights: the losses beside each other."""
    options = context.options
    path = options.text
    if path is None:
        path = context.folder / "text.txt"
        path.write_text(made_text(200_000))
    size = ["--hidden", 32, "--batch", 4, "--window", 16] if options.quick else []
    count = 40 if options.quick else 300
    losses = {}
    found["text"] = options.text.name if options.text else "made by the script"
    for backend, device in (("gpu", context.device), ("cpu", ["--backend", "cpu"])):
        out = context.folder / f"run-{backend}"
        flags = ["train", "--text", path, *size, "--clip", 1, "--steps", count, "--loss-every", 1, "--out", out, *device]
        summary, _ = context.json(flags)
        lines = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
        losses[backend] = [line["loss"] for line in lines if "loss" in line]
        found[backend] = {key: summary.get(key) for key in ("steps", "loss", "validation_loss", "ms_per_step")}
    found |= compare_losses(losses["gpu"], losses["cpu"])
    if not found["passed"]:
        off = [found["first_off"], found["last_off"]]
        raise Failure("the losses differ: by {:.1e} in the first steps, by {:.1e} in the last".format(*off))


def compare_losses(gpu, cpu):
    """How far the losses of two trainings are apart, over those of the second."""
    if len(gpu) != len(cpu) or len(gpu) < FIRST + LAST:
        raise Failure(f"{len(gpu)} losses of the GPU and {len(cpu)} of the CPU")
    first = max(abs(a - b) / b for a, b in zip(gpu[:FIRST], cpu[:FIRST]))
    means = [sum(losses[-LAST:]) / LAST for losses in (gpu, cpu)]
    last = abs(means[0] - means[1]) / means[1]
    passed = first <= FIRST_BOUND and last <= LAST_BOUND
    return {"first_off": first, "first_bound": FIRST_BOUND, "last_off": last, "last_bound": LAST_BOUND, "passed": passed}


# By worth: what is right, what is fast, and then what takes long. With the share of the whole time that each may take.
PARTS = {
    "check": (check, 0.4),
    "gradients": (gradient_cases, 0.15),
    "steps": (steps, 0.55),
    "cells": (cells, 0.1),
    "products": (products, 0.15),
    "text": (text, 0.12),
    "tuning": (tuning, 0.2),
    "tests": (tests, 1.0),
}
