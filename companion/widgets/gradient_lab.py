"""W2, the gradient lab: back-propagation through one neuron, and four optimizers on a bowl, checked by the kernel."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
import traitlets
from torch import Tensor

from companion.errors import require
from companion.history.autograd import Value
from companion.history.optimizers import SGD, Adam, AdamW, Array, Momentum, Optimizer, bowl, bowl_gradient, descend
from companion.widgets.base import Widget, table

Part = Literal["graph", "descent"]
NODES = ("x", "w", "p", "b", "z", "y", "t", "e", "L")
LAST_STAGE = 11  # five steps forward, six back
OPTIMIZERS: dict[str, str] = {"sgd": "SGD", "momentum": "momentum", "adam": "Adam", "adamw": "AdamW"}
PROBE = 1e-5  # how far the finite differences go to each side
KEYS: dict[str, tuple[str, ...]] = {
    "graph": ("part", "x", "w", "b", "t"),
    "descent": ("part", "curvature", "start_x", "start_y", "rate", "steps", "optimizers"),
}

_GRAPH = {"part": "graph", "x": 2.0, "b": 1.0, "t": 1.0}
_DESCENT = {"part": "descent", "curvature": 10.0, "start_x": -4.0, "start_y": 2.0}
PRESETS: list[dict[str, Any]] = [
    {"label": "From the beginning", **_GRAPH, "w": -1.0, "stage": 0},
    {"label": "Saturated: w = -6", **_GRAPH, "w": -6.0, "stage": LAST_STAGE},
    {"label": "Too fast for SGD", **_DESCENT, "rate": 0.21, "steps": 50, "optimizers": ["sgd"]},
    {"label": "Four in a valley", **_DESCENT, "rate": 0.015, "steps": 100, "curvature": 100.0,
     "optimizers": list(OPTIMIZERS)},
]  # fmt: skip


class GradientLab(Widget):
    r"""Where gradients come from, and what optimizers do with them.

    ``part="graph"``: ``L = (σ(w x + b) - t)²`` as a graph, walked forward and back; each gradient is the local
    derivative times the upstream gradient, with finite differences beside it. ``part="descent"``:
    ``f(x, y) = ½ (x² + κ y²)`` and the paths of SGD, momentum 0.9, Adam and AdamW (weight decay 0.01). With a kernel
    the figure also shows how far its numbers are from those of :mod:`companion.history` and of PyTorch.

    Args:
        part: ``"graph"`` or ``"descent"``.
        x: input, -10 to 10, like w, b and t.
        w: weight.
        b: bias.
        t: target.
        stage: how far the graph is walked, 0 to 11: five steps forward, then six back.
        curvature: κ, 1 to 100.
        start: where the descent begins, -5 to 5 each.
        rate: learning rate, 0.001 to 1.
        steps: steps of descent, 0 to 200.
        optimizers: some of ``"sgd"``, ``"momentum"``, ``"adam"``, ``"adamw"``; by default all.

    Raises:
        ValueError: a number out of range, an unknown optimizer, or a path that leaves the range of numbers.

    >>> lab = GradientLab()
    >>> lab
    GradientLab(part=graph, x=2.0, w=-1.0, b=1.0, t=1.0)
    >>> round(lab.values["L"], 4), round(lab.gradients["w"], 4)
    (0.5344, -0.5749)
    >>> GradientLab("descent", rate=0.18).path("sgd")[10].round(4).tolist()
    [-0.5498, 0.2147]
    """

    name = "gradient_lab"

    part = traitlets.Enum(["graph", "descent"], "graph").tag(sync=True, page=True)
    x = traitlets.Float(2.0).tag(sync=True, page=True)
    w = traitlets.Float(-1.0).tag(sync=True, page=True)
    b = traitlets.Float(1.0).tag(sync=True, page=True)
    t = traitlets.Float(1.0).tag(sync=True, page=True)
    stage = traitlets.Int(LAST_STAGE).tag(sync=True, page=True)
    curvature = traitlets.Float(10.0).tag(sync=True, page=True)
    start_x = traitlets.Float(-4.0).tag(sync=True, page=True)
    start_y = traitlets.Float(2.0).tag(sync=True, page=True)
    rate = traitlets.Float(0.1).tag(sync=True, page=True)
    steps = traitlets.Int(10).tag(sync=True, page=True)
    optimizers = traitlets.List(traitlets.Enum(list(OPTIMIZERS))).tag(sync=True, page=True)
    presets = traitlets.List(default_value=PRESETS).tag(sync=True, page=True)
    kernel = traitlets.Dict().tag(sync=True)  # not the page's: it has no kernel that could keep it true

    def __init__(
        self,
        part: Part = "graph",
        *,
        x: float = 2.0,
        w: float = -1.0,
        b: float = 1.0,
        t: float = 1.0,
        stage: int = LAST_STAGE,
        curvature: float = 10.0,
        start: Sequence[float] = (-4.0, 2.0),
        rate: float = 0.1,
        steps: int = 10,
        optimizers: Sequence[str] = tuple(OPTIMIZERS),
        **traits: Any,
    ) -> None:
        require(len(start) == 2, f"start={list(start)} must be two numbers, x and y")
        unknown = sorted(set(optimizers) - set(OPTIMIZERS))
        require(not unknown, f"there is no optimizer {unknown}; choose from {list(OPTIMIZERS)}")
        neuron = {"x": x, "w": w, "b": b, "t": t, "stage": stage}
        descent = {"curvature": curvature, "start_x": start[0], "start_y": start[1], "rate": rate, "steps": steps}
        super().__init__(part=part, **neuron, **descent, optimizers=list(optimizers), **traits)
        self._check()
        for name in self.optimizers:
            self.path(name)
        self._compare()

    def _check(self) -> None:
        ranges: dict[str, tuple[float, float]] = dict.fromkeys("xwbt", (-10, 10))
        ranges |= {"start_x": (-5, 5), "start_y": (-5, 5)}
        ranges |= {"stage": (0, LAST_STAGE), "curvature": (1, 100), "rate": (1e-3, 1), "steps": (0, 200)}
        for key, (low, high) in ranges.items():
            value = getattr(self, key)
            require(low <= value <= high, f"{key}={value} must be from {low} to {high}")
        require(
            1 <= len(self.optimizers) == len(set(self.optimizers)),
            f"optimizers={list(self.optimizers)} must be one or more of {list(OPTIMIZERS)}, each once",
        )

    def _graph(self) -> dict[str, Value]:
        """Every node, after going back."""
        self._check()
        nodes = {key: Value(getattr(self, key), key) for key in "xwbt"}
        nodes["p"] = nodes["w"] * nodes["x"]
        nodes["z"] = nodes["p"] + nodes["b"]
        nodes["y"] = nodes["z"].sigmoid()
        nodes["e"] = nodes["y"] - nodes["t"]
        nodes["L"] = nodes["e"] ** 2
        nodes["L"].backward()
        return {key: nodes[key] for key in NODES}

    @property
    def values(self) -> dict[str, float]:
        """The nine nodes: x, w, p = w x, b, z = p + b, y = σ(z), t, e = y - t and L = e²."""
        return {key: float(node.data) for key, node in self._graph().items()}

    @property
    def gradients(self) -> dict[str, float]:
        """How L changes with each node, by :mod:`companion.history.autograd`."""
        return {key: float(node.grad) for key, node in self._graph().items()}

    @property
    def finite_differences(self) -> dict[str, float]:
        """``(L(v + h) - L(v - h)) / 2h`` for each node v, h = 0.00001, everything after it computed anew."""
        values = self.values
        sides = [{key: _loss_with(values, key, values[key] + h) for key in NODES} for h in (PROBE, -PROBE)]
        return {key: (sides[0][key] - sides[1][key]) / (2 * PROBE) for key in NODES}

    def path(self, name: str) -> Array:
        """The path of one optimizer, (steps + 1, 2), the start first: :func:`companion.history.optimizers.descend`.

        Raises:
            ValueError: the path leaves the range of numbers.
        """
        self._check()
        with np.errstate(over="ignore", invalid="ignore"):
            start = np.array([self.start_x, self.start_y])
            path = descend(_optimizer(name, self.rate), bowl_gradient(self.curvature), start, self.steps)
            finite = bool(np.isfinite(path).all() and np.isfinite(bowl(self.curvature)(path)).all())
        require(
            finite,
            f"{OPTIMIZERS[name]} leaves the range of numbers in {self.steps} steps at rate {self.rate}; "
            "take a smaller rate, fewer steps or another optimizer",
        )
        return path

    def losses(self, name: str) -> Array:
        """The values of f along the path of one optimizer, (steps + 1,)."""
        return np.asarray(bowl(self.curvature)(self.path(name)))

    @traitlets.observe(*{key for keys in KEYS.values() for key in keys})
    def _compare(self, change: Any = None) -> None:
        """Compute what the figure shows in the kernel too, by hand and by PyTorch; it shows the differences."""
        state = {key: getattr(self, key) for key in KEYS[self.part]}
        if self.kernel.get("state") == state:
            return
        try:
            by = self._gradients_by() if self.part == "graph" else self._paths_by()
        except ValueError:  # out of range: the figure says so itself, and keeps its last drawing
            by = {}
        self.kernel = {"state": state, "by": by, "device": f"torch {torch.__version__}, cpu"} if by else {}

    def _gradients_by(self) -> dict[str, list[list[float]]]:
        """For each source one list, in the order of ``NODES``."""
        mine = self.gradients
        nodes = _torch_graph(self.x, self.w, self.b, self.t)
        theirs = torch.autograd.grad(nodes["L"], [nodes[key] for key in NODES])
        return {
            "companion.history.autograd": [[mine[key] for key in NODES]],
            "torch.autograd": [[gradient.item() for gradient in theirs]],
        }

    def _paths_by(self) -> dict[str, list[list[float]]]:
        """For each source a path for each chosen optimizer, x and y in turn."""
        mine = [self.path(name).ravel().tolist() for name in self.optimizers]
        start = (self.start_x, self.start_y)
        theirs = [_torch_path(name, self.curvature, start, self.rate, self.steps) for name in self.optimizers]
        return {"companion.history.optimizers": mine, "torch.optim": theirs}

    def _summary(self) -> dict[str, object]:
        keys = KEYS["graph"] if self.part == "graph" else ("part", "curvature", "rate", "steps")
        return {key: getattr(self, key) for key in keys}

    def _fallback(self) -> str:
        if self.part == "graph":
            columns = (self.values, self.gradients, self.finite_differences)
            rows = [[column[key] for column in columns] for key in NODES]
            return table("L = (σ(w x + b) - t)²", rows, NODES, ["value", "gradient", "finite difference"])
        ends = [[*self.path(name)[-1].tolist(), float(self.losses(name)[-1])] for name in self.optimizers]
        names = [OPTIMIZERS[name] for name in self.optimizers]
        return table(f"After {self.steps} steps at rate {self.rate}", ends, names, ["x", "y", "f"])


def _loss_with(values: dict[str, float], key: str, value: float) -> float:
    """L when one node has another value."""
    v = values | {key: value}
    follow: dict[str, Callable[[], float]] = {
        "p": lambda: v["w"] * v["x"],
        "z": lambda: v["p"] + v["b"],
        "y": lambda: 1 / (1 + math.exp(-v["z"])),
        "e": lambda: v["y"] - v["t"],
        "L": lambda: v["e"] ** 2,
    }
    for node, compute in follow.items():
        if node != key:
            v[node] = compute()
    return v["L"]


def _optimizer(name: str, rate: float) -> Optimizer:
    rules: dict[str, type[SGD] | type[Momentum] | type[Adam]] = {"sgd": SGD, "momentum": Momentum, "adam": Adam}
    return (rules | {"adamw": AdamW})[name](rate)


def _torch_graph(x: float, w: float, b: float, t: float) -> dict[str, Tensor]:
    given = {"x": x, "w": w, "b": b, "t": t}
    v = {key: torch.tensor(value, dtype=torch.float64, requires_grad=True) for key, value in given.items()}
    v["p"] = v["w"] * v["x"]
    v["z"] = v["p"] + v["b"]
    v["y"] = v["z"].sigmoid()
    v["e"] = v["y"] - v["t"]
    v["L"] = v["e"] ** 2
    return v


def _torch_path(name: str, curvature: float, start: Sequence[float], rate: float, steps: int) -> list[float]:
    point = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    rules: dict[str, Any] = {
        "sgd": lambda: torch.optim.SGD([point], lr=rate),
        "momentum": lambda: torch.optim.SGD([point], lr=rate, momentum=0.9),
        "adam": lambda: torch.optim.Adam([point], lr=rate),
        "adamw": lambda: torch.optim.AdamW([point], lr=rate, weight_decay=0.01),
    }
    optimizer, path = rules[name](), point.tolist()
    for _ in range(steps):
        optimizer.zero_grad()
        f = 0.5 * (point[0] ** 2 + curvature * point[1] ** 2)
        f.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        path += point.tolist()
    return path
