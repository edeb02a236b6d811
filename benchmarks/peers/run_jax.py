#!/usr/bin/env python3
"""JAX's side of the comparison: jit of functions and of their vjp; training steps with optax.adam and donated buffers.

    PEERS/bin/python benchmarks/peers/run_jax.py --threads N --seconds S CASE…

Numbers, networks, timing and the lines that are printed are those of measure.hpp and workload.hpp beside this file. JAX
has no call that sets its number of threads: the process is kept to N cores instead.
"""

import argparse
import functools
import json
import math
import os
import pathlib
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--seconds", type=float, default=0.2)
parser.add_argument("cases", nargs="+")
arguments = parser.parse_args()

# Before JAX is imported: it looks at these once.
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-arguments.threads:])
os.environ["JAX_PLATFORMS"] = "cpu"
if arguments.threads == 1:
    single = " --xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + single

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402

WORKLOADS = {
    # sizes, batch, batch normalisation, regression (tanh and mean squared error)
    "tiny": ((2, 32, 32, 1), 32, False, True),
    "small": ((64, 128, 128, 10), 64, True, False),
    "mnist": ((784, 256, 128, 10), 128, True, False),
    "deep": ((128,) * 51 + (10,), 64, True, False),
    "wide": ((2048, 4096, 4096, 1000), 256, False, False),
    "simplechains": ((4, 32, 16, 4), 10_000, False, True),
}


# Numbers and timing, as in measure.hpp.

def hashes(stream, size):
    with np.errstate(over="ignore"):
        z = np.arange(size, dtype=np.uint64) + np.uint64(stream << 40) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def values(stream, shape, factor=1.0):
    numbers = (hashes(stream, int(np.prod(shape))) >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0
    return (numbers * factor).astype(np.float32).reshape(shape)


def labels(stream, size, classes):
    return (hashes(stream, size) % np.uint64(classes)).astype(np.int32)


def fingerprint(x):
    x = np.asarray(x, np.float64).ravel()
    some = [x[k * (x.size - 1) // 7] for k in range(min(x.size, 8))]
    return [float(number) for number in (*some, x.mean(), np.sqrt(np.mean(x * x)))]


def relative(fingerprint):
    *numbers, size = fingerprint
    return [number / size for number in numbers] + [float(np.log(size))]


def measure(step, finish):
    step()
    finish()
    per_round = 1
    while True:
        start = time.perf_counter()
        for _ in range(per_round):
            step()
        finish()
        elapsed = time.perf_counter() - start
        if elapsed > 0.005:
            break
        per_round *= 2
    per_round = max(1, round(0.01 * per_round / elapsed))

    samples = []
    begin = time.perf_counter()
    while time.perf_counter() - begin < arguments.seconds or len(samples) < 3:
        start = time.perf_counter()
        for _ in range(per_round):
            step()
        finish()
        samples.append((time.perf_counter() - start) / per_round * 1e6)
    return {"us": float(np.median(samples)), "us_min": min(samples)}


def measure_each(step):
    begin = time.perf_counter()
    while time.perf_counter() - begin < 0.05:
        step()
    samples = []
    begin = time.perf_counter()
    while time.perf_counter() - begin < arguments.seconds:
        start = time.perf_counter()
        step()
        samples.append((time.perf_counter() - start) * 1e6)
    return {"us": float(np.median(samples)), "us_min": min(samples), "us_p999": float(np.quantile(samples, 0.999))}


def memory_kb(field):
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])


# Functions of one array, and of what they are trained with.

FUNCTIONS = {
    "silu": jax.nn.silu,
    "tanh": jnp.tanh,
    "gelu_tanh": functools.partial(jax.nn.gelu, approximate=True),
    "gelu_erf": functools.partial(jax.nn.gelu, approximate=False),
    "sigmoid": jax.nn.sigmoid,
    "mish": jax.nn.mish,
    "composed_gelu": lambda x: 0.5 * x * (1 + jnp.tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x))),
    "composed_swish": lambda x: x / (1 + jnp.exp(-x)),
    "softmax": jax.nn.softmax,
    "log_softmax": jax.nn.log_softmax,
    "sum_rows": lambda x: jnp.sum(x, 1),
    "sum_columns": lambda x: jnp.sum(x, 0),
    "mean_rows": lambda x: jnp.mean(x, 1),
    "mean_columns": lambda x: jnp.mean(x, 0),
    "variance_rows": lambda x: jnp.var(x, 1),
    "variance_columns": lambda x: jnp.var(x, 0),
    "max_rows": lambda x: jnp.max(x, 1),
    "max_columns": lambda x: jnp.max(x, 0),
    "logsumexp_rows": lambda x: jax.nn.logsumexp(x, 1),
    "softmax_columns": lambda x: jax.nn.softmax(x, 0),
    "transposed": jnp.transpose,
    "stacked": lambda x: jnp.stack([x, x], -1),
    "outer": lambda x: x[:, :, None] * x[:, None, :],
    "every_second": lambda x: x[:, ::2],
}


def layer_norm(x, scale, shift, eps=1e-5):
    mean, var = jnp.mean(x, -1, keepdims=True), jnp.var(x, -1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(var + eps) * scale + shift


def batch_norm(x, scale, shift, running, momentum=0.1, eps=1e-5):
    """The result, and the running statistics."""
    mean, var = jnp.mean(x, 0), jnp.var(x, 0)
    updated = {
        "mean": (1 - momentum) * running["mean"] + momentum * mean,
        "var": (1 - momentum) * running["var"] + momentum * var * (x.shape[0] / (x.shape[0] - 1)),
    }
    return (x - mean) * (scale * jax.lax.rsqrt(var + eps)) + shift, updated


def fresh_statistics(size):
    return {"mean": np.zeros(size, np.float32), "var": np.ones(size, np.float32)}


def function(_, name, shape, direction):
    rows, columns = map(int, shape.split("x"))
    x = jnp.array(values(2, (rows, columns), 4.0))
    affine = (jnp.ones(columns), jnp.zeros(columns))
    parameters, statistics = (), ()  # statistics are changed by each call
    if name == "cross_entropy":
        y_true = jnp.array(labels(1, rows, columns))

        def f(x, statistics):
            return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(x, y_true)), statistics
    elif name == "batch_norm":
        parameters, statistics = affine, jax.tree.map(jnp.array, fresh_statistics(columns))

        def f(x, scale, shift, statistics):
            return batch_norm(x, scale, shift, statistics)
    elif name == "layer_norm":
        parameters = affine

        def f(x, scale, shift, statistics):
            return layer_norm(x, scale, shift), statistics
    elif name in ("times_row", "times_column"):
        parameters = (jnp.array(values(4, (columns,) if name == "times_row" else (rows, 1))),)

        def f(x, factor, statistics):
            return x * factor, statistics
    elif name in ("matrix_vector", "scalar_products"):
        size = math.isqrt(columns) if name == "matrix_vector" else columns
        parameters = (jnp.array(values(4, (rows, size, 1))),)

        def f(x, vectors, statistics):
            return x.reshape(rows, -1, size) @ vectors, statistics
    elif name == "taken":
        indices = jnp.array(labels(1, columns, columns))

        def f(x, statistics):
            return jnp.take(x, indices, 1), statistics
    elif name == "masked":
        mask = jnp.array(labels(1, columns, 2), dtype=bool)

        def f(x, statistics):
            return jnp.where(mask, x, -1), statistics
    elif name == "pooled":
        def f(x, statistics):
            return x.reshape(rows // 2, 2, columns // 2, 2).max((1, 3)), statistics
    else:
        def f(x, statistics):
            return FUNCTIONS[name](x), statistics

    forward = jax.jit(f, donate_argnums=1 + len(parameters))

    @functools.partial(jax.jit, donate_argnums=2)
    def backward(inputs, g, statistics):
        y, vjp, statistics = jax.vjp(lambda *inputs: f(*inputs, statistics), *inputs, has_aux=True)
        return y, vjp(g), statistics

    y, statistics = forward(x, *parameters, statistics)
    g = jnp.array(values(3, y.shape))
    gradients = ()

    def step():
        nonlocal y, gradients, statistics
        if direction == "forward":
            y, statistics = forward(x, *parameters, statistics)
        else:
            y, gradients, statistics = backward((x, *parameters), g, statistics)

    result = measure(step, lambda: jax.block_until_ready((y, gradients)))
    result["values"] = sum(map(fingerprint, (y, *gradients)), [])
    return result


# Networks, as in workload.hpp.

class Network:
    def __init__(self, name, batch=None):
        self.sizes, usual_batch, self.batch_norm, self.regression = WORKLOADS[name]
        self.batch = batch or usual_batch
        self.layers = len(self.sizes) - 1
        self.x = jnp.array(values(0, (self.batch, self.sizes[0])))

    def initial(self):
        """Parameters, and the running statistics of the normalisations."""
        parameters, statistics = [], []
        for k, (fan_in, fan_out) in enumerate(zip(self.sizes, self.sizes[1:])):
            # (in, out) in memory, as JAX's users keep it
            layer = {"weight": np.ascontiguousarray(values(100 + k, (fan_out, fan_in), np.sqrt(1.0 / fan_in)).T)}
            last = k == self.layers - 1
            if last or not self.batch_norm:
                layer["bias"] = np.zeros(fan_out, np.float32)
            if self.batch_norm and not last:
                layer["scale"], layer["shift"] = np.ones(fan_out, np.float32), np.zeros(fan_out, np.float32)
                statistics.append(fresh_statistics(fan_out))
            parameters.append(layer)
        return jax.tree.map(jnp.array, (parameters, statistics))

    def output(self, parameters, statistics, x, training):
        updated = []
        for k, layer in enumerate(parameters):
            x = x @ layer["weight"]
            if "bias" in layer:
                x = x + layer["bias"]
            if k == self.layers - 1:
                break
            if self.batch_norm and training:
                x, running = batch_norm(x, layer["scale"], layer["shift"], statistics[k])
                updated.append(running)
            elif self.batch_norm:
                running = statistics[k]
                x = (x - running["mean"]) * (layer["scale"] * jax.lax.rsqrt(running["var"] + 1e-5)) + layer["shift"]
            x = jnp.tanh(x) if self.regression else jax.nn.relu(x)
        return x, updated

    def loss(self, parameters, statistics, x, y):
        output, updated = self.output(parameters, statistics, x, training=True)
        if self.regression:
            return jnp.mean(jnp.square(output - y)), updated
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(output, y)), updated


def make_train_step(network):
    optimizer = optax.adam(1e-3)

    @functools.partial(jax.jit, donate_argnums=(0, 1, 2))
    def train_step(parameters, statistics, state, x, y):
        value_and_grad = jax.value_and_grad(network.loss, has_aux=True)
        (loss, statistics), gradients = value_and_grad(parameters, statistics, x, y)
        updates, state = optimizer.update(gradients, state)
        return optax.apply_updates(parameters, updates), statistics, state, loss

    return train_step, optimizer


def steps(group, name):
    jax.block_until_ready(jnp.ones(1) + 1)
    baseline_kb = memory_kb("VmRSS")
    network = Network(name)
    classes = network.sizes[-1]
    y = jnp.array(values(1, (network.batch, classes)) if network.regression else labels(1, network.batch, classes))
    train_step, optimizer = make_train_step(network)
    parameters, statistics = network.initial()
    state = optimizer.init(parameters)
    loss = None

    def step():
        nonlocal parameters, statistics, state, loss
        parameters, statistics, state, loss = train_step(parameters, statistics, state, network.x, y)

    if group == "start":
        step()
        return {"values": [float(loss)]}
    before_kb = memory_kb("VmHWM")
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    losses = []
    for _ in range(20):
        step()
        losses.append(float(loss))
    result = measure(step, lambda: float(loss))
    peak_kb = memory_kb("VmHWM")
    result |= {"peak_above_baseline_kb": peak_kb - baseline_kb, "peak_kb": max(peak_kb, before_kb), "values": losses}
    return result


# Losses, as in models.hpp: the shapes of inputs and parameters, and what is computed.

def affine(x, weight, bias=0):
    return x @ weight.T + bias


def transformer(p, x):
    normalized = layer_norm(x, p[0], p[1])
    q, k, v = affine(normalized, p[2], p[3]).reshape(8, 64, 3, 4, 32).transpose(2, 0, 3, 1, 4)
    attention = jax.nn.softmax(q @ k.swapaxes(-1, -2) / np.sqrt(32).astype(np.float32))
    y = x + affine((attention @ v).transpose(0, 2, 1, 3).reshape(8, 64, 128), p[4], p[5])
    up = affine(layer_norm(y, p[6], p[7]), p[8], p[9])
    return jnp.mean(jnp.square(y + affine(jax.nn.gelu(up, approximate=False), p[10], p[11])))


def lstm(p, x):
    def step(state, x):
        h, c = state
        gates = jnp.split(affine(x, p[0]) + affine(h, p[1]), 4, 1)
        c = jax.nn.sigmoid(gates[1]) * c + jax.nn.sigmoid(gates[0]) * jnp.tanh(gates[2])
        return (jax.nn.sigmoid(gates[3]) * jnp.tanh(c), c), None

    (h, _), _ = jax.lax.scan(step, (jnp.zeros((32, 128)), jnp.zeros((32, 128))), x)
    return jnp.mean(jnp.square(h))


def burgers(p, x, t):
    def u(x, t):
        y = jnp.concatenate([x, t])
        for layer in range(3):
            y = jnp.tanh(affine(y, p[2 * layer], p[2 * layer + 1]))
        return affine(y, p[6], p[7])[0]

    def residual(x, t):
        first = jax.grad(u, (0, 1))(x, t)
        second = jax.grad(lambda x: jax.grad(u)(x, t)[0])(x)
        return first[1] + u(x, t) * first[0] - 0.01 * second

    return jnp.mean(jnp.square(jax.vmap(residual)(x, t)))


def mixture(p, x):
    distance = (x - p[1]) * jnp.exp(-p[2])
    log_density = jax.nn.log_softmax(p[0]) - jnp.sum(p[2], 1) - 0.5 * jnp.sum(jnp.square(distance), -1)
    return -jnp.mean(jax.nn.logsumexp(log_density, 1))


MODELS = {
    transformer: ([(8, 64, 128)], [128, 128, (384, 128), 384, (128, 128), 128,
                                   128, 128, (512, 128), 512, (128, 512), 128]),
    lstm: ([(32, 32, 128)], [(512, 128), (512, 128)]),
    burgers: ([(1024, 1), (1024, 1)], [(64, 2), 64, (64, 64), 64, (64, 64), 64, (1, 64), 1]),
    mixture: ([(4096, 1, 2)], [16, (16, 2), (16, 2)]),
}


def models(_, name):
    loss, (inputs, parameters) = next((loss, sizes) for loss, sizes in MODELS.items() if loss.__name__ == name)
    inputs = [jnp.array(values(k, shape)) for k, shape in enumerate(inputs)]
    parameters = [jnp.array(values(100 + k, shape, np.sqrt(1.0 / np.atleast_1d(shape)[-1])))
                  for k, shape in enumerate(parameters)]
    value_and_grad = jax.jit(jax.value_and_grad(loss))
    result = None

    def step():
        nonlocal result
        result = value_and_grad(parameters, *inputs)

    measured = measure(step, lambda: jax.block_until_ready(result))
    measured["values"] = sum((relative(fingerprint(gradient)) for gradient in result[1]), [float(result[0])])
    return measured


def inference(_, name, batch):
    network = Network(name, int(batch))
    parameters, statistics = network.initial()
    predict = jax.jit(lambda parameters, statistics, x: network.output(parameters, statistics, x, training=False)[0])
    y = None

    def step():
        nonlocal y
        y = predict(parameters, statistics, network.x)

    def finish():
        y.block_until_ready()

    def step_and_wait():
        step()
        finish()

    result = measure_each(step_and_wait) if batch == "1" else measure(step, finish)
    result["values"] = fingerprint(y)
    return result


def digits(_, epochs):
    """examples/digits.cpp: trains on the files in $XGRAD_MNIST and gives the accuracy on the test set."""
    import idx

    train_x, train_y = (jnp.array(part) for part in idx.read_mnist(os.environ["XGRAD_MNIST"], "train"))
    test_x, test_y = (jnp.array(part) for part in idx.read_mnist(os.environ["XGRAD_MNIST"], "t10k"))
    network = Network("mnist")
    parameters, statistics = network.initial()
    train_step, optimizer = make_train_step(network)
    state = optimizer.init(parameters)
    generator = np.random.default_rng(1)
    for _ in range(int(epochs)):
        order = generator.permutation(len(train_x))
        for start in range(0, len(order), network.batch):
            batch = order[start:start + network.batch]
            parameters, statistics, state, _ = train_step(parameters, statistics, state, train_x[batch], train_y[batch])

    @jax.jit
    def right(x, y):
        return jnp.sum(jnp.argmax(network.output(parameters, statistics, x, training=False)[0], 1) == y)

    count = sum(int(right(test_x[i:i + 1000], test_y[i:i + 1000])) for i in range(0, len(test_x), 1000))
    return {"values": [count / len(test_x)]}


GROUPS = {"steps": steps, "start": steps, "elementwise": function, "rows": function, "arrays": function,
          "batches": function, "models": models, "inference": inference, "digits": digits}

for case in arguments.cases:
    parts = case.split("/")
    print(json.dumps({"framework": f"JAX {jax.__version__}", "case": case, **GROUPS[parts[0]](*parts)}), flush=True)
