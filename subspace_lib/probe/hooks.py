"""What each layer of a PyTorch model keeps of a reference subspace.

The outputs of a layer, one column per sample, are a matrix Y (p, n); P projects on the reference's
row space (rank k), Q on the leading row space of Y. Y itself is kept only where it is small.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from subspace_lib import _checks as check
from subspace_lib.probe.record import LayerRecord, certified_parts, measure_layer
from subspace_lib.probe.table import ProbeTable, plot_table
from subspace_lib.projectors import row_basis
from subspace_lib.rowspace import rank_of

REDUCTIONS = ("flatten", "mean", "last")
Select = Callable[[Any], Tensor]


class LayerProbe:
    """Collects layer outputs while the model runs and compares their row spaces with a reference.

    layers: names as in ``model.named_modules()`` (None: every module without children). A module
    called several times per forward pass has one row per call: name, name#2, … Run the model itself
    inside the ``with``: a pass counts once it has finished.
    reference: (m, n), one column per sample in the order in which they will arrive; its leading
    row space of dimension ``rank`` is the reference. Orthonormal rows (rank, n) are one too.
    labels: (n,), for clustering scores. certified: what ``must_links`` returned of the input, or
    labels (n,): the table tells how many certified parts each layer keeps whole. larger_ranks: at
    which to measure containment, default 2·rank and 4·rank.
    reduce: how (batch, time, features) becomes (batch, p): "flatten", "mean" or "last"; for images
    (batch, channels, height, width) "mean" pools over the positions. A dict gives it by layer.
    Of a tuple the first tensor counts; select (a function of the module's output, or a dict of such
    by layer) picks another and must return (batch, …). Modules with batch_first=False are
    understood without it (those inside them are not). In nested tensors, which an encoder makes of
    padded input in eval mode, padding does not count; in padded ones it does.

    Entering again after all samples have come starts a new reading, so one probe serves a whole
    training run; after a part of them the next ``with`` continues. Several probes may be attached
    at once: ``with a, b:`` reads two references in one pass.

    Memory per layer: n·l numbers, l = 8·rank (or twice the largest rank), however large p is.
    ``method`` in the table says what a row rests on:
    - "exact": all of Y is kept, where p ≤ l or Y is small (2²¹ entries; exact=False: only where
      p ≤ l), and everywhere with exact=True;
    - "gram": p ≤ 1024. YYᵀ and YRᵀ are summed exactly, so the spectrum and the reference bound are
      rigorous; Q comes from a sketch SY (l, n), S half from the first batch (shuffled samples
      serve best) and half random, and ``sketch_error`` bounds rigorously how far it is from the
      true one in the spectral norm (1: no statement);
    - "sketch": larger p. Distances, containment, scores and the spectrum (from below) are
      approximate, with no bound on their error; the reference bound is coarser, still rigorous.
    The probe changes nothing: no gradients, no modes, no random state; its hooks are removed when
    the ``with`` ends, also by an exception. Measured in float64 on the CPU.
    Raises ValueError for an unknown layer (lists the names), NaN in an output (names the layer and
    the batch), a number of samples that is not n, or a rank above what the reference has.

    >>> model = torch.nn.Sequential(torch.nn.Linear(30, 20), torch.nn.ReLU()).double()
    >>> with sl.LayerProbe(model, rank=6, reference=data.X) as probe:
    ...     _ = model(noisy.X.T)  # a row per sample
    >>> [row["layer"] for row in probe.table()]
    ['0', '1']
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[str] | None = None,
        *,
        rank: int,
        reference: Any,
        labels: Any = None,
        certified: Any = None,
        larger_ranks: Sequence[int] | None = None,
        reduce: str | Mapping[str, str] = "flatten",
        select: Select | Mapping[str, Select] | None = None,
        exact: bool | None = None,
        seed: int = 0,
    ):
        self.model = model
        self.modules, self.all_leaves = _named_layers(model, layers), layers is None
        self.reference = reference_rows(reference, rank)
        n = self.reference.shape[1]
        self.labels = None if labels is None else check.label_vector(labels, n)
        self.certified = None if certified is None else certified_parts(certified, n)
        self.larger_ranks = _larger(larger_ranks, rank, n)
        self.reduce = _by_layer(reduce, self.modules, "reduce", "flatten")
        for choice in self.reduce.values():
            check.one_of(choice, REDUCTIONS, "reduce")
        self.select = _by_layer(select, self.modules, "select", None)
        self.seed = seed
        self._options = (2 * max([4 * rank, *self.larger_ranks]), exact, seed)  # of the records
        self._pending: dict[str, Tensor] = {}  # of the pass that is running
        self._calls: Counter[str] = Counter()
        self._running = False
        self._handles: list[Any] = []
        self._forget()

    def _forget(self) -> None:
        self.records: dict[str, LayerRecord] = {}
        self.samples = self.batches = 0
        self._table: ProbeTable | None = None

    @property
    def rank(self) -> int:
        return self.reference.shape[0]

    def __enter__(self) -> LayerProbe:
        if self._handles:
            raise RuntimeError("this probe is already attached; leave its `with` block first")
        if self.samples == self.reference.shape[1]:
            self._forget()
        keep = self._handles.append
        try:
            keep(self.model.register_forward_pre_hook(self._begin))
            for name, module in self.modules.items():
                keep(module.register_forward_hook(partial(self._hook, name)))
            keep(self.model.register_forward_hook(self._finish))  # last: the root may be a layer
        except BaseException:  # of a `with` that was never entered nobody calls __exit__
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: Any) -> None:
        while self._handles:
            self._handles.pop().remove()
        self._pending.clear()
        self._running = False

    def _begin(self, module: nn.Module, inputs: Any) -> None:
        self._pending.clear()  # of a pass that an exception cut short
        self._calls.clear()
        self._running = True

    def _hook(self, name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        if not self._running:
            return  # called outside a pass of the model, as gradient checkpointing does
        self._calls[name] += 1
        call = self._calls[name]
        row = name if call == 1 else f"{name}#{call}"
        with torch.no_grad():
            self._pending[row] = self._features(name, row, module, output)

    def _features(self, name: str, row: str, module: nn.Module, output: Any) -> Tensor:
        """(p, batch), a copy: the model may overwrite its output in place."""
        chosen = self.select[name]
        value = _first_tensor(output, row) if chosen is None else chosen(output)
        if chosen is None and value.ndim > 2 and _time_first(module):
            value = value.transpose(0, 1)
        if not isinstance(value, Tensor) or not value.is_floating_point():
            kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise TypeError(
                f"layer {row!r} must give real floating-point tensors, got {kind}; "
                f"select=function picks another part of its output"
            )
        if value.dtype in (torch.float16, torch.bfloat16):
            value = value.float()
        columns = _reduced(value.detach(), self.reduce[name], row).mT.clone()
        if not torch.isfinite(columns).all():
            raise ValueError(
                f"layer {row!r} gave NaN or infinite values in batch {self.batches + 1} (samples "
                f"{self.samples}..{self.samples + columns.shape[1] - 1}); look at that batch and "
                f"at the layers before this one"
            )
        return columns

    def _finish(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._running = False
        sizes = {row: columns.shape[1] for row, columns in self._pending.items()}
        if not sizes:
            return
        if len(set(sizes.values())) > 1:
            raise ValueError(
                f"all layers must give one column per sample, got {sizes} columns; select=… "
                f"with the batch axis first, or fewer layers, helps"
            )
        count, n = next(iter(sizes.values())), self.reference.shape[1]
        if self.samples + count > n:
            raise ValueError(
                f"reference has {n} columns, one per sample, got {self.samples + count} samples by "
                f"batch {self.batches + 1}; pass the same samples, once, or start a new probe"
            )
        with torch.no_grad():
            for row, columns in self._pending.items():
                if row not in self.records:
                    self.records[row] = LayerRecord(row, columns, self.reference, *self._options)
                self.records[row].add(columns, self.samples, self.reference)
        self.samples += count
        self.batches += 1
        self._pending.clear()
        self._table = None

    def table(self) -> ProbeTable:
        """One dict per layer, in the order of the first pass.

        distance_max, _spectral, _fro: ‖P − P_rank(Y)‖ (the first in tiles; 1 in the spectral norm
        where the layer's rank is smaller). containment_q: the sine of the largest angle from the
        reference into the q-dimensional leading row space; share_q: mean squared cosine of those
        angles, to be compared with chance_q = q/n (a random space) and shuffled_q (this very layer,
        averaged over all orders of the samples: higher where layer and reference both hold the
        constant vector), and above all with an untrained model. bound: reference bound on the sine
        (containment_bound_q: on containment_q), verdict "certifies", or "no gap" (bound = inf).
        certified_parts: "3 of 4", parts of ``certified`` of more than one point that single
        linkage of |P_rank(Y)| does not break; a broken one is a cluster that this layer broke.
        acc, nmi, ari: ``ProjectorClustering`` of the layer at ``rank``, if labels were given.
        s_1, s_rank, s_next and spectrum: singular values of Y.
        Raises ValueError if fewer samples came than the reference has columns.
        """
        n = self.reference.shape[1]
        if self.samples != n:
            raise ValueError(
                f"reference has {n} columns, one per sample, got {self.samples} samples in "
                f"{self.batches} batches; run the rest through the model inside the `with`"
            )
        missing = sorted(set(self.modules) - set(self.records))
        if missing and not self.all_leaves:
            raise ValueError(f"layers {missing} were never called by the model; leave them out")
        for row, record in self.records.items():
            if record.seen != n:
                raise ValueError(
                    f"layer {row!r} must be called for every sample, got {record.seen} of {n}; "
                    f"leave it out or probe a model that always calls it"
                )
        if self._table is None:
            self._table = ProbeTable(
                measure_layer(
                    record,
                    self.reference,
                    self.larger_ranks,
                    self.labels,
                    self.seed,
                    certified=self.certified,
                )
                for record in self.records.values()
            )
        return self._table

    def scalars(self) -> dict[str, float]:
        """{"layer/quantity": float} for TensorBoard or any logger; unknown (NaN) ones left out.

        certified is 1 where the reference bound holds; bounds may be inf.
        """
        return {
            f"{row['layer'] or 'model'}/{key}": float(value)
            for row in self.table()
            for key, value in {**row, "certified": row["verdict"] == "certifies"}.items()
            if isinstance(value, (bool, int, float)) and value == value
        }

    def plot(self, ax: Any = None) -> Any:
        """Share, largest sine with its bound, containment and accuracy, layer by layer.

        Dashed black: the share that shuffled samples would have. Hollow markers: from a sketch. A
        bound that says nothing is left out. Returns the axes.
        """
        return plot_table(self.table(), self.rank, self.larger_ranks, ax)


def reference_rows(reference: Any, rank: Any) -> Tensor:
    """The leading row space of the reference (m, n) as orthonormal rows (rank, n), float64."""
    A = check.matrix(reference, "reference").detach().cpu().double()
    if A.ndim != 2:
        raise ValueError(f"reference must be one matrix (m, n), got shape {tuple(A.shape)}")
    rank = check.positive_int(rank, "rank")
    s = torch.linalg.svdvals(A)
    available = int(rank_of(s, max(A.shape), torch.finfo(A.dtype).eps))
    if rank > available:
        raise ValueError(
            f"rank must lie in 1..{available}, the numerical rank of the reference "
            f"{tuple(A.shape)}, got {rank}"
        )
    if rank < len(s) and s[rank - 1] - s[rank] <= 1e-12 * s[0]:
        raise ValueError(
            f"reference must have s_rank > s_(rank+1), or its leading row space is not determined, "
            f"got {float(s[rank - 1]):.4g} twice at rank {rank}; orthonormal rows need rank = "
            f"their number"
        )
    return row_basis(A, rank)


def _larger(larger_ranks: Sequence[int] | None, rank: int, n: int) -> tuple[int, ...]:
    if larger_ranks is None:
        return tuple(q for q in (2 * rank, 4 * rank) if q <= n)
    for q in larger_ranks:
        if not rank < check.positive_int(q, "larger_ranks") <= n:
            raise ValueError(f"larger_ranks must lie in {rank + 1}..{n}, got {q}")
    return tuple(int(q) for q in larger_ranks)


def _named_layers(model: nn.Module, layers: Sequence[str] | None) -> dict[str, nn.Module]:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    known = dict(model.named_modules(remove_duplicate=False))
    if layers is None:
        return {name: m for name, m in model.named_modules() if not list(m.children())}
    names = [layers] if isinstance(layers, str) else list(layers)
    listed = ", ".join(repr(k) for k in known if k)
    for name in names:
        if name not in known:
            raise ValueError(
                f"layers must be names of modules of the model ({listed}), got {name!r}"
            )
    if not names:
        raise ValueError("layers must name at least one module, got none; None takes all leaves")
    return {name: known[name] for name in names}


def _by_layer(value: Any, names: Iterable[str], what: str, default: Any) -> dict[str, Any]:
    names = list(names)
    if not isinstance(value, Mapping):
        return dict.fromkeys(names, value)
    unknown = set(value) - set(names)
    if unknown:
        raise ValueError(f"{what} must name probed layers {names}, got {sorted(unknown)}")
    return {name: value.get(name, default) for name in names}


def _first_tensor(output: Any, row: str) -> Tensor:
    if isinstance(output, Tensor):
        return output
    parts = output.values() if isinstance(output, Mapping) else output
    for part in parts if isinstance(parts, Iterable) else ():
        if isinstance(part, Tensor):
            return part
    raise TypeError(
        f"layer {row!r} must give a tensor or a tuple that starts with one, got "
        f"{type(output).__name__}; select=function picks a tensor from it"
    )


def _time_first(module: nn.Module) -> bool:
    """(time, batch, features): recurrent and attention modules with batch_first=False."""
    owner = module if hasattr(module, "batch_first") else getattr(module, "self_attn", module)
    return getattr(owner, "batch_first", True) is False


def _reduced(value: Tensor, how: str, row: str) -> Tensor:
    """(batch, …) → (batch, p)."""
    if value.is_nested and how == "flatten":
        return torch.nested.to_padded_tensor(value, 0.0).flatten(1)
    if value.is_nested:  # sequences (time, features) of different lengths
        return torch.stack([x.mean(0) if how == "mean" else x[-1] for x in value.unbind()])
    if value.ndim == 0:
        raise ValueError(f"layer {row!r} must give (batch, …), got a single number")
    if value.ndim <= 2 or how == "flatten":
        return value.reshape(len(value), -1)
    if value.ndim == 3:
        return value.mean(1) if how == "mean" else value[:, -1]
    if how == "mean":
        return value.flatten(2).mean(2)
    raise ValueError(
        f"reduce='last' needs (batch, time, features) from layer {row!r}, got shape "
        f"{tuple(value.shape)}; use 'flatten' or 'mean'"
    )
