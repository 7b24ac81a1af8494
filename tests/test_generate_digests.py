"""Digests: of values, of files, and of the code."""

import hashlib

from stageplan.generate import Spec
from stageplan.generate.digests import bytes_sha256, code, digest, sha256


def test_digest_depends_on_every_value_and_their_order():
    spec = Spec(name="a", task="text-classification")
    digests = [digest(spec, 1), digest(1, spec), digest(spec), digest(spec, 2), digest(spec, "1")]
    assert len(set(digests)) == 5
    assert digest(spec, 1) == digests[0]


def test_sha256_of_a_file(tmp_path):
    (tmp_path / "a").write_bytes(b"abc" * 100_000)
    assert sha256(tmp_path / "a") == hashlib.sha256(b"abc" * 100_000).hexdigest()
    assert bytes_sha256(b"abc" * 100_000) == sha256(tmp_path / "a")


def test_code_is_the_same_within_a_process():
    assert code() == code()
    assert len(code()) == 64
