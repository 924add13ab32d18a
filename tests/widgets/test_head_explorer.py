"""The kernel's side of the head explorer."""

import math

import pytest
import torch

from companion.config import TransformerConfig
from companion.data.tokenizer import load_tokenizer
from companion.models.bert import BERT
from companion.models.pretrained import load_pretrained
from companion.nn.attention import record_attention
from companion.widgets import HeadExplorer
from companion.widgets.head_maps import head_maps, score_terms, unpack_maps

BOUND = 1 / 510 + 1e-6
TEXTS = ["a good film", "the film was not good"]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = TransformerConfig(
        vocab_size=8192, d_model=24, n_heads=3, n_layers=2, dropout=0.0, position="rope", init_std=0.5
    )
    return BERT(config).eval()


def test_the_maps_are_those_of_the_real_forward_pass(model):
    tokenizer = load_tokenizer()
    explorer = HeadExplorer.of(model, tokenizer, *TEXTS, sentence=1, layer=1, chosen=[0, 2])
    ids = torch.tensor([tokenizer.encode(TEXTS[1]).ids])
    with torch.no_grad(), record_attention(model) as maps:
        model.encode(ids)
    assert explorer.tokens == ["[CLS]", "the", "film", "was", "not", "good", "[SEP]"]
    assert (explorer.weights - maps[1][0, [0, 2]].double()).abs().max() <= BOUND


def test_the_shipped_maps_are_those_of_the_shipped_model():
    explorer, tokenizer = HeadExplorer(), load_tokenizer()
    model = load_pretrained("bert-book-imdb")
    assert (explorer.data["layers"], explorer.data["heads"]) == (model.config.n_layers, model.config.n_heads)
    for sentence, row in enumerate(explorer.data["sentences"]):
        ids = torch.tensor([[tokenizer.token_to_id(token) for token in row["tokens"]]])
        assert (unpack_maps(explorer.data, sentence) - head_maps(model, ids).double()).abs().max() <= BOUND


def test_without_the_marks_rows_sum_to_one_again(model):
    explorer = HeadExplorer.of(model, load_tokenizer(), *TEXTS)
    whole = explorer.weights
    explorer.drop_special = True
    assert explorer.tokens == ["a", "good", "film"]
    torch.testing.assert_close(explorer.weights.sum(dim=-1), torch.ones(1, 3, dtype=torch.float64))
    ratio = explorer.weights[0, 0, 0] / explorer.weights[0, 0, 1]
    assert ratio == pytest.approx((whole[0, 1, 1] / whole[0, 1, 2]).item())


def test_the_terms_of_a_score_sum_to_what_the_softmax_reads(model):
    explorer = HeadExplorer.of(model, load_tokenizer(), TEXTS[1], layer=1)
    ids = explorer._ids[0]
    n = model.config.d_head
    scores = torch.tensor([sum(t.product for t in explorer.terms(2, key, head=1, n=n)) for key in range(ids.size(1))])
    exact = head_maps(model, ids)[1, 1, 2]
    torch.testing.assert_close(scores.softmax(dim=0).to(exact), exact, atol=1e-5, rtol=1e-4)
    terms = explorer.terms(2, 3, n=4)
    assert len(terms) == 4 and abs(terms[0].product) == max(abs(t.product) for t in explorer.terms(2, 3, n=n))
    assert terms[0].product == pytest.approx(terms[0].query * terms[0].key / math.sqrt(n), rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sentence": 5}, "sentence=5 must be from 0 to"),
        ({"layer": -1}, "layer=-1 must be from 0 to"),
        ({"chosen": []}, r"chosen=\[\] must name from 1 to 8"),
        ({"chosen": [1, 1]}, "different heads"),
        ({"chosen": [99]}, "heads from 0 to"),
        ({"threshold": 0.6}, "threshold=0.6 must be from 0 to 0.5"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        HeadExplorer(**arguments)


def test_more_bad_input(model):
    with pytest.raises(ValueError, match="has a model to ask"):
        HeadExplorer().terms(0, 0)
    with pytest.raises(ValueError, match="query=9 must be from 0 to 3"):
        score_terms(model, torch.tensor([[2, 7, 8, 3]]), layer=0, head=0, query=9, key=0)


def test_html_and_repr():
    explorer = HeadExplorer()
    assert repr(explorer) == "HeadExplorer(sentence=0, layer=0, heads=[0])"
    assert explorer._repr_html_().count("<table>") == 1 and len(explorer._repr_html_()) < 60_000
