"""What is compared: groups of cases, and the ratios that xgrad aims at."""

import dataclasses
import itertools


@dataclasses.dataclass
class Group:
    name: str
    title: str
    cases: list
    columns: list               # names of the programs; xgrad's own come first
    tolerance: float            # by how much results may differ, relative to the largest number of a case's result
    quantities: tuple = ("us",)
    threads: tuple = (1, 2)
    seconds: float = 0.2        # timed in each case
    alone: bool = False         # every case in a process of its own
    from_start: bool = False    # timed from the start of the process until it prints its result


def names(*parts):
    """All combinations of the parts, as names of cases."""
    return ["/".join(each) for each in itertools.product(*parts)]


SHAPES, DIRECTIONS = ["128x256", "4096x256"], ["forward", "backward"]
CUBES = [f"{n}x{n}x{n}" for n in (8, 16, 32, 48, 64, 128, 256, 512, 1024, 2048)]
# Samples, inputs and outputs of linear layers.
LAYERS = [(1, 784, 256), (8, 784, 256), (128, 784, 256), (64, 128, 128), (16, 1024, 1024), (32, 512, 10000),
          (32, 4096, 4096), (10000, 4, 32), (10000, 32, 16), (1000, 10, 256), (1000, 4, 128)]


def products(samples, inputs, outputs):
    """What a linear layer computes: its output, and the cotangents of its input and of its weight."""
    return [f"matmul/nt/{samples}x{outputs}x{inputs}/turns", f"matmul/nn/{samples}x{inputs}x{outputs}/turns",
            f"matmul/tn/{outputs}x{inputs}x{samples}/turns"]


GROUPS = [
    Group("steps", "One training step: forward, loss, backward, Adam",
          names(["steps"], ["tiny", "small", "mnist", "deep", "wide", "simplechains"]), ["xgrad", "libtorch", "jax"],
          tolerance=1e-3, quantities=("us", "peak_above_baseline_kb", "peak_kb"), seconds=0.5, alone=True),
    Group("elementwise", "Elementwise functions; “backward” is forward and backward",
          names(["elementwise"], ["silu", "tanh", "gelu_tanh", "gelu_erf", "sigmoid", "mish", "composed_gelu",
                                  "composed_swish"], SHAPES, DIRECTIONS), ["xgrad", "formula", "libtorch", "jax"],
          tolerance=1e-5),
    Group("rows", "Along rows or columns; “backward” is forward and backward",
          names(["rows"], ["cross_entropy", "batch_norm", "layer_norm", "softmax", "log_softmax", "sum_rows",
                           "sum_columns", "mean_rows", "mean_columns", "variance_rows", "variance_columns"],
                SHAPES, DIRECTIONS), ["xgrad", "libtorch", "jax"],
          tolerance=1e-4),
    Group("arrays", "Few numbers to a row, operands that repeat, arrays that are moved; “backward” as before",
          names(["arrays"], ["max_rows", "logsumexp_rows", "softmax_columns", "times_row", "times_column", "transposed",
                             "stacked", "taken", "every_second"],
                ["4096x256", "50000x10", "200000x3"], DIRECTIONS)
          + names(["arrays"], ["softmax_columns", "max_columns"], ["21x32768", "64x8192"], DIRECTIONS)
          + names(["arrays"], ["masked", "pooled"], ["4096x256"], DIRECTIONS), ["xgrad", "libtorch", "jax"],
          tolerance=1e-3),  # sums of 200 000 numbers, which LibTorch does not add up pairwise
    Group("batches", "Small products, one for each sample, of the numbers of its row; “backward” as before",
          names(["batches"], ["matrix_vector"], ["20000x64", "4000x256"], DIRECTIONS)
          + names(["batches"], ["scalar_products", "outer"], ["65536x4", "20000x12"], DIRECTIONS),
          ["xgrad", "libtorch", "jax"], tolerance=1e-4),
    Group("matmul", "Products of matrices op(A)·op(B), rows × columns × depth; n: as it is, t: transposed",
          names(["matmul"], ["nn", "nt", "tn", "tt"], CUBES)
          + names(["matmul"], ["nn", "nt"], ["32x32x32/batch64", "128x128x64/batch16"])
          + [product for layer in LAYERS for product in products(*layer)],
          ["xgrad", "openblas", "onednn"], tolerance=1e-4, quantities=("gflops",)),
    Group("models", "A loss and its gradient, of a transformer's block, an LSTM, Burgers' equation and a mixture of normals",
          names(["models"], ["transformer", "lstm", "burgers", "mixture"]), ["xgrad", "libtorch", "jax"], tolerance=1e-4),
    Group("inference", "Inference with the mnist network, batch 1 and 256", names(["inference/mnist"], ["1", "256"]),
          ["xgrad", "libtorch", "jax"], tolerance=1e-4, quantities=("us", "us_p999"), seconds=1.0),
    Group("scalar", "One operation on single numbers, forward and backward, in a chain of 900", ["scalar/900"],
          ["xgrad", "libtorch"], tolerance=1e-4, threads=(1,)),
    Group("start", "From the start of the process to the end of the first training step", ["start/mnist"],
          ["xgrad", "libtorch", "jax"], tolerance=1e-3, quantities=("ms",), threads=(1,), alone=True, from_start=True),
    Group("digits", "MNIST, 5 epochs, from the start of the process to the accuracy on the test set", ["digits/5"],
          ["xgrad", "libtorch", "jax"], tolerance=1e-2, quantities=("ms",), threads=(1,), alone=True, from_start=True),
]

# A batch-normalised network of 50 random layers is chaotic: its gradients grow by five orders of magnitude from the
# last layer to the first, and a change of 1e-15 in the weights, in double precision, changes the third loss in the
# fourth digit. So only its first loss is compared number by number, and of the rest the mean.
CHAOTIC = {"steps/deep"}

# A regular expression for "case, threads"; the quantity; the peer; how many times as much as xgrad it should take. Where
# xgrad has several columns, the best of them counts. Of several targets for one case the first holds.
HAND_WRITTEN = r"elementwise/(silu|sigmoid|gelu_erf)/"
BELOW_64 = r"matmul/../(8|16|32|48)x\1x"
TARGETS = [
    (r"steps/tiny", "us", "libtorch", 10), (r"steps/tiny", "us", "jax", 2.5),
    (r"steps/small", "us", "libtorch", 4), (r"steps/small", "us", "jax", 2),
    (r"steps/mnist, 1", "us", "libtorch", 3.5), (r"steps/mnist, 2", "us", "libtorch", 3),
    (r"steps/mnist", "us", "jax", 1.3),
    (r"steps/deep", "us", "libtorch", 3), (r"steps/deep", "us", "jax", 2),
    (r"steps/wide", "us", "libtorch", 2.5), (r"steps/wide", "us", "jax", 1.15),
    (r"steps/(mnist|wide)", "peak_above_baseline_kb", "libtorch", 2),
    (r"steps/(mnist|wide)", "peak_kb", "libtorch", 1 / 0.6),
    (HAND_WRITTEN, "us", "libtorch", 1.3), (r"elementwise/gelu_tanh/", "us", "libtorch", 1.3),
    (r"elementwise/", "us", "libtorch", 4), (r"elementwise/", "us", "jax", 1.2),
    (BELOW_64, "gflops", "openblas", 1.5), (r"matmul/", "gflops", "openblas", 0.95),
    (r"matmul/", "gflops", "onednn", 0.95),
    (r"inference/mnist/1,", "us", "libtorch", 5), (r"inference/mnist/1,", "us", "jax", 2),
    (r"scalar/", "us", "libtorch", 20),
    (r"digits/", "ms", "libtorch", 2.5),
]
