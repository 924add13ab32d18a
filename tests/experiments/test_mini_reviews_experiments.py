"""Who can read the mini reviews: the linear model is tuned fairly and stays low; the record is of this grammar."""

import json
import math

import pytest
import torch

from benchmarks.mini_reviews import (
    AT_LEAST,
    AT_MOST,
    CONFIG,
    MODELS,
    RESULT,
    TEST,
    chosen,
    highest_linear,
    main,
    mean_transformer,
)
from companion.data.mini_reviews import MiniReviews, mini_reviews
from companion.data.mini_reviews_grammar import PLAIN
from companion.experiments import mini_reviews as experiment
from companion.experiments import ngrams
from companion.experiments.mini_reviews import (
    _batches,
    data_digest,
    hiding_shares,
    paired_reviews,
    small_classifier,
    train_small_classifier,
)
from companion.experiments.ngrams import ngram_accuracy

TINY = {**CONFIG, "train": 80, "test": 40, "weightings": ["count"], "longest": [1], "cs": [1.0]}
TINY |= {"validation": 40, "choice_seeds": [0]}
TINY["candidates"] = {
    name: {**settings, "steps": 2, "batch_size": 8} for name, settings in list(CONFIG["candidates"].items())[:2]
}


@pytest.fixture(scope="module")
def score():
    return ngram_accuracy(mini_reviews(2000, seed=1), mini_reviews(1000, seed=2, split="test"), cs=(0.1, 10.0))


def test_a_tuned_linear_model_stays_low_whatever_its_setting(score):
    assert score.accuracy <= score.highest < 0.65


def test_on_sentences_that_it_knows_the_linear_model_does_learn(score):
    assert score.validation > 0.65


def test_naive_bayes_weighs_by_the_ratio_of_likelihoods():
    from sklearn.feature_extraction.text import CountVectorizer

    texts, labels = ["good good film", "good", "film"], [1, 1, 0]
    counts = CountVectorizer().fit_transform(texts)  # columns: film, good
    weighed = ngrams._weighting("naive-bayes", counts, labels)(counts).toarray()
    film, good = math.log((2 / 5) / (2 / 3)), math.log((3 / 5) / (1 / 3))
    torch.testing.assert_close(torch.tensor(weighed), torch.tensor([[film, good], [0, good], [film, 0]]).double())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda few: ngram_accuracy(few, few), "9 reviews are too few"),
        (lambda few: ngram_accuracy(mini_reviews(10), few, weightings=["bm25"]), "weighting 'bm25' is not known"),
        (lambda few: train_small_classifier(few, steps=1, batch_size=10), "9 reviews do not fill a batch of 10"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(mini_reviews(9))


def test_twins_stay_together_and_every_review_is_used():
    reviews = paired_reviews(400, seed=3)
    assert reviews.constructions.count(PLAIN) == 120 and reviews == paired_reviews(400, seed=3)
    rows = small_classifier(reviews, seed=0)
    rows = [rows.ids(text) for text in reviews.texts]
    units = experiment._units(rows, reviews.labels)
    assert sorted(map(len, units)) == [1] * 120 + [2] * 140
    assert all(reviews.constructions[unit[0]] != PLAIN for unit in units if len(unit) == 2)
    stream = _batches(rows, units, 16, torch.Generator().manual_seed(0))
    seen = [i for batch in (next(stream) for _ in range(23)) for i in batch]
    assert len(seen) == len(set(seen)) > 360  # one round: what is left over does not fill a batch
    for batch in (next(stream) for _ in range(5)):
        assert 16 <= len(batch) <= 17 and all(set(unit) <= set(batch) for unit in units if set(unit) & set(batch))


def test_a_seed_gives_the_same_training():
    reviews = mini_reviews(64, seed=3)
    one, same = (train_small_classifier(reviews, steps=3, batch_size=16, seed=5) for _ in range(2))
    other = train_small_classifier(reviews, steps=3, batch_size=16, seed=6)
    assert one.losses == same.losses != other.losses
    assert torch.equal(one.probabilities(reviews.texts), same.probabilities(reviews.texts))


def test_rare_words_are_hidden_sooner_and_padding_never():
    reviews = mini_reviews(200, seed=3)
    vocabulary = small_classifier(reviews, seed=0).vocabulary
    shares = hiding_shares(reviews, vocabulary, unknown=0.1, rare=0.5)
    counts = {word: sum(ngrams.review_words(text).count(word) for text in reviews.texts) for word in vocabulary}
    for word in ("the", "not", "acting"):
        n = counts[word] / 200
        assert shares[vocabulary[word]].item() == pytest.approx(1 - (1 - 0.1) * n / (0.5 + n))
    assert shares[:2].tolist() == [0, 0] and shares[2:].min() > 0.1
    even = hiding_shares(reviews, vocabulary, unknown=0.1, rare=0.0)
    torch.testing.assert_close(even[2:], torch.full((len(vocabulary),), 0.1))


def test_the_average_is_of_the_weights_after_each_step():
    """At a rate of average 1/2: after two steps half of the second's weights and half of the first's."""
    reviews, options = mini_reviews(16, seed=3), {"batch_size": 16, "unknown": 0.0, "peak_lr": 1e-3}
    first, last, mean = (
        train_small_classifier(reviews, steps=2, average=average, **options) for average in (1.0 - 1e-9, 0.0, 0.5)
    )
    weights = zip(first.model.parameters(), last.model.parameters(), mean.model.parameters(), strict=True)
    for one, two, half in weights:
        torch.testing.assert_close(half, (one + two) / 2)
    assert mean.losses == last.losses
    assert any(not torch.equal(a, b) for a, b in zip(first.model.parameters(), last.model.parameters(), strict=True))


def test_each_text_gets_its_own_probability_whatever_stands_beside_it():
    reviews = mini_reviews(40, seed=3)
    classifier = small_classifier(reviews, seed=0)
    alone = torch.cat([classifier.probabilities([text]) for text in reviews.texts])
    torch.testing.assert_close(classifier.probabilities(reviews.texts), alone)
    assert classifier.accuracy(reviews) == sum(classifier.right(reviews)) / 40


def test_the_transformer_can_learn_a_few_reviews_by_heart():
    reviews = mini_reviews(32, seed=3, twins=True)  # no count of words could tell these apart
    classifier = train_small_classifier(reviews, steps=60, batch_size=32, unknown=0.0)
    assert classifier.accuracy(reviews) == 1.0


def test_the_digest_is_of_texts_and_labels(monkeypatch):
    before = data_digest(3)
    assert before == data_digest(3) != data_digest(4)

    def turned(*arguments, **options):
        found = mini_reviews(*arguments, **options)
        return MiniReviews(found.texts, [1 - label for label in found.labels], found.constructions, found.verdicts)

    monkeypatch.setattr(experiment, "mini_reviews", turned)
    assert data_digest(3) != before


def test_the_recorder_goes_on_where_it_stopped_and_says_what_misses_the_goals(tmp_path, capsys, monkeypatch):
    out = tmp_path / "record.json"
    assert main(["--out", str(out), "--seeds", "4"], TINY) == 1  # two steps teach a Transformer nothing
    recorded = json.loads(out.read_text(encoding="utf-8"))
    cells = [(run["part"], run["model"], run["seed"]) for run in recorded["runs"]]
    assert cells == [("validation", "Transformer", 0)] * 2 + [("test", model, 4) for model in MODELS]
    assert recorded["runs"][-1]["settings"] == chosen(recorded["runs"])
    assert recorded["config"]["data"] == data_digest()
    said = capsys.readouterr().out
    assert "at least 95%: MISSED" in said and "the best of all linear fits: " in said
    monkeypatch.setattr("benchmarks.mini_reviews.train_small_classifier", None)  # nothing is trained twice
    assert main(["--out", str(out), "--seeds", "4"], TINY) == 1
    with pytest.raises(ValueError, match="recorded with another configuration"):
        main(["--out", str(out)], {**TINY, "test": 41})


def test_the_worst_linear_run_counts_and_the_mean_of_the_transformers():
    linear = [{"model": model, "accuracy": 0.6, "highest": 0.7 + 0.01 * i} for i, model in enumerate(MODELS[:2])]
    transformer = [{"model": "Transformer", "accuracy": accuracy} for accuracy in (0.94, 0.98)]
    assert highest_linear(linear + transformer) == pytest.approx(0.71)
    assert mean_transformer(linear + transformer) == pytest.approx(0.96)


def test_the_best_in_validation_is_chosen_whatever_the_test_says():
    def run(part, settings, accuracy):
        return {"part": part, "settings": settings, "accuracy": accuracy}

    runs = [run("validation", "one", 0.9), run("validation", "other", 0.8), run("validation", "other", 0.99)]
    assert chosen(runs) == "one"
    runs += [run("validation", "one", 0.88), run("test", "one", 1.0)]
    assert chosen(runs) == "other"


@pytest.mark.skipif(not RESULT.is_file(), reason="not recorded yet: python -m benchmarks.mini_reviews")
def test_the_record_is_of_this_grammar_and_meets_the_goals():
    recorded = json.loads(RESULT.read_text(encoding="utf-8"))
    assert recorded["config"]["data"] == data_digest(), "the grammar changed: python -m benchmarks.mini_reviews"
    assert recorded["config"] == {**json.loads(json.dumps(CONFIG)), "data": data_digest()}
    judged = [run for run in recorded["runs"] if run["part"] == TEST]
    assert {(run["model"], run["seed"]) for run in judged} >= {(m, s) for m in MODELS for s in (0, 1, 2)}
    assert {run["settings"] for run in judged if run["model"] == "Transformer"} == {chosen(recorded["runs"])}
    assert highest_linear(judged) <= AT_MOST and mean_transformer(judged) >= AT_LEAST
