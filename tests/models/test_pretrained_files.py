"""The settings of a saved model: checked once, whoever reads them."""

import json
import re

import pytest

from companion import TextClassifier, TransformerClassifier, TransformerConfig, load_classifier, load_tokenizer
from companion.cli import main
from companion.models.numpy_classifier import load_numpy_classifier
from companion.models.pretrained import load_pretrained
from companion.models.pretrained_files import check_classifier, is_export, pretrained_settings

SHAPE = {"vocab_size": 8192, "d_model": 8, "n_heads": 2, "d_ff": 12, "n_layers": 1, "max_len": 12, "position": "rope"}
GOOD = {
    "labels": ["neg", "pos"],
    "pooling": "mean",
    "max_len": 12,
    "keep": "both",
    "temperature": 1.5,
    "tokenizer": "book",
}
NAMES = r"must be a list of two or more different names, such as \['neg', 'pos'\]"
BAD = [
    ("labels", "ab", rf"labels='ab' {NAMES}"),
    ("labels", ["neg", "neg"], rf"labels=\['neg', 'neg'\] {NAMES}"),
    ("labels", ["neg"], rf"labels=\['neg'\] {NAMES}"),
    ("labels", ["neg", ""], rf"labels=\['neg', ''\] {NAMES}"),
    ("labels", [0, 1], rf"labels=\[0, 1\] {NAMES}"),
    ("labels", [["neg"], ["pos"]], NAMES),
    ("labels", {"neg": 0, "pos": 1}, NAMES),
    ("labels", None, rf"labels=None {NAMES}"),
    ("pooling", "max", r"pooling='max' is not known; choose one of \['mean', 'first'\]"),
    ("max_len", "512", "max_len='512' must be a whole number of at least 3"),
    ("max_len", 2, "max_len=2 must be a whole number of at least 3"),
    ("max_len", 0, "max_len=0 must be a whole number of at least 3"),
    ("max_len", 10.5, "max_len=10.5 must be a whole number of at least 3"),
    ("max_len", True, "max_len=True must be a whole number"),
    ("max_len", 13, "max_len=13, but the model reads at most 12 tokens"),
    ("keep", "middle", "keep='middle' is not known; choose one of"),
    ("temperature", float("inf"), "temperature=inf must be a finite number greater than 0"),
    ("temperature", float("nan"), "temperature=nan must be a finite number greater than 0"),
    ("temperature", 0, "temperature=0 must be a finite number greater than 0"),
    ("temperature", "1", "temperature='1' must be a finite number greater than 0"),
    ("temperature", None, "temperature=None must be a finite number greater than 0"),
    ("temperature", 10**400, "too large"),
    ("tokenizer", "../tokenizer.json", r"tokenizer='../tokenizer.json' is not known; choose one of \['book', "),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    network = TransformerClassifier(TransformerConfig(**SHAPE), 2).eval()
    path = tmp_path_factory.mktemp("export")
    (path / "texts.txt").write_text("A good film.\n", encoding="utf-8")
    return TextClassifier(network, load_tokenizer(), ("neg", "pos")).save(path, card="")


@pytest.fixture
def changed(folder):
    """Writes the configuration file with other values, and puts the old one back at the end."""
    before = (folder / "config.json").read_text(encoding="utf-8")

    def change(section, **values):
        settings = json.loads(before)
        settings[section] |= values
        (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
        return folder

    yield change
    (folder / "config.json").write_text(before, encoding="utf-8")


def said(capsys, folder, *arguments):
    code = main(["predict", *map(str, arguments), "--model", str(folder)])
    return code, *capsys.readouterr()


def check_refused(capsys, folder, words):
    """By each way to load it, and by the command line in one line, the same for what is typed and what is in a file."""
    words = rf"config\.json of {re.escape(str(folder))}: .*{words}.*; mend it there, or export the model again"
    for load in (pretrained_settings, load_classifier, load_pretrained):
        with pytest.raises(ValueError, match=words):
            load(folder)
    assert load_numpy_classifier(folder) is None
    typed = said(capsys, folder, "A good film.")
    assert typed[:2] == (1, "") and re.fullmatch(rf"companion: error: {words}\n", typed[2])
    assert said(capsys, folder, "--file", folder / "texts.txt") == typed


@pytest.mark.parametrize(("name", "value", "words"), BAD, ids=[f"{name}={str(value)[:20]}" for name, value, _ in BAD])
def test_a_setting_that_is_wrong_is_refused_by_whoever_loads_it(changed, capsys, name, value, words):
    check_refused(capsys, changed("classifier", **{name: value}), words)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"d_model": "8"}, "d_model='8' must be a whole number of at least 1"),
        ({"norm_eps": "small"}, "not supported between instances of 'str' and 'float'"),
        ({"width": 8}, r"has no field \['width'\]"),
    ],
)
def test_so_is_a_shape_that_is_none(changed, capsys, values, words):
    check_refused(capsys, changed("config", **values), words)


def test_settings_that_are_missing_or_no_object(changed, capsys):
    folder = changed("classifier")
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    some = {name: value for name, value in settings["classifier"].items() if name not in ("keep", "labels")}
    for section, words in (
        (some, r"lack \['labels', 'keep'\]"),
        (["neg", "pos"], r"classifier=\['neg', 'pos'\] must be an object with the fields \['labels', "),
        (None, "classifier=None must be an object"),
    ):
        (folder / "config.json").write_text(json.dumps({**settings, "classifier": section}), encoding="utf-8")
        check_refused(capsys, folder, words)


@pytest.mark.parametrize(
    "values",
    [{}, {"max_len": 3}, {"temperature": 2}, {"pooling": "first", "keep": "windows"}, {"labels": ["好", "坏"]}],
)
def test_what_is_right_is_answered_alike(changed, capsys, values):
    folder = changed("classifier", **values)
    assert load_numpy_classifier(folder) is not None
    typed = said(capsys, folder, "A good film.")
    assert typed[0] == 0 and typed[1] and said(capsys, folder, "--file", folder / "texts.txt")[:2] == typed[:2]


def test_a_classifier_made_by_hand_is_checked_by_the_same_function():
    network = TransformerClassifier(TransformerConfig(**SHAPE), 2).eval()
    check_classifier(GOOD, longest=12)
    for name, value, words in BAD:
        if name in ("labels", "max_len", "keep", "temperature") and value not in (0, 10**400):  # max_len=0: the model's
            with pytest.raises(ValueError, match=words):
                TextClassifier(network, load_tokenizer(), **{"labels": ("neg", "pos"), name: value})


def test_what_no_load_would_take_is_not_saved(tmp_path):
    network = TransformerClassifier(TransformerConfig(**SHAPE), 2).eval()
    judge = TextClassifier(network, load_tokenizer(), ("neg", "pos"))
    judge.temperature = float("inf")
    with pytest.raises(ValueError, match="temperature=inf must be a finite number"):
        judge.save(tmp_path / "new", card="")
    assert not (tmp_path / "new").exists()


def test_only_what_was_exported_is_an_export(folder, tmp_path):
    assert is_export(folder)
    for text in ("", "[]", '{"model_type": "bert", "architectures": []}', "[" * 100_000):
        (tmp_path / "config.json").write_text(text, encoding="utf-8")
        assert not is_export(tmp_path)
