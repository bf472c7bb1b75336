#!/usr/bin/env python3
"""Times one training step of a recurrent network in PyTorch, and prints one JSON document.

A step is forward, backward and SGD update of nn.RNN (tanh), nn.LSTM or nn.GRU with an nn.Linear decoder and squared error, on random inputs
[T, B, I] and targets [T, B, O], as a user of PyTorch would write it. The other programs in benches/peers time the same step.

    pip install torch
    python3 benches/peers/pytorch.py --hidden 128,256 --batch 32 --window 64
    python3 benches/peers/pytorch.py --device cuda --tf32
"""

import peer


class PyTorch:
    name = "PyTorch"
    cpu_device, gpu_device = "cpu", "cuda"
    cells = ("elman", "gru", "lstm")
    errors = (RuntimeError,)  # how PyTorch says that memory ran out

    def open(self, options):
        global torch  # imported late, so that --help and a wrong flag are answered without it, and at once
        try:
            import torch
        except ImportError as error:
            peer.give_up(f"this Python has no PyTorch ({error}); install it with: pip install torch")
        self.device = options.device
        on_gpu = self.device == "cuda"
        if on_gpu and not torch.cuda.is_available():
            peer.give_up("PyTorch finds no CUDA device")
        self.version = torch.__version__
        torch.set_num_threads(options.threads or peer.cores())
        torch.manual_seed(1)
        return {
            "threads": torch.get_num_threads(),
            "adapter": torch.cuda.get_device_name() if on_gpu else None,
            "driver": f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}" if on_gpu else None,
        }

    def set_precision(self, precision):
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        torch.backends.cudnn.allow_tf32 = precision == "tf32"

    def step(self, size):
        device = self.device
        cell = {"elman": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[size["cell"]]
        rnn = cell(size["input"], size["hidden"], size["layers"], batch_first=False).to(device)
        decoder = torch.nn.Linear(size["hidden"], size["output"]).to(device)
        optimizer = torch.optim.SGD([*rnn.parameters(), *decoder.parameters()], lr=0.01)
        inputs = torch.randn(size["window"], size["batch"], size["input"], device=device)
        targets = torch.randn(size["window"], size["batch"], size["output"], device=device)

        def step():
            optimizer.zero_grad()
            states, _ = rnn(inputs)
            loss = torch.nn.functional.mse_loss(decoder(states), targets)
            loss.backward()
            optimizer.step()
            return loss

        return step

    def product(self, form, n):
        a, b = (torch.randn(n, n, device=self.device) for _ in range(2))
        a, b = a.T if form == "tn" else a, b.T if form == "nt" else b
        out = torch.empty(n, n, device=self.device)
        return lambda: torch.mm(a, b, out=out)

    def finish(self, _):
        # On CUDA calls only queue work; on the CPU it is done when they return.
        if self.device == "cuda":
            torch.cuda.synchronize()

    def value(self, result):
        return result.sum().item()

    def forget(self):
        torch.cuda.empty_cache()


if __name__ == "__main__":
    peer.main(PyTorch(), precisions=("f32", "tf32"))
