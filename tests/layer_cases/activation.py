"""Activations."""

from __future__ import annotations

from tests.layer_cases.case import Case

SMOOTH = [
    ("GELU", ()),
    ("GELU", ("tanh",)),
    ("SiLU", ()),
    ("Mish", ()),
    ("Sigmoid", ()),
    ("LogSigmoid", ()),
    ("Tanh", ()),
    ("Tanhshrink", ()),
    ("Softplus", ()),
    ("Softplus", (15.0, 10.0)),
    ("Softsign", ()),
    ("Softmax", (1,)),
    ("Softmax", (-2,)),
    ("LogSoftmax", (0,)),
    ("Softmin", (1,)),
    ("GLU", ()),
    ("GLU", (1,)),
]

KINKED = [
    ("ReLU", ()),
    ("LeakyReLU", (0.3,)),
    ("ELU", (0.5,)),
    ("CELU", (0.5,)),
    ("SELU", ()),
    ("Softshrink", (1.0,)),
    ("Hardshrink", (1.0,)),
    ("Hardtanh", (-2, 1.0)),
    ("Threshold", (0.0, 2.0)),
]

ACTIVATION = [
    *(Case(layer, args, ((3, 4),)) for layer, args in SMOOTH),
    # Whole numbers stand on the kinks, where PyTorch chose a derivative.
    *(
        Case(layer, args, ((3, 4),), {}, values)
        for layer, args in KINKED
        for values in ("normal", "ties")
    ),
    *(Case(layer, (), ((3, 4),)) for layer in ("LeakyReLU", "ELU", "CELU", "Hardtanh", "ReLU6")),
    *(Case(layer, (), ((3, 4),)) for layer in ("Softshrink", "Hardshrink", "Hardswish")),
    # PyTorch multiplies by a sixth that it rounds to float32.
    Case("Hardsigmoid", (), ((3, 4),), tolerances=(1e-5, 1e-7)),
    Case("Hardsigmoid", (), ((3, 4),), {}, "kinks", tolerances=(1e-5, 1e-7)),
    Case("Hardswish", (), ((3, 4),), {}, "kinks"),
    Case("Hardtanh", (-3, 3), ((3, 4),), {}, "kinks"),
    Case("ReLU6", (), ((3, 4),), {}, "kinks"),
    Case("Softmax2d", (), ((2, 3, 4, 4),)),
    Case("Softmax2d", (), ((4, 4, 3),), {"channels_last": True}),
    Case("PReLU", (), ((3, 4),)),
    Case("PReLU", (), ((),)),
    Case("PReLU", (3, 0.1), ((2, 3, 4),)),
    Case("PReLU", (3,), ((2, 4, 3),), {"channels_last": True}),
]
