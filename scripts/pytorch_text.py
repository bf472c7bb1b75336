"""Trains PyTorch's nn.RNN, nn.GRU or nn.LSTM on a text with the recipe of `retrospect train`, and prints the validation loss.

    pip install torch numpy
    python scripts/pytorch_text.py tinyshakespeare.txt --cell lstm --seed 1

The text is cut, the state carried and the validation data evaluated as docs/training.md describes for `retrospect train --text`:
90 % train, B streams, windows of T; the validation data in B streams from a zero state that is carried on, the mean over all characters
that have a next one.
The same run there: retrospect train --text tinyshakespeare.txt --cell lstm --biases two --clip 1 --steps 3000 --seed 1
"""

import argparse
import time

import torch
from torch import nn
from torch.nn import functional as F

from pytorch_fixtures import MODULES


class Model(nn.Module):
    """A recurrent module over one-hot characters, and nn.Linear."""

    def __init__(self, cell, symbols, hidden, layers):
        super().__init__()
        self.rnn = MODULES[cell](symbols, hidden, layers)
        self.decoder = nn.Linear(hidden, symbols)

    def forward(self, ids, state):
        h, state = self.rnn(F.one_hot(ids, self.decoder.out_features).float(), state)
        return self.decoder(h), state


def stream_windows(ids, batch, window, whole):
    """Inputs and classes [T, B] of one pass over B streams; `whole`: also what is left after the last full window."""
    stream = (len(ids) - 1) // batch
    starts = torch.arange(batch) * stream
    for first in range(0, stream if whole else stream - window + 1, window):
        places = torch.arange(first, min(first + window, stream))[:, None] + starts
        yield ids[places], ids[places + 1]


def detached(state):
    return tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()


def validation_loss(model, ids, batch, window):
    """Nats a character."""
    state, total, count = None, 0.0, 0
    with torch.no_grad():
        for inputs, classes in stream_windows(ids, batch, window, whole=True):
            logits, state = model(inputs, state)
            total += F.cross_entropy(logits.flatten(0, 1), classes.flatten(), reduction="sum").item()
            count += classes.numel()
    return total / count


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text")
    parser.add_argument("--cell", choices=sorted(MODULES), default="lstm")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--window", type=int, default=64)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--clip", type=float, default=1.0)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)

    with open(options.text, encoding="utf-8", newline="") as file:
        text = file.read()
    symbols = sorted(set(text))
    place = {c: i for i, c in enumerate(symbols)}
    ids = torch.tensor([place[c] for c in text])
    train, validation = ids[: len(ids) * 9 // 10], ids[len(ids) * 9 // 10 :]

    model = Model(options.cell, len(symbols), options.hidden, options.layers)
    adam = torch.optim.Adam(model.parameters(), lr=options.lr)
    step, start = 0, time.perf_counter()
    while step < options.steps:
        state = None
        for inputs, classes in stream_windows(train, options.batch, options.window, whole=False):
            logits, state = model(inputs, state)
            state = detached(state)
            loss = F.cross_entropy(logits.flatten(0, 1), classes.flatten())
            adam.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), options.clip)
            adam.step()
            step += 1
            if step == options.steps:
                break
    spent = time.perf_counter() - start
    validated = validation_loss(model, validation, options.batch, options.window)
    print(f"{options.cell} seed {options.seed}: {options.steps} steps, loss {loss.item():.5f}, validation {validated:.5f}, "
          f"{1e3 * spent / step:.1f} ms a step, PyTorch {torch.__version__}")


if __name__ == "__main__":
    main()
