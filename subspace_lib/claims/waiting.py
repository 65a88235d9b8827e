"""Rows that wait for the chapter that will test them: id → (its number, the claim)."""

from subspace_lib.claims._ledger import Claim, register

WAITING: dict[str, tuple[int, str]] = {
}
for _id, (_chapter, _says) in WAITING.items():
    register(Claim(_id, _says, _chapter))
