"""safetensors files with the standard library alone, of numbers that are the same on every machine."""

import array
import json
import math
import random
import struct
import sys

TYPES = {"F32": "f", "F64": "d", "I64": "q"}


class Tensor:
    """A shape and its numbers, row by row."""

    def __init__(self, kind, shape, numbers):
        self.kind, self.shape = kind, list(shape)
        self.numbers = numbers if isinstance(numbers, array.array) else array.array(TYPES[kind], numbers)
        assert len(self.numbers) == math.prod(self.shape), (kind, shape, len(self.numbers))


def zeros(shape):
    return Tensor("F32", shape, array.array("f", bytes(4 * math.prod(shape))))


def write(path, tensors):
    header, blobs, offset = {}, [], 0
    for name, tensor in tensors.items():
        data = array.array(tensor.numbers.typecode, tensor.numbers)
        if sys.byteorder == "big":
            data.byteswap()
        blob = data.tobytes()
        header[name] = {"dtype": tensor.kind, "shape": tensor.shape, "data_offsets": [offset, offset + len(blob)]}
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def read(path):
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        numbers = array.array(TYPES[entry["dtype"]])
        numbers.frombytes(data[8 + length + start : 8 + length + end])
        if sys.byteorder == "big":
            numbers.byteswap()
        tensors[name] = Tensor(entry["dtype"], entry["shape"], numbers)
    return tensors


class Numbers:
    """Random numbers of a seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def uniform(self, shape, most):
        draw = self.random.random
        return Tensor("F32", shape, array.array("f", [(2.0 * draw() - 1.0) * most for _ in range(math.prod(shape))]))

    def integers(self, shape, below):
        draw = self.random.randrange
        return Tensor("I64", shape, [draw(below) for _ in range(math.prod(shape))])

    def mask(self, shape):
        """Of 0 and 1, a third of it 0, the first 1."""
        draw = self.random.random
        return Tensor("F32", shape, [1.0] + [float(draw() > 1 / 3) for _ in range(math.prod(shape) - 1)])
