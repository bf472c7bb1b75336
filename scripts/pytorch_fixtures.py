"""Writes tests/fixtures/*.safetensors: what PyTorch computes for small networks in float64, loss, outputs and gradient.

The numbers in the repository were made with PyTorch 2.15.0, on a CPU. To make them again:

    pip install torch numpy
    python scripts/pytorch_fixtures.py

A file holds, under the names of the `gradient` command's files and with these prefixes:

    weights.rnn.weight_ih_l0 …   weights.decoder.bias        float64; both biases of a layer are there, and differ
    weights.encoder.weight                                   float64, where tokens are embedded
    weights.rnn.leak_l0 …                                    float64, for leaky: a number for each unit, or one for all
    batch.inputs | tokens, batch.classes | values, batch.lengths?, batch.mask?, batch.class_weights?, batch.h0?, batch.c0?
    last.h, last.c?                                          where there are lengths: the states after each sequence's last step
    gradient.loss, gradient.outputs, gradient.h0, gradient.c0?, gradient.rnn.weight_ih_l0 …, gradient.decoder.bias

and `cell`, `activation` (where the cell has one), `reduction` and `pytorch` as metadata. All weights and inputs are multiples of 2^-12, so
they are exact in float32 too, and so is the sum of the two biases: what a float32 program differs by is its own arithmetic.
"""

import json
import struct
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import rnn

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "fixtures"

# name: cell, activation, layers, T, B, input size, H, O, input, loss, mask, initial states, reduction
CASES = {
    "tanh_1_tokens_entropy": ("elman", "tanh", 1, 19, 3, 11, 7, 11, "tokens", "classes", False, False, "mean"),
    "tanh_1_vectors_entropy_one_step": ("elman", "tanh", 1, 1, 1, 1, 1, 3, "vectors", "classes", False, True, "sum"),
    "tanh_2_vectors_squared_mask": ("elman", "tanh", 2, 7, 5, 3, 9, 2, "vectors", "values", True, True, "sum"),
    "tanh_3_tokens_entropy_mask": ("elman", "tanh", 3, 9, 5, 13, 5, 7, "tokens", "classes", True, True, "mean"),
    "tanh_2_tokens_squared_one_sequence": ("elman", "tanh", 2, 31, 1, 5, 6, 3, "tokens", "values", False, True, "mean"),
    "relu_1_vectors_squared": ("elman", "relu", 1, 11, 3, 2, 13, 1, "vectors", "values", False, True, "mean"),
    "relu_2_tokens_entropy_mask": ("elman", "relu", 2, 8, 7, 9, 10, 9, "tokens", "classes", True, False, "mean"),
    "relu_3_vectors_entropy": ("elman", "relu", 3, 5, 2, 4, 7, 6, "vectors", "classes", False, True, "sum"),
    "sigmoid_2_tokens_entropy_mask": ("elman", "sigmoid", 2, 7, 3, 6, 9, 5, "tokens", "classes", True, True, "mean"),
    "identity_2_vectors_squared": ("elman", "identity", 2, 7, 3, 5, 6, 3, "vectors", "values", False, True, "sum"),
    "lstm_1_tokens_entropy": ("lstm", None, 1, 19, 3, 11, 7, 11, "tokens", "classes", False, False, "mean"),
    "lstm_1_vectors_entropy_one_step": ("lstm", None, 1, 1, 1, 1, 1, 3, "vectors", "classes", False, True, "sum"),
    "lstm_2_vectors_squared_mask": ("lstm", None, 2, 7, 5, 3, 9, 2, "vectors", "values", True, True, "sum"),
    "lstm_3_tokens_entropy_mask": ("lstm", None, 3, 9, 5, 13, 5, 7, "tokens", "classes", True, True, "mean"),
    "gru_1_tokens_entropy": ("gru", None, 1, 19, 3, 11, 7, 11, "tokens", "classes", False, False, "mean"),
    "gru_1_vectors_entropy_one_step": ("gru", None, 1, 1, 1, 1, 1, 3, "vectors", "classes", False, True, "sum"),
    "gru_2_vectors_squared_mask": ("gru", None, 2, 7, 5, 3, 9, 2, "vectors", "values", True, True, "sum"),
    "gru_3_tokens_entropy_mask": ("gru", None, 3, 9, 5, 13, 5, 7, "tokens", "classes", True, True, "mean"),
    "leaky_1_vectors_squared_one_alpha": ("leaky", "tanh", 1, 11, 3, 2, 13, 1, "vectors", "values", False, True, "mean"),
    "leaky_2_tokens_entropy_mask": ("leaky", "relu", 2, 8, 7, 9, 10, 9, "tokens", "classes", True, True, "mean"),
    "leaky_3_vectors_entropy": ("leaky", "sigmoid", 3, 5, 2, 4, 7, 6, "vectors", "classes", False, True, "sum"),
}

# Those in both directions, and those of sequences of different lengths, which are packed (enforce_sorted=False).
CASES |= {
    "lstm_2_vectors_entropy_both_packed": ("lstm", None, 2, 9, 5, 4, 7, 3, "vectors", "classes", False, True, "mean"),
    "gru_2_tokens_squared_both": ("gru", None, 2, 7, 3, 6, 5, 2, "tokens", "values", True, True, "sum"),
    "tanh_2_tokens_entropy_packed_mask": ("elman", "tanh", 2, 8, 6, 5, 9, 4, "tokens", "classes", True, True, "mean"),
    "leaky_2_vectors_squared_both_packed": ("leaky", "tanh", 2, 6, 4, 3, 5, 2, "vectors", "values", False, True, "mean"),
}
# One whose classes have weights of their own in the loss.
CASES |= {
    "gru_1_vectors_entropy_weights_mask": ("gru", None, 1, 9, 5, 3, 6, 4, "vectors", "classes", True, True, "mean"),
}
CLASS_WEIGHTS = {"gru_1_vectors_entropy_weights_mask": [0.5, 1.0, 2.5, 0.25]}
# Those whose tokens are embedded, and the size of the embedding.
CASES |= {
    "lstm_2_tokens_entropy_embedded_mask": ("lstm", None, 2, 9, 5, 13, 5, 7, "tokens", "classes", True, True, "mean"),
    "gru_2_tokens_squared_both_embedded_packed": ("gru", None, 2, 8, 4, 6, 5, 2, "tokens", "values", False, True, "sum"),
}
EMBEDDINGS = {"lstm_2_tokens_entropy_embedded_mask": 3, "gru_2_tokens_squared_both_embedded_packed": 9}
LENGTHS = {
    "gru_2_tokens_squared_both_embedded_packed": [5, 8, 1, 8],
    "lstm_2_vectors_entropy_both_packed": [4, 9, 1, 7, 2],
    "tanh_2_tokens_entropy_packed_mask": [3, 8, 5, 1, 8, 6],
    "leaky_2_vectors_squared_both_packed": [2, 6, 1, 5],
}

MODULES = {"elman": nn.RNN, "leaky": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
STATES = {"elman": ["h"], "leaky": ["h"], "gru": ["h"], "lstm": ["h", "c"]}


class Network(nn.Module):
    """A recurrent module and nn.Linear, maybe after an nn.Embedding, under the names that the weight files use."""

    def __init__(self, inputs, embedding, hidden, layers, outputs, cell, activation, both):
        super().__init__()
        options = {"nonlinearity": "relu"} if activation == "relu" else {}
        self.encoder = nn.Embedding(inputs, embedding, dtype=torch.float64) if embedding else None
        self.rnn = MODULES[cell](embedding or inputs, hidden, layers, dtype=torch.float64, bidirectional=both, **options)
        self.decoder = nn.Linear(hidden * (1 + both), outputs, dtype=torch.float64)
        self.cell, self.activation = cell, activation
        self.suffixes = [f"l{k}{end}" for k in range(layers) for end in ("", "_reverse")[: 1 + both]]
        self.leaks = []

    def forward(self, x, states, lengths):
        """What the head puts out, and the last states."""
        # PyTorch has no leaky cell, and nn.RNN no other activation.
        if self.cell == "leaky" or self.activation not in ("tanh", "relu", None):
            h, last = self.loop(x, states, lengths)
            return self.decoder(h), last
        packed = x if lengths is None else rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
        h, last = self.rnn(packed, tuple(states) if len(states) > 1 else states[0])
        if lengths is not None:
            h, _ = rnn.pad_packed_sequence(h, total_length=len(x))
        return self.decoder(h), list(last) if len(states) > 1 else [last]

    def loop(self, x, states, lengths):
        """The same network as plain operations, one layer, direction and step at a time; behind a sequence's end its states stay."""
        lengths = torch.full((x.shape[1],), len(x)) if lengths is None else lengths
        last, directions = [], 1 + self.rnn.bidirectional
        for k in range(self.rnn.num_layers):
            both = []
            for d in range(directions):
                place = k * directions + d
                names = (f"{name}_{self.suffixes[place]}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
                u, w, b, b2 = (getattr(self.rnn, name) for name in names)
                state, all_h = [s[place] for s in states], [None] * len(x)
                for t in reversed(range(len(x))) if d else range(len(x)):
                    after = self.step(place, x[t] @ u.T + b, state[0] @ w.T + b2, *state)
                    live = (t < lengths)[:, None]
                    state = [torch.where(live, new, old) for new, old in zip(after, state)]
                    all_h[t] = torch.where(live, state[0], 0.0)
                both.append(torch.stack(all_h))
                last.append(state)
            x = torch.cat(both, -1)
        return x, [torch.stack(states) for states in zip(*last)]

    def step(self, place, a, r, h, c=None):
        """The states after a step from the sums of the input, those of the state before, and the states before."""
        if self.cell == "lstm":
            i, f, g, o = (a + r).chunk(4, -1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            return torch.sigmoid(o) * torch.tanh(c), c
        if self.cell == "gru":
            (a_r, a_z, a_n), (r_r, r_z, r_n) = a.chunk(3, -1), r.chunk(3, -1)
            z = torch.sigmoid(a_z + r_z)
            return ((1 - z) * torch.tanh(a_n + torch.sigmoid(a_r + r_r) * r_n) + z * h,)
        phi = {"tanh": torch.tanh, "relu": torch.relu, "sigmoid": torch.sigmoid, "identity": lambda v: v}[self.activation]
        if self.cell == "leaky":
            return ((1 - self.leaks[place]) * h + self.leaks[place] * phi(a + r),)
        return (phi(a + r),)


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
    cell, activation, layers, T, B, I, H, O, kind, loss_kind, masked, states_given, reduction = CASES[name]
    torch.manual_seed(seed)
    both = "_both" in name
    network = Network(I, EMBEDDINGS.get(name), H, layers, O, cell, activation, both)
    places = layers * (1 + both)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(exact((torch.rand_like(parameter) * 2 - 1) * 1.2 / H**0.5))

    batch = {}
    if kind == "tokens":
        batch["tokens"] = torch.randint(I, (T, B))
        x = network.encoder(batch["tokens"]) if network.encoder else F.one_hot(batch["tokens"], I).double()
    else:
        batch["inputs"] = exact(torch.randn(T, B, I)).float()
        x = batch["inputs"].double()
    states = {}
    for state in STATES[cell]:
        states[state] = torch.zeros(places, B, H, dtype=torch.float64)
        if states_given:
            batch[f"{state}0"] = exact(torch.rand(places, B, H) - 0.5).float()
            states[state] = batch[f"{state}0"].double()
        states[state].requires_grad_()
    mask = torch.ones(T, B, dtype=torch.float64)
    if masked:
        batch["mask"] = (torch.rand(T, B) < 0.6).float()
        assert 0 < batch["mask"].sum() < T * B
        mask = batch["mask"].double()
    if cell == "leaky":
        units = 1 if name.endswith("one_alpha") else H
        network.leaks = [exact(torch.rand(units, dtype=torch.float64) * 0.9 + 0.05) for _ in range(places)]
    lengths = None
    if name in LENGTHS:
        lengths = batch["lengths"] = torch.tensor(LENGTHS[name])
        mask = mask * (torch.arange(T)[:, None] < lengths)

    outputs, last = network(x, list(states.values()), lengths)
    if loss_kind == "classes":
        batch["classes"] = torch.randint(O, (T, B))
        weights = CLASS_WEIGHTS.get(name)
        if weights:
            weights = torch.tensor(weights, dtype=torch.float64)
            batch["class_weights"] = weights.float()
        each = F.cross_entropy(outputs.flatten(0, 1), batch["classes"].flatten(), weights, reduction="none").view(T, B)
    else:
        batch["values"] = exact(torch.randn(T, B, O)).float()
        each = F.mse_loss(outputs, batch["values"].double(), reduction="none").mean(-1)
    loss = (each * mask).sum()
    if reduction == "mean" and name in CLASS_WEIGHTS:
        # PyTorch's own mean, which divides by the weights of what counts.
        classes = torch.where(mask > 0, batch["classes"], -100)
        loss = F.cross_entropy(outputs.flatten(0, 1), classes.flatten(), weights)
    elif reduction == "mean":
        loss = loss / mask.sum()
    loss.backward()

    again, last_again = network.loop(x, list(states.values()), lengths)
    torch.testing.assert_close(outputs, network.decoder(again), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(last, last_again, rtol=1e-12, atol=1e-12)
    tensors = {f"batch.{key}": value for key, value in batch.items()}
    tensors |= {f"weights.{key}": value.detach() for key, value in network.named_parameters()}
    tensors |= {f"weights.rnn.leak_{suffix}": leak for suffix, leak in zip(network.suffixes, network.leaks)}
    if lengths is not None:
        tensors |= {f"last.{state}": value.detach() for state, value in zip(STATES[cell], last)}
    tensors |= {f"gradient.{key}": value.grad for key, value in network.named_parameters()}
    tensors |= {f"gradient.{key}0": value.grad for key, value in states.items()}
    tensors |= {"gradient.loss": loss.detach().reshape(1), "gradient.outputs": outputs.detach()}
    metadata = {"cell": cell, "reduction": reduction, "pytorch": torch.__version__}
    if activation:
        metadata["activation"] = activation
    save(FOLDER / f"{name}.safetensors", tensors, metadata)


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(CASES):
        make(name, seed)
