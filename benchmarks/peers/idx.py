"""MNIST's IDX files, compressed by gzip or not."""

import gzip
import pathlib

import numpy as np


def read(folder, name):
    path = pathlib.Path(folder) / name
    data = path.read_bytes() if path.exists() else gzip.decompress(path.with_name(name + ".gz").read_bytes())
    dimensions = data[3]
    shape = np.frombuffer(data, ">u4", dimensions, 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def read_mnist(folder, split):
    """Images (n, 784) from 0 to 1, and labels; of the split "train" or "t10k"."""
    images = read(folder, f"{split}-images-idx3-ubyte")
    return images.reshape(len(images), -1).astype(np.float32) / 255, read(folder, f"{split}-labels-idx1-ubyte")
