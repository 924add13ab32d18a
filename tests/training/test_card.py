"""Cards: what a model is and how good it is, in words that hold for this very run."""

from pathlib import Path

import pytest
from small_finetuning import SHAPE, run_of

from companion import BERT, TransformerClassifier, TransformerConfig, load_classifier
from companion.data.tokenizer import load_tokenizer
from companion.models.prediction import Prediction
from companion.models.pretrained_files import find_pretrained
from companion.models.text_classifier import TextClassifier
from companion.training.card import classifier_card, model_card
from companion.training.finetune_config import FineTuneRun
from companion.training.record import read_record
from companion.training.runfile import RunConfig

TAUGHT = {"teacher": "nb", "texts": 900, "steps": 7, "seconds": 60.0, "teacher_accuracy": 0.9, "targets": "classes"}
RECORD = {
    "machine": {"threads": 1, "kind": "a CPU", "device": "cpu"},
    "data": {"train": {"texts": 48}, "validation": {"texts": 12}},
    "trained": 10,
    "steps": 5,
    "seconds": 60.0,
    "date": "2026-01-01",
    "best": {"scores": {"loss": 0.41, "accuracy": 0.8}, "ece": 0.05, "calibrated_ece": 0.02},
}
EVALUATION = {"data": "mini", "split": "test", "texts": 90, "temperature": 1.3, "loss": 0.37, "accuracy": 0.7}


def card_of(run, record=None, labels=("neg", "pos")):
    model = TransformerClassifier(TransformerConfig(**SHAPE), 2)
    about = {"step": 5, "run": run.to_dict()}
    tokenizer = load_tokenizer("book")
    classifier = TextClassifier(model, tokenizer, labels, max_len=24, keep="head", about=about)
    return classifier_card("mine", run, classifier, record=record)


@pytest.mark.parametrize(
    ("pretrained", "method", "words"),
    [
        ("bert-book-imdb", "full", "all of its weights fine-tuned. It starts from bert-book-imdb. 2 blocks"),
        ("bert-book-imdb", "scratch", "trained from random weights. It has the shape of bert-book-imdb. 2 blocks"),
        ("", "scratch", "trained from random weights. 2 blocks"),
    ],
)
def test_random_weights_start_from_no_model(pretrained, method, words):
    assert words in card_of(run_of(pretrained, method=method))


def test_losses_with_and_without_the_temperature_stand_in_rows_of_their_own():
    card = card_of(run_of("bert-book-imdb"), {**RECORD, "evaluation": EVALUATION})
    assert "| loss | 0.41 |  |" in card and "| calibrated_loss |  | 0.37 |" in card
    assert "| accuracy | 0.8 | 0.7 |" in card and "temperature |" not in card
    assert "calibrated_loss" not in card_of(run_of("bert-book-imdb"), RECORD)


def test_a_record_that_does_not_say_what_the_teacher_gave_has_a_card_too():
    def said(**changes):
        taught = {k: v for k, v in {**TAUGHT, **changes}.items() if v is not None}
        return card_of(run_of("bert-book-imdb"), {**RECORD, "taught": taught})

    assert "of 900 texts without labels, the likelier class: 7 steps" in said()
    assert "of 900 texts without labels, how likely each class is: 7 steps" in said(targets="probabilities")
    assert "of 900 texts without labels: 7 steps" in said(targets=None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "in pre-norm form, trained on masked words and on next-sentence prediction. "),
        ({"norm": "post", "next_sentence": False}, "in post-norm form, trained on masked words. "),
    ],
)
def test_a_card_of_a_bert_names_its_own_form_and_tasks(changes, words):
    model = {**SHAPE, "n_segments": 2, **changes}
    run = RunConfig.from_dict({"model": model, "data": {"corpus": "gone", "length": 16}, "train": {"max_steps": 1}})
    assert words in model_card("mine", run, BERT(run.model), step=1, record=None)


def test_the_card_that_ships_is_what_the_code_writes():
    """As ``companion export`` would, from the weights and the record that ship."""
    name = "imdb-classifier"
    classifier = load_classifier(name)
    record = read_record(Path(__file__).parents[2] / "book" / "results" / "distilled.json")
    card = classifier_card(name, FineTuneRun.from_dict(classifier.about["run"]), classifier, record=record)
    assert find_pretrained(name).joinpath("README.md").read_text(encoding="utf-8") == card
    assert "mostly misses praise by negation: of 8 sentences that praise a film by denying" in card
    assert "something bad, it calls 7 neg" in card
    example = card.split('predict(["')[1].split('"])')[0]
    (said,) = classifier.predict([example])
    assert said.label == "pos" and said.probability > 0.95


def test_negation_is_among_the_limits_as_far_as_it_is_missed(monkeypatch):
    def card(n_missed, labels=("neg", "pos")):
        def predict(_, texts):
            return [Prediction("neg" if i < n_missed else "pos", 0.9, 3, 3) for i in range(len(texts))]

        monkeypatch.setattr(TextClassifier, "predict", predict)
        return card_of(run_of("bert-book-imdb"), labels=labels)

    assert "It mostly misses praise by negation: of 8 sentences" in card(5) and "it calls 5 neg" in card(5)
    assert "It may miss praise by negation" in card(4) and "negation" not in card(0)
    assert "negation" not in card(8, labels=("sports", "weather"))  # of other classes nothing is known
