"""Fine-tuning: what each method trains, what is kept, when it stops, and what is refused."""

import json
from functools import partial

import pytest
import torch
from small_finetuning import METHODS, SHAPE, mini, run_of, trained_by_each_method, tuner_of, write_bert

from companion import GPT, TransformerClassifier, TransformerConfig, load_pretrained, load_tokenizer
from companion.data.labelled import read_labelled
from companion.data.tokenizer import save_tokenizer, train_tokenizer
from companion.models.pretrained import save_pretrained
from companion.models.text_classifier import mean_by_text
from companion.nn.lora import LoRALinear
from companion.training.calibration import fit_temperature
from companion.training.finetune import (
    LabelledSplit,
    build_classifier,
    build_finetuner,
    finetuned,
    load_trunk,
    read_split,
)
from companion.training.finetuner import FeatureProbe, rate_factor
from companion.training.objectives import Classification
from companion.training.run_folder import write_run_values


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def trained(bert):
    return trained_by_each_method(bert)


def weights_of(tuner):
    model = tuner.model.classifier if isinstance(tuner.model, FeatureProbe) else tuner.model
    return dict(model.named_parameters())


# --- what is trained


@pytest.mark.parametrize("method", METHODS)
def test_what_each_method_trains(bert, trained, method):
    pretrained = load_pretrained(bert).transformer.state_dict()
    after = weights_of(trained[method][1])
    trunk = {name.removeprefix("transformer."): p for name, p in after.items() if name.startswith("transformer.")}
    same = {name for name, value in pretrained.items() if torch.equal(trunk[name], value)}
    adapters = {name for name in trunk if "lora_" in name}
    if method in ("full", "scratch"):
        assert not same and not adapters
    else:  # the pretrained weights are as they were, bit for bit
        assert same == set(pretrained) and set(trunk) - same == adapters
        assert bool(adapters) == (method == "lora")
    assert not torch.equal(after["head.weight"], weights_of(tuner_of(trained[method][0]))["head.weight"])


def test_the_trunk_starts_from_the_pretrained_weights_and_scratch_from_others(bert):
    pretrained = load_pretrained(bert).transformer.state_dict()
    for method in METHODS:
        model = build_classifier(run_of(bert, method=method))
        own = model.transformer.state_dict()
        assert all(torch.equal(own[name], value) for name, value in pretrained.items()) == (method != "scratch")
        assert model.config.dropout == 0.2
    before = torch.random.get_rng_state()
    a, b, c = (build_classifier(run_of(bert, train={"seed": s})).head.weight for s in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_run_without_a_pretrained_model_has_the_shape_it_says():
    model = build_classifier(run_of("", method="scratch", model={"d_ff": 20}))
    assert model.config.d_ff == 20 and model.config.d_model == SHAPE["d_model"]


def test_the_probes_features_are_those_of_the_frozen_trunk(bert):
    tuner = tuner_of(run_of(bert, method="probe", data={"keep": "both"}))
    model, texts = tuner.model.classifier.eval(), mini().texts
    run = tuner.run
    split = read_split(run)
    assert len(tuner.model.table) == len(texts)
    whole = finetuned(run, {**tuner.state_dict(), "best": None, "average": {}})
    expected = whole.logits([*split.train.texts, *split.validation.texts])
    torch.testing.assert_close(model.head(tuner.model.table), expected, rtol=1e-5, atol=1e-5)


def test_the_probe_of_windows_averages_logits(bert):
    tuner = tuner_of(run_of(bert, method="probe"))
    assert {len(b.rows) for b in tuner.eval_batches} == {16}
    whole = finetuned(tuner.run, {**tuner.state_dict(), "best": None, "average": {}})
    expected = whole.logits(read_split(tuner.run).validation.texts)
    logits = mean_by_text(lambda b: tuner.model.eval()(b.ids), tuner.eval_batches, 16)
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)


def test_lower_layers_learn_more_slowly(bert):
    tuner = tuner_of(run_of(bert, finetune={"layer_decay": 0.5, "head_rate": 2.0}, train={"schedule": "constant"}))
    names = {id(p): name for name, p in tuner.model.named_parameters()}
    tuner.fit(progress=False, until=1)
    rates = {names[id(p)]: group["lr"] for group in tuner.optimizer.param_groups for p in group["params"]}
    top = tuner.history[0]["lr"]
    assert rates["head.weight"] == 2 * top and rates["transformer.norm.weight"] == top / 2
    assert rates["transformer.blocks.1.ffn.up_proj.weight"] == top / 2
    assert rates["transformer.blocks.0.attention.q_proj.bias"] == top / 4
    assert rates["transformer.embedding.token.weight"] == top / 8
    assert len(rates) == len(names)
    decays = {names[id(p)]: g["weight_decay"] for g in tuner.optimizer.param_groups for p in g["params"]}
    assert decays["head.weight"] == 0.01 and decays["head.bias"] == decays["transformer.embedding.token.weight"] == 0
    assert rate_factor("classifier.head.bias", 2, layer_decay=0.5) == 1.0


def test_steps_warm_up_and_evaluations_follow_from_the_epochs(trained):
    run, tuner = trained["full"]
    assert tuner.stream.batches_per_epoch == 4  # 64 texts, 16 a batch
    c = tuner.config
    assert (c.max_steps, c.warmup_steps, c.eval_every, c.checkpoint_every) == (12, 1, 2, 2)
    assert [r["step"] for r in tuner.history if "valid_loss" in r] == [2, 4, 6, 8, 10, 12]
    assert run.train_config(1000).max_steps == 3000


# --- what is kept


@pytest.mark.parametrize("method", METHODS)
def test_the_best_weights_are_kept_and_give_the_scores_they_were_kept_for(trained, method):
    run, tuner = trained[method]
    valid = [(r["valid_accuracy"], -r["valid_loss"], r["step"]) for r in tuner.history if "valid_loss" in r]
    best = max(valid, key=lambda v: v[:2])
    assert tuner.best["step"] == best[2] and tuner.best["scores"]["accuracy"] == best[0]
    assert tuner.waited == sum(v[2] > best[2] for v in valid)
    classifier = finetuned(run, tuner.state_dict())
    validation = read_split(run).validation
    logits = classifier.logits(validation.texts)
    labels = torch.tensor(validation.labels)
    assert float((logits.argmax(-1) == labels).double().mean()) == best[0]
    loss = torch.nn.functional.cross_entropy(logits, labels)
    assert loss.item() == pytest.approx(tuner.best["scores"]["loss"], abs=1e-5)
    assert classifier.temperature == tuner.best["temperature"] == 1.0  # 16 texts are too few for another one
    assert not any(isinstance(m, LoRALinear) for m in classifier.model.modules())
    assert all(p.requires_grad for p in classifier.model.parameters())


@pytest.mark.parametrize(("n", "fitted"), [(2, False), (99, False), (100, True), (300, True)])
def test_a_temperature_is_fitted_to_texts_enough(bert, n, fitted):
    tuner = tuner_of(run_of(bert))
    tuner.labels = torch.arange(n) % 2
    tuner.logits = 4.0 * (torch.nn.functional.one_hot(tuner.labels, 2) - 0.5)
    tuner.logits[0] *= -1  # one sure error: the likelihood asks for another temperature than 1
    assert fit_temperature(tuner.logits, tuner.labels) != 1.0
    tuner.judge({"loss": 0.1, "accuracy": 1 - 1 / n})
    best = tuner.best
    assert (best["temperature"] != 1.0) == (best["ece"] != best["calibrated_ece"]) == fitted
    if fitted:
        assert best["temperature"] == fit_temperature(tuner.logits, tuner.labels)


def test_the_loss_may_choose_instead(bert):
    tuner = tuner_of(run_of(bert, finetune={"select": "loss"}, train={"peak_lr": 0.05}))
    tuner.fit(progress=False)
    losses = {r["step"]: r["valid_loss"] for r in tuner.history if "valid_loss" in r}
    assert tuner.best["step"] == min(losses, key=losses.get)


def test_patience_ends_the_training(bert):
    run = run_of(bert, finetune={"select": "loss", "patience": 2, "epochs": 50}, train={"peak_lr": 0.3})
    tuner = tuner_of(run)
    tuner.fit(progress=False)
    evaluated = [r["step"] for r in tuner.history if "valid_loss" in r]
    assert tuner.finished and tuner.step == evaluated[-1] < tuner.config.max_steps
    assert tuner.waited == 2 and evaluated[-3] == tuner.best["step"]
    assert tuner.fit(progress=False)[-1]["step"] == evaluated[-1]  # nothing left to do


def test_the_average_is_the_moving_average_of_the_weights(bert):
    tuner = tuner_of(run_of(bert, finetune={"average": 0.5}))
    name = "head.weight"
    expected = tuner.model.get_parameter(name).detach().clone()
    for step in range(1, 9):
        tuner.history.append(tuner.train_step())
        keep = min(0.5, (1 + step) / (10 + step))
        expected = keep * expected + (1 - keep) * tuner.model.get_parameter(name).detach()
    torch.testing.assert_close(tuner.average[name], expected, rtol=1e-5, atol=1e-7)
    own = tuner.model.get_parameter(name).detach().clone()
    tuner.judge(tuner.evaluate(tuner.eval_batches))
    assert torch.equal(tuner.best["model"][name], tuner.average[name])
    assert torch.equal(tuner.model.get_parameter(name), own) and not torch.equal(own, tuner.average[name])


def test_the_average_begins_with_the_weights_that_training_begins_with(bert):
    """Not with those that were there before others were loaded, as the second stage of a distillation does."""
    tuner, other = tuner_of(run_of(bert)), tuner_of(run_of(bert, train={"seed": 9}))
    tuner.model.load_state_dict(other.model.state_dict())
    before = tuner.model.get_parameter("head.weight").detach().clone()
    tuner.train_step()
    keep, after = 2 / 11, tuner.model.get_parameter("head.weight").detach()
    torch.testing.assert_close(tuner.average["head.weight"], keep * before + (1 - keep) * after, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("average", [0.0, 0.5])
def test_without_texts_held_out_the_last_weights_count(bert, average):
    run = run_of(bert, finetune={"validation": 0.0, "average": average, "epochs": 1})
    tuner = tuner_of(run)
    tuner.fit(progress=False)
    assert tuner.best is None and not any("valid_loss" in r for r in tuner.history)
    classifier = finetuned(run, tuner.state_dict())
    last = tuner.average if average else dict(tuner.model.named_parameters())
    assert torch.equal(classifier.model.head.weight, last["head.weight"]) and classifier.temperature == 1.0


def test_windows_of_a_text_are_averaged_in_evaluation(bert):
    tuner = tuner_of(run_of(bert, data={"length": 12}))
    rows = torch.cat([batch.rows for batch in tuner.eval_batches])
    assert rows.unique().numel() == 16 < len(rows)
    scores = tuner.evaluate(tuner.eval_batches)
    logits = torch.zeros(16, 2)
    with torch.no_grad(), tuner._averaged():
        for text in range(16):
            parts = [
                tuner.model.eval()(
                    b.ids[b.rows == text], padding=b.padding[b.rows == text] if b.padding is not None else None
                )
                for b in tuner.eval_batches
                if (b.rows == text).any()
            ]
            logits[text] = torch.cat(parts).mean(dim=0)
    loss = torch.nn.functional.cross_entropy(logits, tuner.labels).item()
    assert scores["loss"] == pytest.approx(loss, abs=1e-5)


def test_evaluating_leaves_mode_and_randomness_as_they_were(bert):
    tuner = tuner_of(run_of(bert))
    tuner.model.train()
    before = torch.random.get_rng_state()
    assert tuner.evaluate(tuner.eval_batches) == tuner.evaluate(tuner.eval_batches)
    assert tuner.model.training and torch.equal(torch.random.get_rng_state(), before)


def test_it_learns(tmp_path):
    """A few reviews, seen often enough, are told apart by every method."""
    bert = write_bert(tmp_path)
    data = mini(8, seed=3)
    split = LabelledSplit(data, data)
    for method in METHODS:
        run = run_of(
            bert,
            method=method,
            model={"dropout": 0.0},
            data={"keep": "both", "length": 40},
            finetune={"epochs": 25, "evaluations": 1, "average": 0.0, "layer_decay": 1.0, "select": "loss"},
            lora={"rank": 8, "targets": ["q_proj", "v_proj", "up_proj"]} if method == "lora" else {},
            train={"peak_lr": 0.1 if method == "probe" else 0.02, "batch_size": 8, "weight_decay": 0.0},
        )
        tuner = build_finetuner(run, data=split)
        tuner.fit(progress=False)
        best, first = tuner.best["scores"]["loss"], tuner.history[0]["valid_loss"]
        assert best < 0.7 * first, method


# --- what does not fit


def test_the_tokenizer_must_be_that_of_the_pretraining(tmp_path):
    folder = write_bert(tmp_path / "bert")
    words = json.loads(load_tokenizer().to_str())
    pieces = words["model"]["vocab"]
    pieces["the"], pieces["of"] = pieces["of"], pieces["the"]
    (tmp_path / "bert" / "tokenizer.json").write_text(json.dumps(words), encoding="utf-8")
    with pytest.raises(ValueError, match=r"was pretrained with the tokenizer in .* --set data\.tokenizer="):
        tuner_of(run_of(folder))
    tuner_of(run_of(folder, data={"tokenizer": folder}))
    tuner_of(run_of(folder, method="scratch"))


def test_without_a_tokenizer_of_its_own_a_model_has_the_books(bert, tmp_path):
    words = json.loads(load_tokenizer().to_str())
    pieces = words["model"]["vocab"]
    pieces["the"], pieces["of"] = pieces["of"], pieces["the"]
    other = tmp_path / "tokenizer.json"
    other.write_text(json.dumps(words), encoding="utf-8")
    named = {"data": {"tokenizer": other.as_posix()}}
    said = r"was pretrained with the book's tokenizer, and this is another, .*: --set data\.tokenizer=book"
    for name in ("bert-book-imdb", bert):
        with pytest.raises(ValueError, match=f"{name} {said}"):
            tuner_of(run_of(name, **named))
    tuner_of(run_of(bert, method="scratch", **named))  # of the model its shape alone is taken
    other.write_text(load_tokenizer().to_str(), encoding="utf-8")
    tuner_of(run_of(bert, **named))  # the same pieces in another file


def test_a_model_whose_vocabulary_is_not_of_the_books_size_was_not_made_with_it(tmp_path):
    small = train_tokenizer(mini().texts, vocab_size=400)
    save_tokenizer(small, tmp_path / "tokenizer.json")
    named = {"data": {"tokenizer": tmp_path.as_posix()}}
    assert tuner_of(run_of(write_bert(tmp_path / "bert", vocab_size=400), **named)).model.config.vocab_size == 400


def test_what_cannot_be_fine_tuned(bert, tmp_path):
    gpt = save_pretrained(tmp_path / "gpt", GPT(TransformerConfig(**SHAPE)), card="").as_posix()
    small = write_bert(tmp_path / "small", vocab_size=100)
    table = write_bert(tmp_path / "table", position="learned")
    run, tuned = run_of(bert, finetune={"epochs": 0}, train={"max_steps": 1}), (tmp_path / "tuned").as_posix()
    tuner_of(run).fit(progress=False, checkpoint_dir=tuned)
    write_run_values(tmp_path / "tuned", run.to_dict())
    for run, words in (
        (partial(run_of, gpt), "is a GPT; a classifier starts from a BERT, .* such as bert-book-imdb"),
        (partial(run_of, "imdb-classifier"), "is a TransformerClassifier; a classifier starts from .* bert-book-imdb"),
        (partial(run_of, tuned), "is the run of a fine-tuning; a classifier starts from a BERT, .* bert-book-imdb"),
        (partial(run_of, "bert-huge"), "no pretrained model 'bert-huge'"),
        (partial(run_of, small), "has 8192 pieces, but the model has vocab_size=100; set data.tokenizer"),
        (partial(run_of, bert, data={"length": 41}), "length=41, but the model reads at most 40 tokens"),
        (
            partial(run_of, table, model={"max_len": 50}),
            r"the pretrained trunk does not fit: missing \[\], left over \[\], wrong shape \['embedding\.position",
        ),
    ):
        with pytest.raises(ValueError, match=words):
            tuner_of(run())
    longer = tuner_of(run_of(bert, model={"max_len": 50}, data={"length": 50}))  # rotary positions go on
    assert longer.model.config.max_len == 50


def test_a_trunk_whose_names_do_not_fit_is_named(bert):
    model = load_trunk(bert)
    model.transformer.extra = torch.nn.Linear(2, 2, bias=False)
    del model.transformer.blocks[1]
    with pytest.raises(ValueError, match=r"missing \['blocks\.1\..*left over \['extra\.weight'\]"):
        TransformerClassifier.from_bert(model, 2)
    with pytest.raises(ValueError, match=r"\['d_model'\] follow from the pretrained model; only \['max_len', "):
        TransformerClassifier.from_bert(load_trunk(bert), 2, d_model=16)


def test_several_processes_are_refused(bert, monkeypatch):
    monkeypatch.setattr("companion.training.distributed.world_size", lambda: 2)
    with pytest.raises(ValueError, match="start it without torchrun"):
        tuner_of(run_of(bert))


def test_batches_of_real_lengths_are_real_tokens(bert):
    run = run_of(bert, data={"limit": 1500, "length": 40, "keep": "both"}, finetune={"epochs": 1})
    tuner = build_finetuner(run, data=LabelledSplit(read_labelled("mini", limit=1500), None))
    assert tuner.stream.real_share > 0.98
    assert isinstance(tuner.objective, Classification)
