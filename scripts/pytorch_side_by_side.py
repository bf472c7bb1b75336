#!/usr/bin/env python3
"""Trains the same model from the same weights on the same data in PyTorch and with retrospect, and compares.

Gradients of one batch, of nn.RNN, nn.LSTM and nn.GRU: `retrospect gradient` against PyTorch's autograd in f64, and for nn.RNN against plain
NumPy, on every backend. Training on text: `retrospect train --biases two` against a PyTorch loop, step by step.

    pip install torch numpy safetensors
    cargo build --release
    python3 scripts/pytorch_side_by_side.py [--text FILE] [--hidden 64] [--steps 200] [--backends cpu,gpu]
"""

import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import numpy as np
import torch
from safetensors.numpy import load_file, save_file


CELLS = {
    "tanh": torch.nn.RNN,
    "relu": lambda *sizes: torch.nn.RNN(*sizes, nonlinearity="relu"),
    "lstm": torch.nn.LSTM,
    "gru": torch.nn.GRU,
}


class Model(torch.nn.Module):
    """The names under which weights are exchanged are this module's own."""

    def __init__(self, inputs, hidden, outputs, layers, cell):
        super().__init__()
        self.rnn = CELLS[cell](inputs, hidden, layers)
        self.decoder = torch.nn.Linear(hidden, outputs)

    def forward(self, x, state):
        states, last = self.rnn(x, state)
        return self.decoder(states), last


def weights_of(model):
    return {name: value.detach().numpy().copy() for name, value in model.state_dict().items()}


def one_hot(tokens, size, dtype):
    return torch.nn.functional.one_hot(torch.as_tensor(tokens), size).to(dtype)


def numpy_gradient(w, tokens, classes, h0, layers, activation):
    """The loss and its gradient by backpropagation through time, in plain NumPy: the mean over all outputs."""
    phi = {"tanh": np.tanh, "relu": lambda a: np.maximum(a, 0)}[activation]
    slope = {"tanh": lambda h: 1 - h * h, "relu": lambda h: (h > 0).astype(h.dtype)}[activation]
    steps, batch = tokens.shape
    below = np.eye(w["rnn.weight_ih_l0"].shape[1])[tokens]
    inputs, hidden = [], []
    for k in range(layers):
        u, v, b, b2 = (w[f"rnn.{name}_l{k}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        h = [h0[k]]
        for t in range(steps):
            h.append(phi(below[t] @ u.T + h[-1] @ v.T + b + b2))
        inputs.append(below)
        hidden.append(np.array(h))
        below = hidden[-1][1:]
    o = below @ w["decoder.weight"].T + w["decoder.bias"]
    o = o - o.max(-1, keepdims=True)
    p = np.exp(o) / np.exp(o).sum(-1, keepdims=True)
    picked = np.take_along_axis(p, classes[..., None], -1)
    loss = -np.log(picked).mean()
    d_o = (p - np.eye(p.shape[-1])[classes]) / (steps * batch)
    g = {"decoder.weight": np.einsum("tbo,tbh->oh", d_o, below), "decoder.bias": d_o.sum((0, 1))}
    d_h = d_o @ w["decoder.weight"]
    for k in reversed(range(layers)):
        u, v = w[f"rnn.weight_ih_l{k}"], w[f"rnn.weight_hh_l{k}"]
        d = np.zeros_like(hidden[k])
        for t in reversed(range(steps)):
            d[t] = (d_h[t] + d[t + 1] @ v) * slope(hidden[k][t + 1])
        d = d[:-1]
        g[f"rnn.weight_ih_l{k}"] = np.einsum("tbh,tbi->hi", d, inputs[k])
        g[f"rnn.weight_hh_l{k}"] = np.einsum("tbh,tbi->hi", d, hidden[k][:-1])
        g[f"rnn.bias_ih_l{k}"] = g[f"rnn.bias_hh_l{k}"] = d.sum((0, 1))
        d_h = d @ u
    return loss, g


def worst(got, expected):
    """The largest difference of a tensor over its largest value, and the tensor's name; infinite where something is not finite."""
    errors = [(np.abs(got[n] - e).max() / np.abs(e).max(), n) for n, e in expected.items()]
    return max((error if np.isfinite(error) else np.inf, n) for error, n in errors)


def run(command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr}")
    return done.stdout


def compare_gradients(options, folder):
    print("Gradients of one batch: the largest difference from PyTorch in f64, over the tensor's largest value\n")
    print(f"{'network':34} {'backend':10} {'loss':>10}  {'gradient':>9}  worst tensor")
    steps, batch, size, outputs = 20, 7, 19, 11
    rng = np.random.default_rng(1)
    for cell, layers in [("tanh", 1), ("tanh", 3), ("relu", 2), ("lstm", 1), ("lstm", 2), ("gru", 2)]:
        torch.manual_seed(3)
        model = Model(size, options.hidden, outputs, layers, cell)
        tokens = rng.integers(0, size, (steps, batch))
        classes = rng.integers(0, outputs, (steps, batch))
        names = ("h0", "c0") if cell == "lstm" else ("h0",)
        states = {name: rng.uniform(-1, 1, (layers, batch, options.hidden)).astype(np.float32) for name in names}
        save_file(weights_of(model), folder / "weights.safetensors")
        save_file({"tokens": tokens, "classes": classes, **states}, folder / "batch.safetensors")

        exact = model.double()
        start = {name: torch.as_tensor(state, dtype=torch.float64).requires_grad_() for name, state in states.items()}
        logits, _ = exact(one_hot(tokens, size, torch.float64), tuple(start.values()) if len(start) > 1 else start["h0"])
        loss = torch.nn.functional.cross_entropy(logits.reshape(-1, outputs), torch.as_tensor(classes).reshape(-1))
        loss.backward()
        weights_only = {n: p.grad.numpy() for n, p in exact.named_parameters()}
        everything = {**weights_only, **{n: s.grad.numpy() for n, s in start.items()}, "outputs": logits.detach().numpy()}
        rows = []
        if cell in ("tanh", "relu"):
            weights = {n: v.detach().numpy() for n, v in exact.state_dict().items()}
            rows.append(("numpy", *numpy_gradient(weights, tokens, classes, states["h0"].astype(np.float64), layers, cell)))
        for backend in ["reference"] + options.backends:
            out = folder / f"{backend}.safetensors"
            run([options.retrospect, "gradient", "--weights", folder / "weights.safetensors", "--batch",
                 folder / "batch.safetensors", "--out", out, "--backend", backend] + (["--activation", "relu"] if cell == "relu" else []))
            got = load_file(out)
            rows.append((backend, float(got["loss"][0]), got))
        for name, got_loss, got in rows:
            error, tensor = worst(got, weights_only if name == "numpy" else everything)
            off = abs(got_loss - loss.item()) / loss.item()
            network = f"{cell}, {layers} × {options.hidden}, T={steps}, B={batch}"
            print(f"{network:34} {name:10} {off:10.1e}  {error:9.1e}  {tensor}")
            limit = 1e-10 if name in ("numpy", "reference") else 1e-5
            if not max(error, off) < limit or not np.isfinite(off):
                sys.exit(f"{name} is off by {error:.1e} in {tensor} or {off:.1e} in the loss, more than {limit:.0e}")


def batches(text, batch, window):
    """Windows one after the other through `batch` streams of the first nine tenths, as `retrospect train` takes them."""
    symbols = sorted(set(text))
    ids = np.array([symbols.index(c) for c in text])
    train = ids[: len(ids) * 9 // 10]
    stream = (len(train) - 1) // batch
    while True:
        for k in range(stream // window):
            at = [b * stream + k * window for b in range(batch)]
            yield (k == 0, np.stack([train[a : a + window] for a in at], 1), np.stack([train[a + 1 : a + window + 1] for a in at], 1))


def compare_training(options, folder):
    if options.text:
        text = pathlib.Path(options.text).read_text(encoding="utf-8")
    else:
        words = random.Random(1)
        vocabulary = ["".join(words.choices("abcdefghij", k=words.randint(2, 6))) for _ in range(40)]
        text = " ".join(words.choice(vocabulary) for _ in range(8000))
    (folder / "text").write_text(text, encoding="utf-8")
    for cell in ("tanh", "lstm", "gru"):
        train(options, folder, text, cell)


def train(options, folder, text, cell, batch=16, window=32, layers=1, rate=2e-3, clip=1.0):
    size = len(set(text))
    torch.manual_seed(5)
    model = Model(size, options.hidden, size, layers, cell)
    save_file(weights_of(model), folder / "init.safetensors")

    losses = {"pytorch": []}
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    state = None
    for _, (first, x, y) in zip(range(options.steps), batches(text, batch, window)):
        # Without a state PyTorch begins at zero.
        logits, state = model(one_hot(x, size, torch.float32), None if first else state)
        state = tuple(s.detach() for s in state) if cell == "lstm" else state.detach()
        loss = torch.nn.functional.cross_entropy(logits.reshape(-1, size), torch.as_tensor(y).reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        losses["pytorch"].append(loss.item())
    for backend in options.backends:
        out = folder / f"run-{cell}-{backend}"
        run([options.retrospect, "train", "--text", folder / "text", "--init", folder / "init.safetensors", "--batch", batch,
             "--window", window, "--lr", rate, "--clip", clip, "--steps", options.steps, "--loss-every", 1, "--biases", "two",
             "--backend", backend, "--out", out])
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        losses[backend] = [line["loss"] for line in lines if "loss" in line]

    print(f"\nTraining on {len(text):,} characters: {cell}, {layers} × {options.hidden}, B={batch}, T={window}, Adam {rate}, clipped at {clip}\n")
    print(f"{'step':>5}  {'pytorch':>10}" + "".join(f"  {b:>10}  {'off by':>8}" for b in options.backends))
    shown = [s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if s <= options.steps]
    for step in shown:
        expected = losses["pytorch"][step - 1]
        line = f"{step:5}  {expected:10.6f}"
        for backend in options.backends:
            got = losses[backend][step - 1]
            line += f"  {got:10.6f}  {abs(got - expected):8.1e}"
        print(line)
    for backend in options.backends:
        if len(losses[backend]) != options.steps:
            sys.exit(f"{backend} left {len(losses[backend])} losses of {options.steps}")
        # Rounding grows from step to step, and with it the difference.
        off = np.abs(np.array(losses[backend], dtype=float) - np.array(losses["pytorch"]))
        first, largest = off[:10].max(), off.max()
        print(f"{backend}: at most {first:.1e} off in the first 10 steps, {largest:.1e} in all {options.steps}")
        if not (first < 1e-5 and np.isfinite(largest)):
            sys.exit(f"{backend} is off by {first:.1e} in the first 10 steps, more than 1e-5, or not finite later")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--retrospect", type=pathlib.Path, default=pathlib.Path("target/release/retrospect"))
    parser.add_argument("--text", help="a text to train on; without it, random words")
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--backends", type=lambda s: s.split(","), default=["cpu", "gpu"])
    options = parser.parse_args()
    print(f"PyTorch {torch.__version__}, NumPy {np.__version__}\n")
    with tempfile.TemporaryDirectory() as folder:
        compare_gradients(options, pathlib.Path(folder))
        compare_training(options, pathlib.Path(folder))


main()
