"""Trains PyTorch's nn.RNN, nn.GRU or nn.LSTM on a text with the recipe of `retrospect train`, and prints the validation loss.

    pip install torch numpy
    python scripts/pytorch_text.py tinyshakespeare.txt --cell lstm --seed 1

The text is cut, the state carried and the validation data evaluated as docs/training.md describes for `retrospect train --text`:
90 % train, B streams, windows of T; the validation data in B streams from a zero state that is carried on, the mean over all characters
that have a next one.
The same run there: retrospect train --text tinyshakespeare.txt --cell lstm --biases two --clip 1 --steps 3000 --seed 1

With --dropout, --weight-decay (AdamW, not on biases) and --cosine it is that of
    retrospect train --text tinyshakespeare.txt --cell lstm --biases two --hidden 512 --output-dropout 0.4 --optimizer adamw \
        --weight-decay 0.01 --schedule cosine --warmup 100 --clip 1 --steps 4000
    python scripts/pytorch_text.py tinyshakespeare.txt --hidden 512 --dropout 0.4 --weight-decay 0.01 --cosine 100 --steps 4000
"""

import argparse
import math
import time

import torch
from torch import nn
from torch.nn import functional as F

from pytorch_fixtures import MODULES


class Model(nn.Module):
    """A recurrent module over one-hot characters, and nn.Linear."""

    def __init__(self, cell, symbols, hidden, layers, dropout):
        super().__init__()
        self.rnn = MODULES[cell](symbols, hidden, layers)
        self.dropout = nn.Dropout(dropout)
        self.decoder = nn.Linear(hidden, symbols)

    def forward(self, ids, state):
        h, state = self.rnn(F.one_hot(ids, self.decoder.out_features).float(), state)
        return self.decoder(self.dropout(h)), state


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
    model.eval()
    with torch.no_grad():
        for inputs, classes in stream_windows(ids, batch, window, whole=True):
            logits, state = model(inputs, state)
            total += F.cross_entropy(logits.flatten(0, 1), classes.flatten(), reduction="sum").item()
            count += classes.numel()
    model.train()
    return total / count


def optimizer_of(model, options):
    """Adam, or AdamW whose decay is for matrices alone."""
    if options.weight_decay == 0:
        return torch.optim.Adam(model.parameters(), lr=options.lr)
    parts = [[p for p in model.parameters() if (p.dim() > 1) == decays] for decays in (True, False)]
    groups = [{"params": parts[0], "weight_decay": options.weight_decay}, {"params": parts[1], "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=options.lr)


def factor(step, options):
    """What the learning rate is multiplied by at a training step, counted from 0: rising in the warm-up, then half a cosine."""
    warmup = options.cosine
    if warmup is None:
        return 1.0
    if step < warmup:
        return (step + 1) / warmup
    return (1 + math.cos(math.pi * (step - warmup) / (options.steps - warmup))) / 2


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
    parser.add_argument("--dropout", type=float, default=0.0, help="of what the decoder reads")
    parser.add_argument("--weight-decay", type=float, default=0.0)
    parser.add_argument("--cosine", type=int, metavar="WARMUP", help="a cosine schedule after so many steps of warm-up")
    parser.add_argument("--evaluate-every", type=int, metavar="N", help="validate every N steps too (default: a tenth of the steps)")
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

    model = Model(options.cell, len(symbols), options.hidden, options.layers, options.dropout)
    optimizer = optimizer_of(model, options)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: factor(step, options))
    every = options.evaluate_every or max(1, options.steps // 10)
    step, spent, start, found = 0, 0.0, time.perf_counter(), []
    while step < options.steps:
        state = None
        for inputs, classes in stream_windows(train, options.batch, options.window, whole=False):
            logits, state = model(inputs, state)
            state = detached(state)
            loss = F.cross_entropy(logits.flatten(0, 1), classes.flatten())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), options.clip)
            optimizer.step()
            schedule.step()
            step += 1
            if step % every == 0 or step == options.steps:
                spent += time.perf_counter() - start
                found.append((validation_loss(model, validation, options.batch, options.window), step))
                start = time.perf_counter()
            if step == options.steps:
                break
    best, at = min(found)
    print(f"{options.cell} seed {options.seed}: {options.steps} steps, loss {loss.item():.5f}, validation {found[-1][0]:.5f}, "
          f"the best {best:.5f} at step {at}, {1e3 * spent / step:.1f} ms a step, PyTorch {torch.__version__}")


if __name__ == "__main__":
    main()
