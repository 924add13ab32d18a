"""The source's listing on IMDB, completed and mended: trained in the plainest way, and judged like all others.

The source gives no sizes and no training. Both versions get what its readers would take: the book's tokenizer, the
first 256 tokens of a review, shorter ones filled up with padding to the longest of all, Adam at one rate, and the epoch
that is best on the held-out tenth. Letters in the shapes: B batch, N reviews, T tokens, C classes.
"""

import copy
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from companion.data.labelled import LabelledTexts, split_validation
from companion.data.long_texts import Passages
from companion.data.stream import derived_generator
from companion.data.tokenizer import load_tokenizer, special_ids
from companion.experiments.agreement import one_thread
from companion.experiments.imdb import VALIDATION, Cell
from companion.experiments.imdb_source import Source, calibration
from companion.experiments.listing import MendedTransformer, Transformer
from companion.runtime import keep_memory

SETTINGS: Mapping[str, Any] = {
    "d_model": 64,
    "nhead": 4,
    "num_layers": 2,
    "dropout": 0.1,
    "length": 256,
    "batch_size": 32,
    "rate": 5e-4,
    "epochs": 3,
}
"""Sizes and training of both versions."""
D_FF = 2048
"""What the feed-forward layers of both are wide, since the listing does not say (H11)."""


class Listing:
    """One of the two versions, with what its training needs.

    Args:
        mended: which.
        settings: see :data:`SETTINGS`.
        seed: of the weights, dropout, and the order of the reviews.
        n_classes: C.
    """

    def __init__(self, mended: bool, settings: Mapping[str, Any], *, seed: int, n_classes: int = 2) -> None:
        self.settings, self.seed, self.mended = settings, seed, mended
        self.tokenizer = load_tokenizer()
        self.pad = special_ids(self.tokenizer).pad
        names = ("d_model", "nhead", "num_layers", "dropout")
        shape = {"vocab_size": self.tokenizer.get_vocab_size(), **{name: settings[name] for name in names}}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model: nn.Module = (MendedTransformer if mended else Transformer)(**shape, num_classes=n_classes)

    def ids(self, data: LabelledTexts) -> Tensor:
        """The reviews as one table (N, T), padded."""
        cut = Passages(data.texts, self.tokenizer, max_len=self.settings["length"], keep="head")
        return cut.ids(torch.arange(len(data)))[0]

    def forward(self, ids: Tensor) -> Tensor:
        """Logits (B, C); the listing takes no mask."""
        logits: Tensor = self.model(ids, ids != self.pad) if self.mended else self.model(ids)
        return logits

    def order(self, n: int, *parts: int | str) -> Tensor:
        """A random order of n reviews, the same for the same seed and parts."""
        return torch.randperm(n, generator=derived_generator(self.seed, *parts))

    def logits(self, ids: Tensor, order: Tensor | None = None) -> Tensor:
        """Logits (N, C) of the reviews, read in batches in this order, at random if it is None.

        Those of the listing as printed depend on it.
        """
        order = self.order(len(ids), "judged") if order is None else order
        self.model.eval()
        found = torch.zeros(0)
        with torch.no_grad():
            for rows in torch.split(order, self.settings["batch_size"]):
                logits = self.forward(ids[rows])
                if not len(found):
                    found = logits.new_zeros(len(ids), logits.size(1))
                found[rows] = logits
        return found

    def epoch(self, ids: Tensor, labels: Tensor, optimizer: torch.optim.Optimizer, order: Tensor, bar: Any) -> None:
        """Train on every review once, in this order."""
        self.model.train()
        for rows in torch.split(order, self.settings["batch_size"]):
            loss = nn.functional.cross_entropy(self.forward(ids[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            bar.update()

    def operations(self, n: int, length: int) -> int:
        """Of the matrix products of an epoch over n reviews, padding included: forward once, backward twice.

        Scores and weighted means take ``4 K² D`` for K tokens that see each other: those of a review, or, as printed,
        those of the batch at one place.
        """
        d, layers, size = self.settings["d_model"], self.settings["num_layers"], self.settings["batch_size"]
        linear = 2 * (4 * d * d + 2 * d * D_FF) * n * length
        seen = length if self.mended else size
        return int(3 * layers * (linear + 4 * d * seen * n * length))


def train_listing(listing: Listing, train: LabelledTexts, held_out: Tensor, held_labels: Tensor) -> list[float]:
    """Train; the model is left with the weights of the epoch that is best on the held-out ids (N, T).

    Returns:
        The accuracy there after each epoch.
    """
    from tqdm import tqdm

    ids, labels, settings = listing.ids(train), torch.tensor(train.labels), listing.settings
    optimizer = torch.optim.Adam(listing.model.parameters(), lr=settings["rate"])
    steps = settings["epochs"] * -(-len(train) // settings["batch_size"])
    curve: list[float] = []
    best: dict[str, Tensor] = {}
    with torch.random.fork_rng(devices=[]), tqdm(total=steps, unit="step", leave=False, disable=None) as bar:
        torch.manual_seed(listing.seed)
        for epoch in range(settings["epochs"]):
            listing.epoch(ids, labels, optimizer, listing.order(len(train), epoch), bar)
            curve.append(_accuracy(listing.logits(held_out), held_labels))
            if curve[-1] > max(curve[:-1], default=-1.0):
                best = copy.deepcopy(listing.model.state_dict())
    listing.model.load_state_dict(best)
    return curve


@one_thread()
def listing_cell(cell: Cell, source: Source, *, settings: Mapping[str, Any] = SETTINGS) -> dict[str, Any]:
    """Train and judge the listing: what the cell's file says, but for machine, date and command.

    Of the version as printed also how the classes of the held-out reviews depend on their neighbors:
    ``changed_by_neighbors`` is the share that another order of the same reviews changes, ``accuracy_sorted`` the
    accuracy when they come sorted by class, as in the data's files, so that all neighbors agree.
    """
    keep_memory()
    train, validation = split_validation(source.train(cell), VALIDATION, seed=cell.seed)
    test = source.test(cell)
    began = time.process_time()
    listing = Listing(cell.model == "listing-mended", settings, seed=cell.seed, n_classes=len(train.names))
    held_out, held_labels = listing.ids(validation), torch.tensor(validation.labels)
    curve = train_listing(listing, train, held_out, held_labels)
    seconds = time.process_time() - began
    held_logits = listing.logits(held_out)
    after = calibration(held_logits, held_labels)
    parameters = sum(p.numel() for p in listing.model.parameters())
    more = {"d_ff": D_FF, "vocab_size": listing.tokenizer.get_vocab_size(), "optimizer": "Adam", "keep": "head"}
    return {
        **source.judge(cell, listing.logits(listing.ids(test)), test, temperature=after["temperature"] or 1.0),
        "validation_accuracy": max(curve),
        "seconds": seconds,
        "parameters": parameters,
        "trained": parameters,
        "operations": settings["epochs"] * listing.operations(len(train), listing.ids(train).size(1)),
        **after,
        "config": {**settings, **more},
        "validation_by_epoch": curve,
        **({} if listing.mended else _neighbors(listing, held_out, held_labels, held_logits)),
    }


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    return float((logits.argmax(dim=-1) == labels).double().mean())


def _neighbors(listing: Listing, ids: Tensor, labels: Tensor, logits: Tensor) -> dict[str, float]:
    other = listing.logits(ids, listing.order(len(ids), "another"))
    by_class = listing.logits(ids, labels.argsort(stable=True))
    changed = (other.argmax(dim=-1) != logits.argmax(dim=-1)).double().mean()
    return {"changed_by_neighbors": float(changed), "accuracy_sorted": _accuracy(by_class, labels)}
