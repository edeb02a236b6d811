"""Writes tests/fixtures/training.json: PyTorch's first fifty training steps of a small network, in double precision.

    PEERS/bin/python tests/reference/make_training.py

where PEERS is the directory that benchmarks/peers/install made. The network is

    Linear(784, 256, no bias)  BatchNorm1d(256)  ReLU
    Linear(256, 128, no bias)  BatchNorm1d(128)  ReLU
    Linear(128, 10)

as one torch.nn.Sequential, so that its parameters are called 0.weight, 1.weight, … It learns by cross entropy (mean)
on a new batch of 64 at every step, with each of the optimizers in RUNS.

All numbers come from one integer hash, which any language can repeat bit for bit:

    splitmix64(n):     z = n + 0x9e3779b97f4a7c15                   all modulo 2^64
                       z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
                       z = (z ^ (z >> 27)) * 0x94d049bb133111eb
                       z ^ (z >> 31)
    hash(stream, i)  = splitmix64(stream * 2^40 + i)
    value(stream, i) = (hash(stream, i) >> 11) * 2^-52 - 1          in [-1, 1), exact in double precision

and of tensors element i, counted in row-major order, is:

    the input of step s (from 0), (64, 784):   value(s, i)
    the labels of step s, (64):                hash(500 + s, i) mod 10
    0.weight (256, 784):                       value(101, i) * (1 / 28)
    3.weight (128, 256):                       value(102, i) * (1 / 16)
    6.weight (10, 128), 6.bias (10):           value(103, i) * sqrt(1 / 128), value(104, i) * sqrt(1 / 128)
    BatchNorm's weight 1, bias 0, running_mean 0, running_var 1

The file holds, for each run, all losses (that of step s before its update), and of every parameter and buffer after the
last step: its shape, its sum, its dot product with value(999, i), and its elements 0, k, 2k, … (at most 16 of them),
k = max(1, size / 16) rounded down. The models are left in training mode throughout.

The runs are well conditioned: with every weight moved by one unit in the last place the losses move by less than 1e-15
and the sums by less than 1e-13, so a faithful implementation agrees to 1e-11.
"""

import json
import math
import pathlib

import numpy as np
import torch
import torch.nn.functional as F

FILE = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "training.json"
STEPS, BATCH, INPUTS, CLASSES = 50, 64, 784, 10

RUNS = {
    "sgd": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4}),
    "sgd_nesterov": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4}),
    "adam": (torch.optim.Adam, {"lr": 1e-3}),
    "adam_amsgrad": (torch.optim.Adam, {"lr": 1e-3, "amsgrad": True}),
    "adamw": (torch.optim.AdamW, {"lr": 1e-3, "weight_decay": 0.01}),
}

GENERATOR = {
    "splitmix64": "z = n + 0x9e3779b97f4a7c15; z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9; "
                  "z = (z ^ (z >> 27)) * 0x94d049bb133111eb; z ^ (z >> 31); all modulo 2^64",
    "hash": "hash(stream, i) = splitmix64(stream * 2^40 + i)",
    "value": "value(stream, i) = (hash(stream, i) >> 11) * 2^-52 - 1, exact in double precision",
    "input": "of step s from 0, shape (64, 784): value(s, i), i the row-major index",
    "labels": "of step s, shape (64): hash(500 + s, i) mod 10",
    "parameters": {
        "0.weight": {"stream": 101, "factor": 1 / 28},
        "3.weight": {"stream": 102, "factor": 1 / 16},
        "6.weight": {"stream": 103, "factor": math.sqrt(1 / 128)},
        "6.bias": {"stream": 104, "factor": math.sqrt(1 / 128)},
    },
    "batch_norm": "weight 1, bias 0, running_mean 0, running_var 1",
    "dot": "sum over i of element i times value(999, i)",
    "samples": "elements 0, k, 2k, ..., at most 16, k = max(1, size // 16)",
    "check": {},
}


def hashes(stream, size):
    with np.errstate(over="ignore"):
        z = np.arange(size, dtype=np.uint64) + np.uint64(stream << 40) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def values(stream, shape):
    h = hashes(stream, math.prod(shape)) >> np.uint64(11)
    return torch.from_numpy(h.astype(np.float64) * 2.0**-52 - 1.0).reshape(shape)


def network():
    nn = torch.nn
    net = nn.Sequential(
        nn.Linear(784, 256, bias=False), nn.BatchNorm1d(256), nn.ReLU(),
        nn.Linear(256, 128, bias=False), nn.BatchNorm1d(128), nn.ReLU(),
        nn.Linear(128, 10),
    ).double()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name in GENERATOR["parameters"]:
                how = GENERATOR["parameters"][name]
                parameter.copy_(values(how["stream"], parameter.shape) * how["factor"])
    return net


def summary(tensor):
    flat = tensor.detach().double().reshape(-1)
    stride = max(1, flat.numel() // 16)
    return {
        "shape": list(tensor.shape),
        "sum": math.fsum(flat.tolist()),
        "dot": math.fsum((flat * values(999, flat.shape)).tolist()),
        "samples": flat[::stride][:16].tolist(),
    }


def train(optimizer_class, options):
    net = network()
    optimizer = optimizer_class(net.parameters(), **options, foreach=False)
    losses = []
    for step in range(STEPS):
        x = values(step, (BATCH, INPUTS))
        labels = torch.from_numpy((hashes(500 + step, BATCH) % np.uint64(CLASSES)).astype(np.int64))
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return {
        "optimizer": optimizer_class.__name__,
        "options": options,
        "losses": losses,
        "state": {name: summary(tensor) for name, tensor in net.state_dict().items()},
    }


def main():
    torch.set_num_threads(1)
    for stream, index in ((0, 0), (1, 2), (999, 12345)):
        GENERATOR["check"][f"hash({stream}, {index})"] = str(int(hashes(stream, index + 1)[index]))
        GENERATOR["check"][f"value({stream}, {index})"] = values(stream, (index + 1,))[index].item()
    result = {
        "network": "Linear(784,256,no bias) BatchNorm1d(256) ReLU Linear(256,128,no bias) BatchNorm1d(128) ReLU "
                   "Linear(128,10); cross entropy, mean; double precision",
        "batch": BATCH,
        "steps": STEPS,
        "generator": GENERATOR,
        "runs": {name: train(*run) for name, run in RUNS.items()},
    }
    text = json.dumps(result, allow_nan=False, indent=1)
    # One line per list: a diff then shows which tensor moved.
    out, depth = [], 0
    for line in text.split("\n"):
        inside = depth > 0
        depth += line.count("[") - line.count("]")
        out.append(line.strip() if inside else line)
        out.append(" " if depth > 0 and line.endswith(",") else "" if depth > 0 or line.endswith("[") else "\n")
    FILE.write_text("".join(out))
    json.loads(FILE.read_text())
    for name, run in result["runs"].items():
        print(f"{name:14} losses {run['losses'][0]:.6f} … {run['losses'][-1]:.6f}")
    print(f"{FILE}: {FILE.stat().st_size} bytes, PyTorch {torch.__version__}")


if __name__ == "__main__":
    main()
