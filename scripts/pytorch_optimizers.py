"""Prints what PyTorch's optimisers and schedules do over 20 steps, in float64: the literals of tests/chain/optimizers.rs and src/train/schedule.rs.

    pip install torch
    python scripts/pytorch_optimizers.py

The gradient of element i at step t from 1 is (i + 1) / 2 · sin(1.3 t + 0.7 i), of weights that begin at 0.5, −0.3, 0.8, 0.1. The numbers in
the repository were made with PyTorch 2.15.0.
"""

import math

import torch
from torch.optim import lr_scheduler as schedules

STEPS = 20

OPTIMIZERS = {
    "sgd": lambda w: torch.optim.SGD(w, lr=0.05),
    "momentum": lambda w: torch.optim.SGD(w, lr=0.05, momentum=0.9),
    "nesterov": lambda w: torch.optim.SGD(w, lr=0.05, momentum=0.9, nesterov=True),
    "adam": lambda w: torch.optim.Adam(w, lr=0.05),
    "adamw": lambda w: torch.optim.AdamW(w, lr=0.05, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.5),
    "rmsprop": lambda w: torch.optim.RMSprop(w, lr=0.05, alpha=0.95),
    "adagrad": lambda w: torch.optim.Adagrad(w, lr=0.05),
}

# A rate of 0.1 at first, or at most.
SCHEDULES = {
    "linear": lambda o: schedules.LinearLR(o, 1.0, 0.0, total_iters=STEPS),
    "cosine": lambda o: schedules.CosineAnnealingLR(o, STEPS),
    "step:6:0.5": lambda o: schedules.StepLR(o, 6, 0.5),
    "exponential:0.9": lambda o: schedules.ExponentialLR(o, 0.9),
    "onecycle": lambda o: schedules.OneCycleLR(o, 0.1, total_steps=STEPS),
    "warmup 5, cosine": lambda o: schedules.SequentialLR(
        o, [schedules.LinearLR(o, 1 / 5, 1.0, total_iters=4), schedules.CosineAnnealingLR(o, STEPS - 5)], [5]
    ),
}
LOSSES = [3.0, 2.0, 2.1, 1.99995, 2.2, 2.3, 1.5, 1.6, 1.6, 1.6, 1.6, 1.6, 1.6, 1.4, 1.39999, 1.5, 1.5, 1.5, 1.5, 1.0]


def gradient(t):
    return torch.tensor([[(i + 1) / 2 * math.sin(1.3 * t + 0.7 * i) for i in range(4)]], dtype=torch.float64)


def numbers(values):
    return ", ".join(f"{value:.9}" for value in values)


for name, make in OPTIMIZERS.items():
    w = torch.tensor([[0.5, -0.3, 0.8, 0.1]], dtype=torch.float64, requires_grad=True)
    optimizer = make([w])
    print(name)
    for t in range(1, STEPS + 1):
        w.grad = gradient(t)
        optimizer.step()
        if t in (1, 2, 7, STEPS):
            print(f"    {t}: [{numbers(w.detach()[0].tolist())}],")

for name, make in SCHEDULES.items():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    schedule, rates = make(optimizer), []
    for _ in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    print(f"{name}: [{numbers(rates)}]")

optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
schedule, rates = schedules.ReduceLROnPlateau(optimizer, factor=0.5, patience=2), []
for loss in LOSSES:
    schedule.step(loss)
    rates.append(optimizer.param_groups[0]["lr"])
print(f"plateau:2:0.5 after {LOSSES}: [{numbers(rates)}]")
