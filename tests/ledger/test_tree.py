"""The tree, against the published vectors of Certificate Transparency and the recursive definitions of RFC 9162."""

import hashlib
from itertools import pairwise

import numpy as np
import pytest

from neuralyzer.errors import LedgerError
from neuralyzer.ledger import tree

# The leaves and roots of the reference implementation's tests (Certificate Transparency's own vectors).
LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = [  # leaf, size, proof
    (0, 8, ["96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"]),
    (5, 8, ["bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"]),
    (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
]  # fmt: skip
CONSISTENCY = [  # earlier size, size, proof
    (1, 8, ["96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"]),
    (6, 8, ["0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"]),
]  # fmt: skip


def grown(entries: list[bytes], together: int = 1) -> dict[tree.Node, bytes]:
    nodes: dict[tree.Node, bytes] = {}
    for start in range(0, len(entries), together):
        frontier = {node: nodes[node] for node in tree.complete((0, start))}
        nodes |= tree.appended(start, frontier, [tree.leaf_hash(entry) for entry in entries[start : start + together]])
    return nodes


def fetch_of(nodes: dict[tree.Node, bytes]) -> tree.Fetch:
    return lambda wanted: {node: nodes[node] for node in wanted}


def merkle_root(entries: list[bytes]) -> bytes:
    """MTH of section 2.1.1, word for word."""
    if len(entries) <= 1:
        return hashlib.sha256(b"\0" + entries[0]).digest() if entries else hashlib.sha256().digest()
    half = 2 ** int(np.ceil(np.log2(len(entries))) - 1)
    return hashlib.sha256(b"\1" + merkle_root(entries[:half]) + merkle_root(entries[half:])).digest()


def some(count: int) -> list[bytes]:
    return [f"entry {number}".encode() for number in range(count)]


@pytest.mark.parametrize("together", [1, 3, 8])
def test_published_roots(together):
    fetch = fetch_of(grown([bytes.fromhex(leaf) for leaf in LEAVES], together))
    assert [tree.root(size, fetch).hex() for size in range(1, 9)] == ROOTS
    assert tree.root(0, fetch) == hashlib.sha256().digest()


def test_published_proofs():
    entries = [bytes.fromhex(leaf) for leaf in LEAVES]
    fetch = fetch_of(grown(entries))
    for index, size, proof in INCLUSION:
        assert [part.hex() for part in tree.inclusion_proof(index, size, fetch)] == proof
    for earlier, size, proof in CONSISTENCY:
        assert [part.hex() for part in tree.consistency_proof(earlier, size, fetch)] == proof


def test_every_proof_of_small_trees_leads_to_the_recursive_root():
    entries = some(23)
    fetch = fetch_of(grown(entries, 5))
    for size in range(1, len(entries) + 1):
        root = merkle_root(entries[:size])
        assert tree.root(size, fetch) == root
        for index in range(size):
            proof = tree.inclusion_proof(index, size, fetch)
            assert tree.root_of_inclusion(index, size, tree.leaf_hash(entries[index]), proof) == root
        for earlier in range(size + 1):
            proof = tree.consistency_proof(earlier, size, fetch)
            assert tree.is_consistent(earlier, merkle_root(entries[:earlier]), size, root, proof)


def test_a_proof_of_anything_else_fails():
    entries = some(13)
    fetch, roots = fetch_of(grown(entries)), [merkle_root(entries[:size]) for size in range(14)]
    for index in range(13):
        leaf, proof = tree.leaf_hash(entries[index]), tree.inclusion_proof(index, 13, fetch)
        wrong = [
            (index, 13, tree.leaf_hash(b"another"), proof), ((index + 1) % 13, 13, leaf, proof),
            (index, 13, leaf, proof[:-1]), (index, 13, leaf, [*proof, proof[0]]), (13, 13, leaf, proof),
        ]  # fmt: skip
        assert all(tree.root_of_inclusion(*arguments) != roots[13] for arguments in wrong)
    for earlier in range(1, 13):
        proof = tree.consistency_proof(earlier, 13, fetch)
        wrong = [
            (earlier, roots[earlier - 1], 13, roots[13], proof), (earlier, roots[earlier], 13, roots[12], proof),
            (earlier, roots[earlier], 13, roots[13], proof[:-1]), (earlier, roots[earlier], 13, roots[13], [*proof, proof[0]]),
            (13, roots[12], earlier, roots[12], proof),
        ]  # fmt: skip
        assert not any(tree.is_consistent(*arguments) for arguments in wrong)


def test_a_range_is_cut_into_subtrees_that_cover_it():
    for size in range(1, 70):
        nodes = tree.complete((0, size))
        leaves = [(node.index << node.level, (node.index + 1) << node.level) for node in nodes]
        assert leaves[0][0] == 0 and leaves[-1][1] == size
        assert all(left[1] == right[0] for left, right in pairwise(leaves))


@pytest.mark.parametrize("index, size", [(5, 5), (-1, 5), (0, 0)])
def test_no_proof_of_an_entry_that_is_not_there(index, size):
    with pytest.raises(LedgerError, match="there is no entry"):
        tree.inclusion_proof(index, size, fetch_of(grown(some(5))))


def test_a_ledger_was_never_larger_than_it_is():
    with pytest.raises(LedgerError, match="was never one of 6"):
        tree.consistency_proof(6, 5, fetch_of(grown(some(5))))
