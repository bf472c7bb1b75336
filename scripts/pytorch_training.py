"""Writes tests/fixtures/training: 300 training steps of two-layer networks on text, an LSTM, a GRU and one of tanh, by PyTorch in float64.

The numbers in the repository were made with PyTorch 2.15.0, on a CPU. To make them again:

    pip install torch numpy
    python scripts/pytorch_training.py

words.txt is the text. Each safetensors file holds

    rnn.weight_ih_l0 … decoder.bias    the initial weights, float32, multiples of 2^-12, under PyTorch's names
    losses, grad_norms                 float64 [300]: of each step before its update; the norm before clipping

and `cell`, `batch`, `window`, `lr`, `clip` and `pytorch` as metadata. Both of PyTorch's biases are trained, as PyTorch does, so this is the run of
`retrospect train --biases two`. Adam, clipped by the global norm, the states carried from window to window and zero where a pass begins.
The text is cut as `retrospect train` cuts it, which docs/training.md describes.
"""

import random

import torch
from torch import nn
from torch.nn import functional as F

from pytorch_fixtures import FOLDER, MODULES, exact, save

BATCH, WINDOW, STEPS, HIDDEN, LAYERS = 7, 16, 300, 19, 2
RATE = 2e-3
# Some steps of the first hundred are clipped, and some are not.
CLIP = {"elman": 0.3, "gru": 0.18, "lstm": 0.165}


class Model(nn.Module):
    """A recurrent module and nn.Linear, under the names that the weight files use."""

    def __init__(self, cell, symbols, dtype):
        super().__init__()
        self.rnn = MODULES[cell](symbols, HIDDEN, LAYERS, dtype=dtype)
        self.decoder = nn.Linear(HIDDEN, symbols, dtype=dtype)

    def forward(self, x, state):
        h, state = self.rnn(x, state)
        return self.decoder(h), state


def words():
    """A text of words from a vocabulary of forty."""
    draw = random.Random(1)
    vocabulary = ["".join(draw.choices("abcdefghij", k=draw.randint(2, 6))) for _ in range(40)]
    return " ".join(draw.choice(vocabulary) for _ in range(1200))


def windows(text):
    """(whether a pass begins, inputs [T, B], classes [T, B]): streams of the first nine tenths, without end."""
    symbols = sorted(set(text))
    ids = torch.tensor([symbols.index(c) for c in text])
    ids = ids[: len(ids) * 9 // 10]
    stream = (len(ids) - 1) // BATCH
    while True:
        for k in range(stream // WINDOW):
            starts = [b * stream + k * WINDOW for b in range(BATCH)]
            yield (k == 0, *(torch.stack([ids[s + ahead : s + ahead + WINDOW] for s in starts], 1) for ahead in (0, 1)))


def train(cell, text, weights, dtype):
    """The losses and the norms of the gradients from initial weights."""
    symbols = len(set(text))
    model = Model(cell, symbols, dtype)
    model.load_state_dict({name: value.to(dtype) for name, value in weights.items()})
    adam = torch.optim.Adam(model.parameters(), lr=RATE)
    losses, norms, state = [], [], None
    for _, (begins, inputs, classes) in zip(range(STEPS), windows(text)):
        if begins:
            state = None
        logits, state = model(F.one_hot(inputs, symbols).to(dtype), state)
        state = tuple(s.detach() for s in state) if cell == "lstm" else state.detach()
        loss = F.cross_entropy(logits.flatten(0, 1), classes.flatten())
        adam.zero_grad()
        loss.backward()
        norms.append(nn.utils.clip_grad_norm_(model.parameters(), CLIP[cell]).item())
        adam.step()
        losses.append(loss.item())
    return torch.tensor(losses, dtype=torch.float64), torch.tensor(norms, dtype=torch.float64)


def main():
    folder = FOLDER / "training"
    folder.mkdir(parents=True, exist_ok=True)
    text = words()
    (folder / "words.txt").write_text(text, encoding="utf-8")
    for seed, cell in enumerate(("lstm", "gru", "elman")):
        torch.manual_seed(seed)
        model = Model(cell, len(set(text)), torch.float32)
        weights = {name: exact(value.detach()) for name, value in model.named_parameters()}
        losses, norms = train(cell, text, weights, torch.float64)
        off = (train(cell, text, weights, torch.float32)[0] - losses).abs()
        print(f"{cell}: loss {losses[0]:.4f} to {losses[-1]:.4f}; {(norms > CLIP[cell]).sum()} of {STEPS} steps are clipped; "
              f"PyTorch's own float32 is off by {off[:100].max():.1e} in 100 steps, {off.max():.1e} in {STEPS}")
        about = {"cell": cell, "batch": BATCH, "window": WINDOW, "lr": RATE, "clip": CLIP[cell], "pytorch": torch.__version__}
        metadata = {key: str(value) for key, value in about.items()}
        save(folder / f"{cell}.safetensors", {**weights, "losses": losses, "grad_norms": norms}, metadata)


if __name__ == "__main__":
    main()
