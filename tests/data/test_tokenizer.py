"""The tokenizer: the same one from the same texts, whole vocabularies only, and the one that ships."""

import json

import pytest

from companion.data.tokenizer import (
    SPECIAL_TOKENS,
    encode_texts,
    load_tokenizer,
    save_tokenizer,
    special_ids,
    train_tokenizer,
)

WORDS = (
    *("the", "a", "film", "story", "was", "is", "very", "not", "good", "bad", "great"),
    *("watching", "rewatching", "watchable", "unwatchable", "boring", "bored"),
)
# Many pairs of pieces are equally frequent, so that the order of ties shows.
TEXTS = [f"{WORDS[i % 17]} {WORDS[i % 13]}, {WORDS[i % 11]} {WORDS[i % 7]}!" for i in range(300)]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, vocab_size=90)


def test_special_tokens_come_first(tokenizer):
    assert special_ids(tokenizer) == (0, 1, 2, 3, 4)
    assert [tokenizer.id_to_token(i) for i in range(5)] == list(SPECIAL_TOKENS)
    assert tokenizer.get_vocab_size() == 90
    assert sorted(tokenizer.get_vocab().values()) == list(range(90))


def test_words_become_pieces_and_words_again(tokenizer):
    encoded = tokenizer.encode("The STORY was Unwatchable!", "Rewatching")
    assert encoded.tokens[:4] == ["[CLS]", "the", "story", "was"]
    assert encoded.tokens[-1] == "[SEP]" and encoded.tokens.count("[SEP]") == 2
    first = encoded.tokens.index("[SEP]") + 1
    assert encoded.type_ids == [0] * first + [1] * (len(encoded) - first)
    assert tokenizer.decode(encoded.ids) == "the story was unwatchable! rewatching"
    assert tokenizer.encode("Wätch", add_special_tokens=False).ids == tokenizer.encode("watch").ids[1:-1]
    assert tokenizer.encode("film 字", add_special_tokens=False).tokens == ["film", "[UNK]"]


def test_the_same_texts_give_the_same_tokenizer(tokenizer):
    # The library's hash tables have another order each time, which decided ties (seen within four trainings).
    for _ in range(4):
        assert train_tokenizer(TEXTS, vocab_size=90).to_str() == tokenizer.to_str()


def test_a_vocabulary_that_the_texts_do_not_support():
    with pytest.raises(ValueError, match=r"vocab_size=5000, but the texts support only \d+ pieces .* ask for at most"):
        train_tokenizer(TEXTS, vocab_size=5000)
    with pytest.raises(ValueError, match=r"vocab_size=20, but .* alone need \d+"):
        train_tokenizer(TEXTS, vocab_size=20)
    for nothing in ([], ["", " \n"]):
        with pytest.raises(ValueError, match="there is nothing to learn from"):
            train_tokenizer(nothing, vocab_size=50)


def test_a_spelled_special_token_is_text(tokenizer):
    ids = encode_texts(["a [SEP] [MASK] film", "the [CLS]"], tokenizer)
    assert not {2, 3, 4} & {i for text in ids for i in text}
    assert tokenizer.encode("[MASK]", add_special_tokens=False).ids == [4]  # as before


def test_saved_and_loaded(tokenizer, tmp_path):
    save_tokenizer(tokenizer, tmp_path / "new" / "tokenizer.json")
    for where in (tmp_path / "new", tmp_path / "new" / "tokenizer.json", str(tmp_path / "new")):
        assert load_tokenizer(where).to_str() == tokenizer.to_str()


def test_files_that_are_no_tokenizer(tmp_path):
    with pytest.raises(ValueError, match=r"no tokenizer at .*tokenizer\.json; give 'book', or the path"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match="holds no tokenizer"):
        load_tokenizer(tmp_path)


def test_a_tokenizer_without_a_mask(tmp_path):
    file = tmp_path / "tokenizer.json"
    known = json.loads(load_tokenizer().to_str())
    known["added_tokens"] = [t for t in known["added_tokens"] if t["content"] != "[MASK]"]
    del known["model"]["vocab"]["[MASK]"]
    file.write_text(json.dumps(known), encoding="utf-8")
    with pytest.raises(ValueError, match=r"the tokenizer has no \['\[MASK\]'\]"):
        special_ids(load_tokenizer(file))


def test_the_book_s_tokenizer():
    book = load_tokenizer()
    assert book.get_vocab_size() == 8192 and special_ids(book) == (0, 1, 2, 3, 4)
    assert book.encode("An unwatchable film.").tokens == ["[CLS]", "an", "unwatchable", "film", ".", "[SEP]"]
