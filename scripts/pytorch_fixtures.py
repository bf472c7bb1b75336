"""Writes tests/fixtures/*.safetensors: what PyTorch computes for small networks in float64, loss, outputs and gradient.

The numbers in the repository were made with PyTorch 2.15.0, on a CPU. To make them again:

    pip install torch numpy
    python scripts/pytorch_fixtures.py

A file holds, under the names of the `gradient` command's files and with these prefixes:

    weights.rnn.weight_ih_l0 …   weights.decoder.bias        float64; both biases of a layer are there, and differ
    batch.inputs | tokens, batch.classes | values, batch.mask?, batch.h0?
    gradient.loss, gradient.outputs, gradient.h0, gradient.rnn.weight_ih_l0 …, gradient.decoder.bias

and `activation`, `reduction` and `pytorch` as metadata. All weights and inputs are multiples of 2^-12, so they are exact in
float32 too, and so is the sum of the two biases: what a float32 program differs by is its own arithmetic.
"""

import json
import struct
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "fixtures"

# name: activation, layers, T, B, input size, H, O, input, loss, mask, h0, reduction
CASES = {
    "tanh_1_tokens_entropy": ("tanh", 1, 19, 3, 11, 7, 11, "tokens", "classes", False, False, "mean"),
    "tanh_1_vectors_entropy_one_step": ("tanh", 1, 1, 1, 1, 1, 3, "vectors", "classes", False, True, "sum"),
    "tanh_2_vectors_squared_mask": ("tanh", 2, 7, 5, 3, 9, 2, "vectors", "values", True, True, "sum"),
    "tanh_3_tokens_entropy_mask": ("tanh", 3, 9, 5, 13, 5, 7, "tokens", "classes", True, True, "mean"),
    "tanh_2_tokens_squared_one_sequence": ("tanh", 2, 31, 1, 5, 6, 3, "tokens", "values", False, True, "mean"),
    "relu_1_vectors_squared": ("relu", 1, 11, 3, 2, 13, 1, "vectors", "values", False, True, "mean"),
    "relu_2_tokens_entropy_mask": ("relu", 2, 8, 7, 9, 10, 9, "tokens", "classes", True, False, "mean"),
    "relu_3_vectors_entropy": ("relu", 3, 5, 2, 4, 7, 6, "vectors", "classes", False, True, "sum"),
    "sigmoid_2_tokens_entropy_mask": ("sigmoid", 2, 7, 3, 6, 9, 5, "tokens", "classes", True, True, "mean"),
    "identity_2_vectors_squared": ("identity", 2, 7, 3, 5, 6, 3, "vectors", "values", False, True, "sum"),
}


class Network(nn.Module):
    """nn.RNN and nn.Linear, under the names that the weight files use."""

    def __init__(self, inputs, hidden, layers, outputs, activation):
        super().__init__()
        self.rnn = nn.RNN(inputs, hidden, layers, nonlinearity="relu" if activation == "relu" else "tanh", dtype=torch.float64)
        self.decoder = nn.Linear(hidden, outputs, dtype=torch.float64)
        self.activation = activation

    def forward(self, x, h0):
        if self.activation in ("tanh", "relu"):
            states, _ = self.rnn(x, h0)
        else:  # nn.RNN has no other activation.
            states = self.loop(x, h0)
        return self.decoder(states)

    def loop(self, x, h0):
        """The same network as plain operations, one layer and one step at a time."""
        phi = {"tanh": torch.tanh, "relu": torch.relu, "sigmoid": torch.sigmoid, "identity": lambda a: a}[self.activation]
        for k in range(self.rnn.num_layers):
            u, w, b, b2 = (getattr(self.rnn, f"{name}_l{k}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
            h, states = h0[k], []
            for x_t in x:
                h = phi(x_t @ u.T + b + h @ w.T + b2)
                states.append(h)
            x = torch.stack(states)
        return x


def exact(x):
    """The nearest multiples of 2^-12."""
    return torch.round(x * 4096) / 4096


def save(path, tensors, metadata):
    """Writes a safetensors file by hand: the package orders the metadata by chance, and a file should not change for nothing."""
    names = {torch.float64: "F64", torch.float32: "F32", torch.int64: "I64"}
    header, data = {"__metadata__": metadata}, b""
    for key, value in sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0])):
        end = len(data) + value.numel() * value.element_size()
        header[key] = {"dtype": names[value.dtype], "shape": list(value.shape), "data_offsets": [len(data), end]}
        data += value.contiguous().numpy().tobytes()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def make(name, seed):
    activation, layers, T, B, I, H, O, kind, loss_kind, masked, h0_given, reduction = CASES[name]
    torch.manual_seed(seed)
    network = Network(I, H, layers, O, activation)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(exact((torch.rand_like(parameter) * 2 - 1) * 1.2 / H**0.5))

    batch = {}
    if kind == "tokens":
        batch["tokens"] = torch.randint(I, (T, B))
        x = F.one_hot(batch["tokens"], I).double()
    else:
        batch["inputs"] = exact(torch.randn(T, B, I)).float()
        x = batch["inputs"].double()
    h0 = torch.zeros(layers, B, H, dtype=torch.float64)
    if h0_given:
        batch["h0"] = exact(torch.rand(layers, B, H) - 0.5).float()
        h0 = batch["h0"].double()
    h0.requires_grad_()
    mask = torch.ones(T, B, dtype=torch.float64)
    if masked:
        batch["mask"] = (torch.rand(T, B) < 0.6).float()
        assert 0 < batch["mask"].sum() < T * B
        mask = batch["mask"].double()

    outputs = network(x, h0)
    if loss_kind == "classes":
        batch["classes"] = torch.randint(O, (T, B))
        each = F.cross_entropy(outputs.flatten(0, 1), batch["classes"].flatten(), reduction="none").view(T, B)
    else:
        batch["values"] = exact(torch.randn(T, B, O)).float()
        each = F.mse_loss(outputs, batch["values"].double(), reduction="none").mean(-1)
    loss = (each * mask).sum()
    if reduction == "mean":
        loss = loss / mask.sum()
    loss.backward()

    torch.testing.assert_close(outputs, network.decoder(network.loop(x, h0)), rtol=1e-12, atol=1e-12)
    tensors = {f"batch.{key}": value for key, value in batch.items()}
    tensors |= {f"weights.{key}": value.detach() for key, value in network.named_parameters()}
    tensors |= {f"gradient.{key}": value.grad for key, value in network.named_parameters()}
    tensors |= {"gradient.loss": loss.detach().reshape(1), "gradient.outputs": outputs.detach(), "gradient.h0": h0.grad}
    metadata = {"activation": activation, "reduction": reduction, "pytorch": torch.__version__}
    save(FOLDER / f"{name}.safetensors", tensors, metadata)


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(CASES):
        make(name, seed)
