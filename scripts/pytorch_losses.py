"""Prints what PyTorch's losses of values and their gradients are, in float64: the literals of tests/chain/losses.rs.

    pip install torch
    python scripts/pytorch_losses.py

The quantile loss, which PyTorch does not have, is written with its `maximum` and differentiated by it. The numbers in the repository were
made with PyTorch 2.15.0.
"""

import torch
from torch.nn import functional as F

OUTPUTS = [[0.7, -1.2, 0.3], [2.5, 0.45, -0.8]]
VALUES = [[0.2, 0.9, 0.25], [1.0, 0.0, 0.6]]
CLASSES = [2, 0]
QUANTILES = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)


def quantile(outputs, values):
    error = outputs - values
    return torch.maximum(-QUANTILES * error, (1 - QUANTILES) * error).mean()


LOSSES = {
    "squared error": F.mse_loss,
    "absolute error": F.l1_loss,
    "Huber loss of 0.4": lambda outputs, values: F.huber_loss(outputs, values, delta=0.4),
    "binary cross-entropy": F.binary_cross_entropy_with_logits,
    "quantiles 0.1, 0.5, 0.9": quantile,
}

# Of label smoothing the gradient is PyTorch's, and the loss that of the class alone.
outputs = torch.tensor(OUTPUTS, dtype=torch.float64, requires_grad=True)
classes = torch.tensor(CLASSES)
F.cross_entropy(outputs, classes, label_smoothing=0.2).backward()
rows = [", ".join(f"{d:.9}" for d in row) for row in outputs.grad.tolist()]
print(f"label smoothing of 0.2: {F.cross_entropy(outputs, classes).item():.9}, [[{rows[0]}], [{rows[1]}]]")

values = torch.tensor(VALUES, dtype=torch.float64)
for name, loss_of in LOSSES.items():
    outputs = torch.tensor(OUTPUTS, dtype=torch.float64, requires_grad=True)
    loss = loss_of(outputs, values)
    loss.backward()
    gradient = [", ".join(f"{d:.9}" for d in row) for row in outputs.grad.tolist()]
    print(f"{name}: {loss.item():.9}, [[{gradient[0]}], [{gradient[1]}]]")
