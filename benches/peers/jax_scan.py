#!/usr/bin/env python3
"""Times one training step of an Elman network in JAX, and prints one JSON document.

A step is forward, backward and SGD update of jax.lax.scan over h = tanh(x·U + h·W + b) with a linear decoder and squared
error, compiled as a whole by jax.jit, on random inputs [T, B, I] and targets [T, B, O]. The input's product of all time steps
is one, outside of the scan. Products are in f32: precision "highest". The other programs in benches/peers time the same step.

    pip install jax            (for CUDA: pip install "jax[cuda13]")
    python3 benches/peers/jax_scan.py --hidden 128,256 --batch 32 --window 64
    python3 benches/peers/jax_scan.py --device gpu
"""

import os

import peer


class Jax:
    name = "JAX"
    cpu_device, gpu_device = "cpu", "gpu"
    cells = ("elman",)
    errors = (RuntimeError,)  # which XLA's errors are

    def open(self, options):
        # Memory as it is needed: others measure on the same device.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        threads = options.threads or peer.cores()
        if options.device == "cpu":
            os.environ["JAX_PLATFORMS"] = "cpu"
            if options.threads:  # XLA takes the cores that the process may run on
                os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
        global jax, jnp  # imported late, so that --help and a wrong flag are answered without it, and at once
        try:
            import jax
            import jax.numpy as jnp
        except ImportError as error:
            peer.give_up(f"this Python has no JAX ({error}); install it with: pip install jax")
        try:
            device = jax.devices(options.device)[0]
        except RuntimeError as error:
            peer.give_up(f"JAX finds no {options.device.upper()} ({str(error).splitlines()[0]})")
        jax.config.update("jax_default_device", device)
        jax.config.update("jax_default_matmul_precision", "highest")
        self.version = jax.__version__
        self.keys = iter(jax.random.split(jax.random.key(1), 100_000))
        on_gpu = options.device == "gpu"
        return {
            "threads": threads,
            "adapter": device.device_kind if on_gpu else None,
            "driver": device.client.platform_version.splitlines()[0] if on_gpu else None,
        }

    def set_precision(self, precision):
        assert precision == "f32", precision

    def random(self, *shape):
        return jax.random.normal(next(self.keys), shape, dtype=jnp.float32)

    def weights(self, size):
        layers, hidden, first = size["layers"], size["hidden"], size["input"]

        def tensor(*shape):
            return jax.random.uniform(next(self.keys), shape, jnp.float32, -1.0, 1.0) / hidden**0.5

        recurrent = [(tensor(hidden if k else first, hidden), tensor(hidden, hidden), tensor(hidden)) for k in range(layers)]
        return recurrent, (tensor(hidden, size["output"]), tensor(size["output"]))

    def step(self, size):
        weights = self.weights(size)
        inputs = self.random(size["window"], size["batch"], size["input"])
        targets = self.random(size["window"], size["batch"], size["output"])

        def loss(weights, x, targets):
            layers, (decoder, bias) = weights
            for u, w, b in layers:
                before = jnp.zeros((size["batch"], size["hidden"]))

                def cell(h, sums, w=w):
                    h = jnp.tanh(sums + h @ w)
                    return h, h

                _, x = jax.lax.scan(cell, before, x @ u + b)
            return jnp.mean((x @ decoder + bias - targets) ** 2)

        def train(weights, *batch):
            value, gradient = jax.value_and_grad(loss)(weights, *batch)
            return value, jax.tree.map(lambda w, g: w - 0.01 * g, weights, gradient)

        compiled = jax.jit(train, donate_argnums=0)
        state = weights

        def step():
            nonlocal state
            value, state = compiled(state, inputs, targets)
            return value

        return step

    def product(self, form, n):
        a, b = self.random(n, n), self.random(n, n)
        product = {"nn": lambda a, b: a @ b, "nt": lambda a, b: a @ b.T, "tn": lambda a, b: a.T @ b}[form]
        compiled = jax.jit(product)
        return lambda: compiled(a, b)

    def finish(self, result):
        # Work on a device is done in the order in which it was queued.
        result.block_until_ready()

    def value(self, result):
        return float(result.sum())

    def forget(self):
        jax.clear_caches()


if __name__ == "__main__":
    peer.main(Jax())
