"""Writes tests/fixtures/operations.json: what PyTorch gives, in double precision, for operations and their gradients.

    PEERS/bin/python tests/reference/make_operations.py            write the file
    PEERS/bin/python tests/reference/make_operations.py --check    compare the file with this PyTorch instead

where PEERS is the directory that benchmarks/peers/install made. The file is a list of cases, one a line:

    {"operation": "softmax", "attributes": {"axis": 1},
     "inputs": [{"shape": [2, 3], "data": [...]}],        row-major; "dtype": "int64" where they are integers
     "names": ["x"],                                      of the inputs, where their order could be in doubt
     "output": {...}, "cotangent": {...},                 the cotangent is of the output's shape
     "gradients": [{...}],                                one per input; null where there is none to be had
     "note": "kink"}                                      present where a case is special, see below

batch_norm in training has "running_mean_after" and "running_var_after" as well.

Notes: "kink" marks inputs at which the function has no derivative and PyTorch's choice of one is recorded; "extreme"
inputs that naive formulas overflow on; "ties" where several elements share the extremum; "zero base" x**y at x = 0;
"empty" arrays without elements; "zeros" products over zeros; "zero target" targets whose own gradient is infinite
and therefore left out.

Inputs and cotangents are decimal numbers of few digits, outputs and gradients are printed to the last bit. Expect a
few units in the last place between machines: PyTorch picks its kernels by the processor.
"""

import argparse
import json
import math
import pathlib
import random
import sys

import torch
import torch.nn.functional as F

FILE = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "operations.json"
LARGEST_ARRAY = 40
LARGEST_FILE = 280_000

rng = random.Random(20240501)
cases = []


# Inputs --------------------------------------------------------------------------------------------------------------


def numbers(shape, low=-2.0, high=2.0, gap=0.0, shift=0.0):
    """Uniform numbers of two decimal digits in [low, high], at least `gap` away from zero; `shift` sets a third digit,
    so that no number equals an unshifted one."""
    values = []
    while len(values) < math.prod(shape):
        value = round(rng.uniform(low, high), 2)
        if abs(value) >= gap:
            values.append(round(value + shift, 3))
    return torch.tensor(values, dtype=torch.float64).reshape(shape)


def distinct(shape, step=0.25):
    """Numbers no two of which are equal, in random order: the extremum is attained once."""
    size = math.prod(shape)
    values = [step * (i - size // 2) + 0.1 for i in range(size)]
    rng.shuffle(values)
    return torch.tensor([round(v, 3) for v in values], dtype=torch.float64).reshape(shape)


def reals(*values):
    return torch.tensor(values, dtype=torch.float64)


def integers(values):
    return torch.tensor(values, dtype=torch.int64)


def labels(shape, classes):
    return torch.tensor([rng.randrange(classes) for _ in range(math.prod(shape))], dtype=torch.int64).reshape(shape)


# Cases ---------------------------------------------------------------------------------------------------------------


def as_json(tensor):
    assert tensor.numel() <= LARGEST_ARRAY, tuple(tensor.shape)
    result = {"shape": list(tensor.shape), "data": tensor.detach().reshape(-1).tolist()}
    if tensor.dtype == torch.int64:
        result["dtype"] = "int64"
    else:
        assert all(math.isfinite(v) for v in result["data"]), result
    return result


def case(operation, attributes, inputs, function, names=None, note=None, constant=()):
    """Runs function(*inputs) and its backward. No gradient is taken for integers and for the inputs in `constant`."""
    variables = [
        x.clone().requires_grad_(x.is_floating_point() and i not in constant) for i, x in enumerate(inputs)
    ]
    output = function(*variables)
    cotangent = numbers(tuple(output.shape), -1.5, 1.5, gap=0.05)
    wanted = [v for v in variables if v.requires_grad]
    found = iter(torch.autograd.grad(output, wanted, cotangent))
    entry = {"operation": operation, "attributes": attributes, "inputs": [as_json(x) for x in inputs]}
    if names:
        entry["names"] = names[: len(inputs)]
    entry["output"] = as_json(output)
    entry["cotangent"] = as_json(cotangent)
    entry["gradients"] = [as_json(next(found)) if v.requires_grad else None for v in variables]
    if note is None and output.numel() == 0:
        note = "empty"
    if note:
        entry["note"] = note
    cases.append(entry)
    return entry


# Families ------------------------------------------------------------------------------------------------------------


def unary():
    functions = {
        "negative": torch.neg,
        "exp": torch.exp,
        "expm1": torch.expm1,
        "log": torch.log,
        "log1p": torch.log1p,
        "sqrt": torch.sqrt,
        "rsqrt": torch.rsqrt,
        "square": torch.square,
        "abs": torch.abs,
        "sin": torch.sin,
        "cos": torch.cos,
        "tan": torch.tan,
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "erf": torch.erf,
    }
    positive = ("log", "sqrt", "rsqrt")
    extremes = {
        "exp": reals(-700.0, -100.0, -20.5, 1e-9, 20.5, 100.0, 700.0),
        "expm1": reals(-100.0, -1e-3, -1e-12, 0.0, 1e-12, 1e-3, 100.0),
        "log": reals(1e-300, 1e-12, 0.999999, 1.0, 1.000001, 1e12, 1e300),
        "log1p": reals(-0.999999, -1e-12, 0.0, 1e-12, 1e-3, 1e12, 1e300),
        "sqrt": reals(1e-300, 1e-12, 1.0, 1e12, 1e300),
        "rsqrt": reals(1e-100, 1e-12, 1.0, 1e12, 1e100),
        "square": reals(-1e4, -1e-9, 0.0, 1e4),
        "abs": reals(-1e300, -1e-300, 1e-300, 1e300),
        "sin": reals(-1e4, -100.0, -1e-9, 0.0, 100.0, 1e4),
        "cos": reals(-1e4, -100.0, -1e-9, 0.0, 100.0, 1e4),
        "tan": reals(-1e4, -100.0, -1e-9, 0.0, 100.0, 1e4),
        "tanh": reals(-1e4, -100.0, -20.0, -1e-9, 0.0, 1e-9, 20.0, 100.0, 1e4),
        "sigmoid": reals(-1e4, -100.0, -40.0, -1e-9, 0.0, 40.0, 100.0, 1e4),
        "erf": reals(-1e4, -100.0, -6.0, -1e-9, 0.0, 1e-9, 6.0, 100.0, 1e4),
    }
    for name, function in functions.items():
        low = 0.1 if name in positive else -0.9 if name == "log1p" else -1.4 if name == "tan" else -2.5
        high = 1.4 if name == "tan" else 2.5
        for shape in ((3, 5), (7,), ()):
            case(name, {}, [numbers(shape, low, high, gap=0.02)], function)
        if name in extremes:
            case(name, {}, [extremes[name]], function, note="extreme")
    case("exp", {}, [numbers((0, 3))], torch.exp)
    case("tanh", {}, [numbers((2, 1, 3, 1))], torch.tanh)
    case("abs", {}, [reals(-1.0, 0.0, 1.0)], torch.abs, note="kink")


def activations():
    half = 0.5
    table = [
        ("relu", {}, F.relu, (0.0,)),
        ("leaky_relu", {"negative_slope": 0.01}, lambda x: F.leaky_relu(x, 0.01), (0.0,)),
        ("leaky_relu", {"negative_slope": 0.2}, lambda x: F.leaky_relu(x, 0.2), ()),
        ("elu", {"alpha": 1.0}, lambda x: F.elu(x, 1.0), (0.0,)),
        ("elu", {"alpha": half}, lambda x: F.elu(x, half), (0.0,)),
        ("selu", {}, F.selu, (0.0,)),
        ("celu", {"alpha": 1.0}, lambda x: F.celu(x, 1.0), (0.0,)),
        ("celu", {"alpha": half}, lambda x: F.celu(x, half), (0.0,)),
        ("gelu", {}, F.gelu, ()),
        ("gelu_tanh", {}, lambda x: F.gelu(x, approximate="tanh"), ()),
        ("silu", {}, F.silu, ()),
        ("mish", {}, F.mish, ()),
        ("softplus", {"beta": 1.0, "threshold": 20.0}, lambda x: F.softplus(x, 1.0, 20.0), (20.0,)),
        ("softplus", {"beta": 2.0, "threshold": 3.0}, lambda x: F.softplus(x, 2.0, 3.0), ()),
        ("softsign", {}, F.softsign, (0.0,)),
        ("hardtanh", {"minimum": -1.0, "maximum": 1.0}, lambda x: F.hardtanh(x, -1.0, 1.0), (-1.0, 1.0)),
        ("hardtanh", {"minimum": -0.5, "maximum": 2.0}, lambda x: F.hardtanh(x, -0.5, 2.0), ()),
        # F.hardsigmoid takes 1/6 in single precision for its gradient.
        ("hardsigmoid", {}, lambda x: F.relu6(x + 3.0) / 6.0, (-3.0, 3.0)),
        ("hardswish", {}, F.hardswish, (-3.0, 3.0)),
        ("logsigmoid", {}, F.logsigmoid, ()),
    ]
    edges = (-1.0, -0.5, 1.0, 2.0, 3.0, -3.0)
    for name, attributes, function, kinks in table:
        for shape in ((3, 5), ()):
            x = numbers(shape, -4.5, 4.5, gap=0.02)
            for edge in edges:
                x[x == edge] += 0.25
            case(name, attributes, [x], function)
        case(name, attributes, [reals(-1e4, -100.0, -30.0, -1e-6, 1e-6, 30.0, 100.0, 1e4)], function, note="extreme")
        if kinks:
            case(name, attributes, [reals(*kinks)], function, note="kink")
    case("relu", {}, [numbers((2, 0))], F.relu)
    case("silu", {}, [numbers((1, 7, 1), gap=0.02)], F.silu)


def binary():
    functions = {
        "add": torch.add,
        "subtract": torch.subtract,
        "multiply": torch.multiply,
        "divide": torch.divide,
        "pow": torch.pow,
        "maximum": torch.maximum,
        "minimum": torch.minimum,
    }
    shapes = [((2, 3), (2, 3)), ((2, 3), (3,)), ((2, 1, 3), (4, 1)), ((), (2, 3)), ((3, 1), ()), ((), ()), ((1,), (5,)),
              ((1, 1), (3,)), ((0, 3), (3,))]
    for name, function in functions.items():
        for a_shape, b_shape in shapes:
            low = 0.1 if name == "pow" else -2.0
            shift = 0.005 if name in ("maximum", "minimum") else 0.0
            case(name, {}, [numbers(a_shape, low), numbers(b_shape, gap=0.3, shift=shift)], function)
    case("pow", {}, [reals(-2.0, -0.5, 1.5), reals(3.0, 2.0, -2.0)], torch.pow, constant=(1,))
    case("pow", {}, [reals(0.0, 0.0, 0.0), reals(1.0, 2.0, 3.0)], torch.pow, note="zero base")
    case("divide", {}, [reals(1.0, -1e100, 1e-100), reals(1e100, 1e-50, -1e100)], torch.divide, note="extreme")

    where = lambda c, a, b: torch.where(c != 0, a, b)
    for c_shape, a_shape, b_shape in (
        ((2, 3), (2, 3), (2, 3)),
        ((2, 3), (3,), ()),
        ((3,), (2, 1), (2, 3)),
        ((2, 1), (1, 3), (1,)),
        ((), (2,), (2,)),
        ((0,), (0,), ()),
    ):
        case("where", {}, [labels(c_shape, 2), numbers(a_shape), numbers(b_shape)], where,
             names=["condition", "a", "b"])

    for low, high in ((-0.5, 1.25), (None, 0.755), (-0.755, None)):
        for shape in ((3, 5), ()):
            case("clip", {"minimum": low, "maximum": high}, [numbers(shape, shift=0.001)],
                 lambda x: torch.clamp(x, low, high))
    case("clip", {"minimum": -1.0, "maximum": 1.0}, [reals(-1.0, 0.0, 1.0)], lambda x: torch.clamp(x, -1.0, 1.0),
         note="kink")


def product(x, axes, keep_dims):
    for axis in sorted((a % x.dim() for a in axes), reverse=True):
        x = torch.prod(x, axis, keepdim=keep_dims)
    return x


def reductions():
    functions = {
        "sum": lambda x, axes, keep: torch.sum(x, axes, keepdim=keep) if axes else x * 1.0,
        "mean": lambda x, axes, keep: torch.mean(x, axes, keepdim=keep) if axes else x * 1.0,
        "prod": product,
        "max": lambda x, axes, keep: torch.amax(x, axes, keepdim=keep) if axes else x * 1.0,
        "min": lambda x, axes, keep: torch.amin(x, axes, keepdim=keep) if axes else x * 1.0,
        "logsumexp": lambda x, axes, keep: torch.logsumexp(x, axes, keepdim=keep) if axes else x * 1.0,
    }
    variants = [((3, 4), [0], False), ((3, 4), [1], True), ((3, 4), [0, 1], False), ((2, 3, 4), [0, 2], False),
                ((2, 3, 4), [1], True), ((2, 3, 2), [-1], False), ((5,), [0], True), ((1,), [0], False),
                ((2, 1, 3), [1], False), ((), [], False)]
    for name, function in functions.items():
        for shape, axes, keep in variants:
            x = distinct(shape) if name in ("max", "min") else numbers(shape, gap=0.1)
            case(name, {"axes": axes, "keep_dims": keep}, [x], lambda x: function(x, axes, keep))
        case(name, {"axes": [1], "keep_dims": False}, [numbers((0, 3))], lambda x: function(x, [1], False))
    for name in ("sum", "prod"):
        case(name, {"axes": [0], "keep_dims": False}, [numbers((0, 3))], lambda x: functions[name](x, [0], False),
             note="empty")

    for correction in (0, 1):
        for shape, axes, keep in variants[:7:2] + variants[1:3] if correction else variants[1:7:2]:
            case("variance", {"axes": axes, "keep_dims": keep, "correction": correction}, [numbers(shape)],
                 lambda x: torch.var(x, axes, correction=correction, keepdim=keep))
    case("variance", {"axes": [1], "keep_dims": False, "correction": 0}, [numbers((3, 1))],
         lambda x: torch.var(x, [1], correction=0))
    case("variance", {"axes": [0], "keep_dims": False, "correction": 1}, [reals(1e6, 1e6 + 1, 1e6 + 2, 1e6 + 4)],
         lambda x: torch.var(x, [0], correction=1), note="extreme")

    zeros = torch.tensor([[1.5, 0.0, -2.0, 0.5], [0.0, 2.0, 0.0, -1.0], [1.0, 2.0, -3.0, 0.25]], dtype=torch.float64)
    for axes, keep in (([1], False), ([0], True), ([0, 1], False)):
        case("prod", {"axes": axes, "keep_dims": keep}, [zeros], lambda x: product(x, axes, keep), note="zeros")
    one_zero = reals(1.5, 0.0, -2.0)
    case("prod", {"axes": [0], "keep_dims": False}, [one_zero], lambda x: product(x, [0], False), note="zeros")

    tied = torch.tensor([[1.0, 3.0, 3.0, -2.0], [2.0, 2.0, 2.0, 2.0], [3.0, -2.0, 0.5, -2.0]], dtype=torch.float64)
    for name in ("max", "min"):
        for axes, keep in (([1], False), ([0], True), ([0, 1], False)):
            case(name, {"axes": axes, "keep_dims": keep}, [tied], lambda x: functions[name](x, axes, keep), note="ties")

    large = torch.tensor([[1e4, 1e4 - 1, -1e4], [-1e4, -1e4 + 2, -1e4], [1e4, 0.0, -1e4]], dtype=torch.float64)
    for axes in ([1], [0], [0, 1]):
        case("logsumexp", {"axes": axes, "keep_dims": False}, [large], lambda x: torch.logsumexp(x, axes),
             note="extreme")


def products():
    def matmul(a, b, transpose_a=False, transpose_b=False):
        return torch.matmul(a.mT if transpose_a else a, b.mT if transpose_b else b)

    plain = {"transpose_a": False, "transpose_b": False}
    for a, b in (
        ((4,), (4,)),
        ((3, 4), (4,)),
        ((3,), (3, 4)),
        ((3, 4), (4, 5)),
        ((1, 1), (1, 1)),
        ((5, 1), (1, 3)),
        ((1, 7), (7, 1)),
        ((2, 3, 4), (2, 4, 2)),
        ((2, 3, 4), (4, 2)),
        ((3, 4), (2, 4, 2)),
        ((2, 1, 2, 3), (2, 3, 2)),
        ((2, 3, 4), (4,)),
        ((3,), (2, 3, 4)),
        ((2, 0), (0, 3)),
        ((0, 3), (3, 2)),
        ((0,), (0,)),
        ((0, 2, 3), (3, 2)),
    ):
        note = "empty" if 0 in a else None
        case("matmul", plain, [numbers(a), numbers(b)], matmul, note=note)
    for ta, tb in ((True, False), (False, True), (True, True)):
        attributes = {"transpose_a": ta, "transpose_b": tb}
        for a, b in (((3, 4), (4, 5)), ((1, 3), (3, 2)), ((2, 3, 2), (2, 2, 4)), ((2, 1, 2, 3), (2, 3, 1)),
                     ((2, 2, 3), (3, 2))):
            a = a[:-2] + (a[-1], a[-2]) if ta else a
            b = b[:-2] + (b[-1], b[-2]) if tb else b
            case("matmul", attributes, [numbers(a), numbers(b)], lambda x, y: matmul(x, y, ta, tb))

    names = ["x", "weight", "bias"]
    for x, outputs in (((4, 3), 5), ((1, 3), 2), ((5, 1), 1), ((2, 2, 3), 4), ((3,), 2), ((0, 3), 2), ((3, 0), 2)):
        weight = (outputs, x[-1])
        note = "empty" if 0 in x else None
        case("linear", {}, [numbers(x), numbers(weight), numbers((outputs,))], F.linear, names, note)
    case("linear", {}, [numbers((3, 2)), numbers((4, 2))], F.linear, names)
    case("linear", {}, [numbers((2, 3, 2)), numbers((1, 2))], F.linear, names)


def movement():
    for shape, axes in (((2, 3), [1, 0]), ((2, 3, 2), [2, 0, 1]), ((2, 1, 3), [0, 2, 1]), ((2, 3, 1, 2), [0, 2, 3, 1]),
                        ((5,), [0]), ((), []), ((0, 3), [1, 0]), ((1, 4, 1), [1, 2, 0])):
        case("transpose", {"axes": axes}, [numbers(shape)], lambda x: torch.permute(x, axes))

    for shapes, axis in ((((2, 3), (1, 3)), 0), (((2, 3), (2, 1), (2, 2)), 1), (((2, 0), (2, 3)), 1), (((3,), (2,)), 0),
                         (((2, 2, 2), (2, 1, 2)), -2), (((2, 3),), 0)):
        case("concatenate", {"axis": axis}, [numbers(s) for s in shapes], lambda *xs: torch.cat(xs, axis))
    for shape, count, axis in (((2, 3), 2, 0), ((2, 3), 3, 1), ((2, 3), 2, 2), ((2, 3), 2, -1), ((), 4, 0),
                               ((3,), 1, 0), ((0, 2), 2, 1)):
        case("stack", {"axis": axis}, [numbers(shape) for _ in range(count)], lambda *xs: torch.stack(xs, axis))
    for shape, axes in (((5,), [0]), ((2, 3), [1]), ((2, 3), [0, 1]), ((2, 3, 2), [-2]), ((2, 3), []), ((0, 2), [0])):
        case("flip", {"axes": axes}, [numbers(shape)], lambda x: torch.flip(x, axes))

    def take(x, indices, axis):
        flat = torch.index_select(x, axis, indices.reshape(-1))
        axis %= x.dim()
        return flat.reshape(x.shape[:axis] + indices.shape + x.shape[axis + 1:])

    for shape, indices, axis in (
        ((5,), [4, 0, 0, 2, 4, 4], 0),
        ((4, 3), [3, 1, 1], 0),
        ((2, 4), [0, 3, 3, 3, 1], 1),
        ((2, 3, 2), [2, 2, 0], -2),
        ((2, 3, 2), [1], -1),
        ((4, 2), [[0, 3], [3, 1]], 0),
        ((4, 2), [], 0),
    ):
        case("take", {"axis": axis}, [numbers(shape), integers(indices)], lambda x, i: take(x, i, axis),
             names=["x", "indices"])
    for shape, indices in (((5, 3), [1, 4, 1, 0]), ((4, 2), [[0, 0, 3], [2, 3, 0]]), ((1, 3), [0, 0]), ((3, 1), [2]),
                           ((3, 4), 1), ((3, 2), [])):
        case("embedding", {}, [numbers(shape), integers(indices)], lambda w, i: F.embedding(i, w),
             names=["weight", "indices"])


def normalisation():
    for name, function in (("softmax", F.softmax), ("log_softmax", F.log_softmax)):
        for shape, axis in (((3, 4), 1), ((3, 4), 0), ((2, 3, 4), 1), ((2, 2, 3), -1), ((6,), 0), ((1,), 0),
                            ((4, 1), 1), ((0, 3), 1)):
            case(name, {"axis": axis}, [numbers(shape, -3.0, 3.0)], lambda x: function(x, axis))
        large = torch.tensor([[1e4, 1e4 - 1, -1e4], [-1e4, -1e4 + 2, -1e4], [100.0, 0.0, -100.0]], dtype=torch.float64)
        for axis in (0, 1):
            case(name, {"axis": axis}, [large], lambda x: function(x, axis), note="extreme")

    names = ["x", "weight", "bias", "running_mean", "running_var"]
    shapes = (((5, 3), 1e-5, 0.1), ((2, 1), 1e-3, 0.3), ((2, 2, 2, 3), 1e-5, 0.1), ((3, 2, 4), 1e-5, 0.1),
              ((1, 3, 5), 1e-5, 0.25), ((1, 2, 1, 3), 1e-5, 1.0))
    for training in (True, False):
        for shape, eps, momentum in shapes if training else shapes[:3]:
            c = (shape[1],)
            inputs = [numbers(shape, -1.0, 4.0), numbers(c, 0.5, 1.5), numbers(c), numbers(c), numbers(c, 0.5, 2.0)]
            mean, var = inputs[3].clone(), inputs[4].clone()
            entry = case(
                "batch_norm", {"training": training, "eps": eps, "momentum": momentum}, inputs,
                lambda x, w, b, m, v: F.batch_norm(x, mean, var, w, b, training, momentum, eps), names,
                constant=(3, 4))
            if training:
                entry["running_mean_after"], entry["running_var_after"] = as_json(mean), as_json(var)
            else:
                assert mean.equal(inputs[3]) and var.equal(inputs[4])

    names = ["x", "weight", "bias"]
    for shape, axes, eps in (((4, 5), 1, 1e-5), ((2, 3, 2), 1, 1e-5), ((2, 2, 3), 2, 1e-5), ((6,), 1, 1e-3),
                             ((1, 2, 3), 3, 1e-5), ((3, 1), 1, 1e-5), ((0, 3), 1, 1e-5)):
        normalized = list(shape[-axes:])
        attributes = {"normalized_shape": normalized, "eps": eps}
        inputs = [numbers(shape, -1.0, 4.0), numbers(normalized, 0.5, 1.5), numbers(normalized)]
        case("layer_norm", attributes, inputs, lambda x, w, b: F.layer_norm(x, normalized, w, b, eps), names)
    case("layer_norm", {"normalized_shape": [4], "eps": 1e-5}, [numbers((3, 4))], lambda x: F.layer_norm(x, [4]), names)


def losses():
    reductions = ("mean", "sum", "none")
    names = ["prediction", "target"]
    functions = {
        "mse_loss": ({}, F.mse_loss),
        "l1_loss": ({}, F.l1_loss),
        "huber_loss": ({"delta": 1.0}, lambda x, y, reduction: F.huber_loss(x, y, reduction, 1.0)),
        "huber_loss ": ({"delta": 0.3}, lambda x, y, reduction: F.huber_loss(x, y, reduction, 0.3)),
    }
    for name, (attributes, function) in functions.items():
        name = name.strip()
        for reduction in reductions:
            for shape in ((4, 3), (5,), ()) if reduction == "mean" else ((2, 3),):
                inputs = [numbers(shape), numbers(shape, shift=0.005)]
                case(name, {**attributes, "reduction": reduction}, inputs,
                     lambda x, y: function(x, y, reduction=reduction), names)
        case(name, {**attributes, "reduction": "sum"}, [numbers((0, 3)), numbers((0, 3))],
             lambda x, y: function(x, y, reduction="sum"), names, "empty")
        case(name, {**attributes, "reduction": "sum"}, [reals(-1e4, -100.0, 100.0, 1e4), reals(1e4, 0.5, 0.5, 1e-3)],
             lambda x, y: function(x, y, reduction="sum"), names, "extreme")
    case("l1_loss", {"reduction": "sum"}, [reals(1.0, 2.0), reals(1.0, 3.0)],
         lambda x, y: F.l1_loss(x, y, reduction="sum"), names, "kink")

    names = ["logits", "target", "pos_weight"]
    bce = F.binary_cross_entropy_with_logits
    for reduction in reductions:
        attributes = {"reduction": reduction}
        for shape in ((2, 3), (5,), ()):
            case("binary_cross_entropy_with_logits", attributes, [numbers(shape, -4.0, 4.0), numbers(shape, 0.0, 1.0)],
                 lambda x, y: bce(x, y, reduction=reduction), names)
        for shape in ((3, 2), (5,)):
            inputs = [numbers(shape, -4.0, 4.0), numbers(shape, 0.0, 1.0), numbers(shape[-1:], 0.5, 3.0)]
            case("binary_cross_entropy_with_logits", attributes, inputs,
                 lambda x, y, p: bce(x, y, reduction=reduction, pos_weight=p), names, constant=(2,))
    x, y = reals(-1e4, -1e4, -100.0, 0.0, 100.0, 1e4, 1e4), reals(0.0, 1.0, 1.0, 0.5, 0.0, 1.0, 0.0)
    case("binary_cross_entropy_with_logits", {"reduction": "none"}, [x, y], lambda x, y: bce(x, y, reduction="none"),
         names, "extreme")
    case("binary_cross_entropy_with_logits", {"reduction": "none"}, [x, y, reals(2.5)],
         lambda x, y, p: bce(x, y, reduction="none", pos_weight=p), names, "extreme", constant=(2,))

    names = ["logits", "labels", "weight"]
    shapes = (((5, 3), (5,)), ((2, 3, 2), (2, 2)))
    for name, function in (("cross_entropy", F.cross_entropy), ("nll_loss", F.nll_loss)):
        names = ["logits" if name == "cross_entropy" else "log_probabilities", "labels", "weight"]

        def add(attributes, inputs, note=None):
            def run(x, labels, weight=None):
                return function(x, labels, weight, **attributes)
            case(name, attributes, inputs, run, names, note, constant=(2,))

        smoothings = (0.0, 0.1) if name == "cross_entropy" else (None,)
        for smoothing in smoothings:
            extra = {} if smoothing is None else {"label_smoothing": smoothing}
            for reduction in reductions:
                for shape, label_shape in shapes[:1] if smoothing and reduction != "mean" else shapes:
                    x, y = numbers(shape, -3.0, 3.0), labels(label_shape, shape[1])
                    ignoring = y.clone()
                    ignoring.view(-1)[[0, 2]] = 1
                    weight = numbers((shape[1],), 0.5, 2.0)
                    attributes = {"reduction": reduction, "ignore_index": -100, **extra}
                    if not smoothing or reduction == "mean":
                        add(attributes, [x, y])
                    add(attributes, [x, y, weight])
                    if reduction == "mean":
                        add({**attributes, "ignore_index": 1}, [x, ignoring, weight])
                        y = y.clone()
                        y.view(-1)[1] = -100
                        add(attributes, [x, y])
            add({"reduction": "mean", "ignore_index": -100, **extra}, [numbers((1, 1)), integers([0])])
            add({"reduction": "sum", "ignore_index": 2, **extra}, [numbers((2, 3)), integers([2, 2])])
        large = torch.tensor([[1e4, -1e4, 0.0], [1e4, -1e4, 0.0], [-100.0, 100.0, 99.0]], dtype=torch.float64)
        attributes = {"reduction": "none", "ignore_index": -100}
        if name == "cross_entropy":
            attributes["label_smoothing"] = 0.0
        add(attributes, [large, integers([0, 1, 2])], "extreme")

    names = ["log_probabilities", "target"]
    for log_target in (False, True):
        for reduction in reductions + ("batchmean",):
            for shape in ((2, 3), (4,)) if reduction == "mean" else ((2, 3),):
                x = torch.round(F.log_softmax(numbers(shape), -1), decimals=2)
                y = torch.round(F.softmax(numbers(shape), -1), decimals=2)
                y = torch.round(torch.log(y), decimals=2) if log_target else y
                case("kl_div", {"reduction": reduction, "log_target": log_target}, [x, y],
                     lambda x, y: F.kl_div(x, y, reduction=reduction, log_target=log_target), names)
    case("kl_div", {"reduction": "sum", "log_target": False}, [reals(-1.5, -0.5, -1.0), reals(0.0, 0.75, 0.25)],
         lambda x, y: F.kl_div(x, y, reduction="sum"), names, "zero target", constant=(1,))


# The file ------------------------------------------------------------------------------------------------------------


def difference(a, b):
    """The largest relative difference between two JSON values, infinity where they are not of the same form."""
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) / max(abs(a), abs(b), 1e-300)
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return max((difference(x, y) for x, y in zip(a, b)), default=0.0)
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return max((difference(a[k], b[k]) for k in a), default=0.0)
    return 0.0 if a == b else math.inf


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare the file with this PyTorch, write nothing")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    for family in (unary, activations, binary, reductions, products, movement, normalisation, losses):
        family()
    lines = ",\n".join(json.dumps(c, allow_nan=False, separators=(",", ":")) for c in cases)
    text = f"[\n{lines}\n]\n"

    if arguments.check:
        found = difference(json.loads(FILE.read_text()), json.loads(text))
        print(f"{len(cases)} cases, largest relative difference {found:.1e}")
        return 0 if found < 1e-9 else 1
    if len(text) > LARGEST_FILE:
        sys.exit(f"{len(text)} bytes: more than {LARGEST_FILE}")
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(text)
    print(f"{FILE}: {len(cases)} cases, {len(text)} bytes, PyTorch {torch.__version__}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
