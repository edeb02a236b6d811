#!/usr/bin/env python3
"""One training step of each workload with JAX: jit of value_and_grad and optax.adam, buffers donated.

    PEERS/bin/python benchmarks/peers/steps_jax.py --workload NAME --threads N --seconds S

Networks, numbers and timing are those of workload.hpp beside this file; the one line it prints is the same as well.
JAX has no call that sets its number of threads: the process is kept to N cores instead.
"""

import argparse
import json
import os
import resource
import time

WORKLOADS = {
    # sizes, batch, batch normalisation, regression (tanh and mean squared error)
    "tiny": ((2, 32, 32, 1), 32, False, True),
    "small": ((64, 128, 128, 10), 64, True, False),
    "mnist": ((784, 256, 128, 10), 128, True, False),
    "deep": ((128,) * 51 + (10,), 64, True, False),
    "wide": ((2048, 4096, 4096, 1000), 256, False, False),
}

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--workload", choices=WORKLOADS, default="mnist")
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--seconds", type=float, default=2.0)
arguments = parser.parse_args()

# Before JAX is imported: it looks at these once.
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.threads])
os.environ["JAX_PLATFORMS"] = "cpu"
if arguments.threads == 1:
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402

sizes, batch, batch_norm, regression = WORKLOADS[arguments.workload]
layers = len(sizes) - 1


def hashes(stream, size):
    with np.errstate(over="ignore"):
        z = np.arange(size, dtype=np.uint64) + np.uint64(stream << 40) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def values(stream, shape, factor=1.0):
    numbers = (hashes(stream, int(np.prod(shape))) >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0
    return (numbers * factor).astype(np.float32).reshape(shape)


def initial_state():
    """Parameters, and the running statistics of the normalisations."""
    parameters, statistics = [], []
    for k, (fan_in, fan_out) in enumerate(zip(sizes, sizes[1:])):
        # (in, out) in memory, as JAX's users keep it
        layer = {"weight": np.ascontiguousarray(values(100 + k, (fan_out, fan_in), np.sqrt(1.0 / fan_in)).T)}
        last = k == layers - 1
        if last or not batch_norm:
            layer["bias"] = np.zeros(fan_out, np.float32)
        if batch_norm and not last:
            layer["scale"], layer["shift"] = np.ones(fan_out, np.float32), np.zeros(fan_out, np.float32)
            statistics.append({"mean": np.zeros(fan_out, np.float32), "var": np.ones(fan_out, np.float32)})
        parameters.append(layer)
    return jax.tree.map(jnp.array, (parameters, statistics))


def normalise(layer, running, h, momentum=0.1, eps=1e-5):
    mean, var = jnp.mean(h, 0), jnp.var(h, 0)
    running = {
        "mean": (1 - momentum) * running["mean"] + momentum * mean,
        "var": (1 - momentum) * running["var"] + momentum * var * (batch / (batch - 1)),
    }
    return (h - mean) * (layer["scale"] * jax.lax.rsqrt(var + eps)) + layer["shift"], running


def loss_of(parameters, statistics, x, y):
    h, updated = x, []
    for k, layer in enumerate(parameters):
        h = h @ layer["weight"]
        if "bias" in layer:
            h = h + layer["bias"]
        if k == layers - 1:
            break
        if batch_norm:
            h, running = normalise(layer, statistics[k], h)
            updated.append(running)
        h = jnp.tanh(h) if regression else jax.nn.relu(h)
    if regression:
        loss = jnp.mean(jnp.square(h - y))
    else:
        loss = jnp.mean(optax.softmax_cross_entropy_with_integer_labels(h, y))
    return loss, updated


optimizer = optax.adam(1e-3)


@jax.jit(donate_argnums=(0, 1, 2))
def train_step(parameters, statistics, state, x, y):
    (loss, statistics), gradients = jax.value_and_grad(loss_of, has_aux=True)(parameters, statistics, x, y)
    updates, state = optimizer.update(gradients, state)
    return optax.apply_updates(parameters, updates), statistics, state, loss


def main():
    x = jnp.array(values(0, (batch, sizes[0])))
    if regression:
        y = jnp.array(values(1, (batch, sizes[-1])))
    else:
        y = jnp.array((hashes(1, batch) % np.uint64(sizes[-1])).astype(np.int32))
    parameters, statistics = initial_state()
    state = optimizer.init(parameters)

    losses = []
    for i in range(20):
        if i == 10:
            start = time.perf_counter()
        parameters, statistics, state, loss = train_step(parameters, statistics, state, x, y)
        losses.append(float(loss))
    per_round = max(1, round(0.01 / ((time.perf_counter() - start) / 10)))

    samples = []
    begin = time.perf_counter()
    while time.perf_counter() - begin < arguments.seconds or len(samples) < 3:
        start = time.perf_counter()
        for _ in range(per_round):
            parameters, statistics, state, loss = train_step(parameters, statistics, state, x, y)
        float(loss)
        samples.append((time.perf_counter() - start) / per_round * 1e6)

    print(json.dumps({
        "framework": f"JAX {jax.__version__}",
        "workload": arguments.workload,
        "threads": arguments.threads,
        "step_us_median": round(float(np.median(samples)), 3),
        "step_us_min": round(min(samples), 3),
        "steps": per_round * len(samples),
        "losses": losses,
        "peak_rss_kb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }))


main()
