"""Writes tests/fixtures/pytorch.safetensors and half.safetensors with PyTorch and the library safetensors.

    PEERS/bin/pip install safetensors
    PEERS/bin/python tests/reference/make_safetensors.py

where PEERS is the directory that benchmarks/peers/install made. pytorch.safetensors is the state of

    Linear(3, 4)  BatchNorm1d(4)  ReLU  Linear(4, 2)

as one torch.nn.Sequential, after three batches, with `x`, an input (5, 3), and `y`, what the network gives for it in
evaluation mode. half.safetensors holds the same numbers as F16 and as BF16: 0, −0, the least subnormal and the least
normal number of either, 1, −2.5, the largest of either, infinity and NaN.
"""

import pathlib

import torch
from safetensors.torch import save_file

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "fixtures"

torch.manual_seed(1)
model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
for _ in range(3):
    model(torch.randn(8, 3))
model.eval()
x = torch.randn(5, 3)
state = {"model." + name: tensor for name, tensor in model.state_dict().items()}
save_file(state | {"x": x, "y": model(x).detach().contiguous()}, FIXTURES / "pytorch.safetensors", {"format": "pt"})

numbers = [0.0, -0.0, 2**-24, 2**-14, 1.0, -2.5, 65504.0, float("inf"), float("nan")]
brains = [0.0, -0.0, 2**-133, 2**-126, 1.0, -2.5, (2 - 2**-7) * 2.0**127, float("inf"), float("nan")]
save_file({"half": torch.tensor(numbers, dtype=torch.float64).to(torch.float16),
           "brain": torch.tensor(brains, dtype=torch.float64).to(torch.bfloat16)}, FIXTURES / "half.safetensors")
