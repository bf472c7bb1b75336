"""Gradients of networks of many kinds on a GPU, against the same equations evaluated in f64 on the CPU."""

import itertools
import math

from lib import tensors
from lib.common import Failure, last_words

# Over the largest number of the same tensor. Rounding leaves a few 1e-6; a fault is seldom as small as this.
BOUND = 2e-5

KEYS = ("activation", "layers", "kind", "size", "hidden", "window", "batch", "loss", "outputs", "mask", "h0", "reduction")
CASES = [
    dict(zip(KEYS, case))
    for case in [
        ("tanh", 1, "tokens", 11, 7, 20, 5, "classes", 11, False, False, "mean"),
        ("tanh", 1, "vectors", 1, 1, 1, 1, "values", 1, False, True, "mean"),
        ("tanh", 2, "vectors", 3, 65, 13, 3, "classes", 5, True, True, "mean"),
        ("tanh", 1, "tokens", 65, 256, 33, 32, "classes", 65, False, True, "mean"),
        ("tanh", 1, "vectors", 64, 257, 17, 65, "values", 63, True, True, "sum"),
        ("tanh", 1, "vectors", 64, 513, 9, 17, "values", 64, False, False, "mean"),
        ("sigmoid", 3, "tokens", 19, 19, 12, 63, "classes", 7, True, True, "sum"),
        ("sigmoid", 1, "vectors", 5, 128, 40, 1, "values", 3, False, True, "mean"),
        ("relu", 2, "tokens", 31, 64, 15, 33, "values", 4, True, True, "mean"),
        ("relu", 1, "vectors", 2, 127, 50, 7, "classes", 2, False, False, "mean"),
        ("identity", 2, "vectors", 7, 33, 19, 64, "values", 9, True, True, "mean"),
        ("identity", 1, "tokens", 100, 1024, 5, 16, "classes", 100, False, True, "mean"),
    ]
]


def name_of(case):
    parts = [case["activation"], f"{case['layers']} × {case['hidden']}", f"T={case['window']}", f"B={case['batch']}"]
    parts += [f"{case['size']} {case['kind']}", f"{case['outputs']} {case['loss']}"]
    return ", ".join(parts + [word for word in ("mask", "h0") if case[word]] + [case["reduction"]])


def inputs(case, seed):
    """The weights and the batch of a case, by the names that `retrospect gradient` reads."""
    numbers = tensors.Numbers(seed)
    layers, hidden, outputs = case["layers"], case["hidden"], case["outputs"]
    steps = [case["window"], case["batch"]]
    most = 1.0 / math.sqrt(hidden)
    weights = {}
    for k in range(layers):
        weights[f"rnn.weight_ih_l{k}"] = numbers.uniform([hidden, hidden if k else case["size"]], most)
        weights[f"rnn.weight_hh_l{k}"] = numbers.uniform([hidden, hidden], most)
        for bias in ("ih", "hh"):
            weights[f"rnn.bias_{bias}_l{k}"] = numbers.uniform([hidden], most)
    weights["decoder.weight"] = numbers.uniform([outputs, hidden], most)
    weights["decoder.bias"] = numbers.uniform([outputs], most)
    batch = {}
    if case["kind"] == "tokens":
        batch["tokens"] = numbers.integers(steps, case["size"])
    else:
        batch["inputs"] = numbers.uniform([*steps, case["size"]], 1.0)
    if case["loss"] == "classes":
        batch["classes"] = numbers.integers(steps, outputs)
    else:
        batch["values"] = numbers.uniform([*steps, outputs], 1.0)
    if case["mask"]:
        batch["mask"] = numbers.mask(steps)
    if case["h0"]:
        batch["h0"] = numbers.uniform([layers, case["batch"], hidden], 1.0)
    return weights, batch


def compare(got, expected):
    """The tensor that is furthest off, and how far, over the largest number of that tensor."""
    if {name: tensor.shape for name, tensor in got.items()} != {name: tensor.shape for name, tensor in expected.items()}:
        raise Failure(f"the files have other tensors: {sorted(got)} and {sorted(expected)}")
    worst = ("nothing", 0.0)
    for name, tensor in expected.items():
        largest = max(map(abs, tensor.numbers), default=0.0)
        off = 0.0
        for a, b in zip(got[name].numbers, tensor.numbers):
            off = max(off, abs(a - b)) if math.isfinite(a) else math.inf
            if off == math.inf:
                break
        if largest:
            off /= largest
        if off >= worst[1]:
            worst = (name, off)
    return worst


def check(case, seed, folder, program, device):
    """A case as a row: how far the GPU's gradient is from that in f64. `program` runs the program and returns what finished."""
    weights, batch = inputs(case, seed)
    paths = {name: folder / f"{name}.safetensors" for name in ("weights", "batch", "got", "expected")}
    tensors.write(paths["weights"], weights)
    tensors.write(paths["batch"], batch)
    for out, where in (("got", device), ("expected", ["--backend", "reference"])):
        flags = ["gradient", "--weights", paths["weights"], "--batch", paths["batch"], "--out", paths[out]]
        flags += ["--activation", case["activation"], "--reduction", case["reduction"]]
        finished = program([*flags, *where])
        if finished.returncode:
            raise Failure(f"{name_of(case)}: exit code {finished.returncode}: {last_words(finished.stderr)}")
    tensor, off = compare(tensors.read(paths["got"]), tensors.read(paths["expected"]))
    return {
        "case": name_of(case),
        "tensor": tensor,
        "error": off if math.isfinite(off) else None,
        "bound": BOUND,
        "passed": off <= BOUND,
    }


def cases(quick):
    """With their seeds. A short try leaves out the larger ones."""
    return [(case, seed) for seed, case in zip(itertools.count(1), CASES) if not quick or case["hidden"] <= 128]
