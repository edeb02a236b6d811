#!/usr/bin/env python3
"""examples/digits.cpp with PyTorch, the quick way: all images are one tensor, of which batches are indexed.

    PEERS/bin/python benchmarks/peers/digits_torch.py --data DIR --epochs 5 --threads 1
"""

import argparse

import idx
import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--data", required=True)
parser.add_argument("--epochs", type=int, default=5)
parser.add_argument("--threads", type=int, default=1)
arguments = parser.parse_args()
torch.set_num_threads(arguments.threads)
torch.manual_seed(1)


def load(split):
    images, labels = idx.read_mnist(arguments.data, split)
    return torch.from_numpy(images), torch.from_numpy(labels).long()


train_images, train_labels = load("train")
test_images, test_labels = load("t10k")

model = nn.Sequential(
    nn.Linear(784, 256, bias=False), nn.BatchNorm1d(256), nn.ReLU(),
    nn.Linear(256, 128, bias=False), nn.BatchNorm1d(128), nn.ReLU(),
    nn.Linear(128, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

for epoch in range(arguments.epochs):
    for batch in torch.randperm(len(train_images)).split(128):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(train_images[batch]), train_labels[batch]).backward()
        optimizer.step()

model.eval()
with torch.inference_mode():
    right = sum(int((model(images).argmax(1) == labels).sum())
                for images, labels in zip(test_images.split(1000), test_labels.split(1000)))
print(f"test accuracy {right / len(test_images):.4f}")
