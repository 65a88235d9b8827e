"""What each layer of a PyTorch model keeps of a reference subspace.

The outputs of a layer, one column per sample, are a matrix Y (p, n); P projects on the reference's
row space (rank k), Q on the leading row space of Y. Y itself is kept only where it is small.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.nn.utils.rnn import PackedSequence

from subspace_lib import _checks as check
from subspace_lib.probe.outputs import REDUCTIONS, Select, columns_of, first_tensor
from subspace_lib.probe.record import LayerRecord, certified_parts, measure_layer
from subspace_lib.probe.table import ProbeTable, plot_table
from subspace_lib.projectors import row_basis
from subspace_lib.rowspace import rank_of


class LayerProbe:
    """Collects layer outputs while the model runs and compares their row spaces with a reference.

    layers: names as in ``model.named_modules()``. None: every module that calls no other; the table
    ends with those that are not seen, and why (never called, compiled, no numbers, a sum around the
    modules in it), and ``unseen`` has them. A module called several times per forward pass has one
    row per call: name, name#2, … Run the model itself inside the ``with``: a pass counts once it
    has finished.
    reference: (m, n), one column per sample in the order in which they will arrive; its leading
    row space of dimension ``rank`` is the reference. Orthonormal rows (rank, n) are one too.
    labels: (n,), for clustering scores. certified: what ``must_links`` returned of the input, or
    labels (n,): the table tells how many certified parts each layer keeps whole. larger_ranks: at
    which to measure containment, default 2·rank and 4·rank.
    reduce: how (batch, time, features) becomes (batch, p): "flatten", "mean" or "last"; for images
    (batch, channels, height, width) "mean" pools over the positions. A dict gives it by layer.
    Of a tuple the first tensor counts; select (a function of the module's output, or a dict of such
    by layer) picks another and must return (batch, …). Modules with batch_first=False are
    understood without it (those inside them are not). In packed sequences and in nested tensors,
    which an encoder makes of padded input in eval mode, padding does not count; in padded ones it
    does.

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
    The probe changes nothing: no gradients, no modes, no random state; a hook is on a module while
    it runs only, so that copies and checkpoints carry none. What was compiled runs uncompiled
    inside the ``with`` (before torch 2.6 it is not seen). Measured in float64 on the CPU.
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
        self.modules, self.all_leaves = _named_layers(model, layers), layers is None
        self.model = model
        self.reference = reference_rows(reference, rank)
        n = self.reference.shape[1]
        self.labels = None if labels is None else check.label_vector(labels, n)
        self.certified = None if certified is None else certified_parts(certified, n)
        self.larger_ranks = _larger(larger_ranks, self.rank, n)
        self.reduce = _by_layer(reduce, self.modules, "reduce", "flatten")
        for choice in self.reduce.values():
            check.one_of(choice, REDUCTIONS, "reduce")
        self.select = _by_layer(select, self.modules, "select", None)
        self.seed = check.positive_int(seed, "seed", least=0)
        self._options = (2 * max([4 * self.rank, *self.larger_ranks]), exact, seed)  # of records
        self._names: dict[int, list[str]] = {id(model): []}
        for name, module in self.modules.items():
            self._names.setdefault(id(module), []).append(name)
        self._watch: ExitStack | None = None
        self._running = False
        self._begin()
        self._forget()

    def _forget(self) -> None:
        self.records: dict[str, LayerRecord] = {}
        self.samples = self.batches = 0
        self._called: set[str] = set()
        self._odd: dict[str, str] = {}  # name of a module → why it has no row
        self._table: ProbeTable | None = None

    def _begin(self) -> None:
        """A pass of the model begins: whatever an exception left of the last one goes."""
        for hook in getattr(self, "_hooks", {}).values():
            hook.remove()
        self._hooks: dict[int, Any] = {}  # of the modules that are running
        self._started: dict[int, int] = {}  # modules that had finished when they began
        self._finished = 0
        self._given: dict[int, Any] = {}  # first tensors of the outputs, weakly, by their id
        self._pending: dict[str, Tensor] = {}
        self._calls: Counter[str] = Counter()

    @property
    def rank(self) -> int:
        return self.reference.shape[0]

    def __enter__(self) -> LayerProbe:
        if self._watch is not None:
            raise RuntimeError("this probe is already attached; leave its `with` block first")
        if self.samples == self.reference.shape[1]:
            self._forget()
        self._watch = ExitStack()
        self._watch.callback(register_module_forward_pre_hook(self._arrive).remove)
        if any(map(_is_compiled, self.model.modules())) and hasattr(torch.compiler, "set_stance"):
            self._watch.enter_context(torch.compiler.set_stance("force_eager"))
        return self

    def __exit__(self, *error: Any) -> None:
        assert self._watch is not None
        self._watch.close()
        self._watch, self._running = None, False
        self._begin()

    def _arrive(self, module: nn.Module, inputs: Any) -> None:
        """A hook is on a module while it runs, and no longer: copies of the model carry none."""
        if module is self.model:
            self._begin()
            self._running = True
        if not self._running or id(module) not in self._names:
            return  # called outside a pass of the model, as gradient checkpointing does
        if isinstance(module, torch.jit.ScriptModule):  # takes no hooks
            self._called.update(self._names[id(module)])
            for name in self._names[id(module)]:
                self._odd[name] = "is scripted: probe the model before torch.jit.script"
            return
        self._started[id(module)] = self._finished
        self._hooks[id(module)] = module.register_forward_hook(self._leave)

    def _leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._hooks.pop(id(module)).remove()
        whole = self._finished > self._started.pop(id(module))  # it called others of these
        self._finished += 1
        with torch.no_grad():
            for name in self._names[id(module)]:
                self._calls[name] += 1
                self._called.add(name)
                if not (whole and self.all_leaves):
                    self._keep(name, module, output)
        if self.all_leaves:
            first = first_tensor(output)
            mark = first.data if isinstance(first, PackedSequence) else first
            given = self._given.get(id(mark), lambda: None)()
            if whole and (mark is None or given is not mark):
                for name in self._names[id(module)]:
                    self._odd[name] = "computes on with what its modules give: name it in layers"
            if mark is not None:
                self._given[id(mark)] = weakref.ref(mark)
        if module is self.model:
            self._running = False
            with torch.inference_mode(False), torch.no_grad():  # records outlive the mode
                self._finish()

    def _keep(self, name: str, module: nn.Module, output: Any) -> None:
        call = self._calls[name]
        row = name if call == 1 else f"{name}#{call}"
        try:
            columns = columns_of(output, module, row, self.reduce[name], self.select[name])
        except (TypeError, ValueError) as error:
            if not self.all_leaves:
                raise
            self._odd[name] = f"gave no matrix ({error})"
            return
        if not torch.isfinite(columns).all():
            raise ValueError(
                f"layer {row!r} gave NaN or infinite values in batch {self.batches + 1} (samples "
                f"{self.samples}..{self.samples + columns.shape[1] - 1}); look at that batch and "
                f"at the layers before this one"
            )
        self._pending[row] = columns

    def _finish(self) -> None:
        sizes = {row: columns.shape[1] for row, columns in self._pending.items()}
        if not sizes:
            return
        count, n = Counter(sizes.values()).most_common(1)[0][0], self.reference.shape[1]
        for row in [row for row, size in sizes.items() if size != count]:
            if not self.all_leaves:
                raise ValueError(
                    f"all layers must give one column per sample, got {sizes} columns; select=… "
                    f"with the batch axis first, or fewer layers, helps"
                )
            del self._pending[row]
            self._odd[row] = f"gave {sizes[row]} columns where most gave {count}"
        if self.samples + count > n:
            raise ValueError(
                f"reference has {n} columns, one per sample, got {self.samples + count} samples by "
                f"batch {self.batches + 1}; pass the same samples, once, or start a new probe"
            )
        for row, columns in self._pending.items():
            if row not in self.records:
                self.records[row] = LayerRecord(row, columns, self.reference, *self._options)
            try:
                self.records[row].add(columns, self.samples, self.reference)
            except ValueError as error:
                if not self.all_leaves:
                    raise
                self._odd[row] = f"changed ({error})"
        self.samples += count
        self.batches += 1
        self._pending, self._table = {}, None

    @property
    def unseen(self) -> dict[str, str]:
        """Modules without a row (layers=None), and why; those that only hand on have none."""
        found = {name: why for name, why in self._odd.items() if name not in self.records}
        for row, record in self.records.items():
            if record.seen != self.samples:
                why = f"must be called for every sample, got {record.seen} of {self.samples}"
                found[row] = self._odd.get(row, why)
        for name, module in self.modules.items():
            forward = getattr(type(module), "forward", None)  # containers have none of their own
            if name not in self._called and forward is not nn.Module.forward:
                found[name] = _silent(self.modules, self._called, name)
        return found

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
            rest = "run the rest through the model inside the `with`"
            if any(map(_is_compiled, self.model.modules())):
                rest += "; hooks do not reach what was compiled or scripted: probe the model before"
            raise ValueError(
                f"reference has {n} columns, one per sample, got {self.samples} samples in "
                f"{self.batches} batches; {rest}"
            )
        unseen = self.unseen
        if unseen and not self.all_leaves:
            name, why = next(iter(unseen.items()))
            raise ValueError(
                f"layer {name!r} {why}; leave it out or probe a model that always calls it"
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
                for row, record in self.records.items()
                if row not in unseen
            )
            self._table.unseen = unseen
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
    A = check.single(reference, "reference").cpu().double()
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


def _larger(larger_ranks: Any, rank: int, n: int) -> tuple[int, ...]:
    if larger_ranks is None:
        return tuple(q for q in (2 * rank, 4 * rank) if q <= n)
    for q in check.positive_ints(larger_ranks, "larger_ranks"):
        if not rank < q <= n:
            raise ValueError(f"larger_ranks must lie in {rank + 1}..{n}, got {q}")
    return tuple(int(q) for q in larger_ranks)


def _named_layers(model: nn.Module, layers: Sequence[str] | None) -> dict[str, nn.Module]:
    """None: all modules, of which those count that call no other; no parametrizations."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    known = dict(model.named_modules(remove_duplicate=False))
    if layers is None:
        named = dict(model.named_modules())
        return {k: m for k, m in named.items() if "parametrizations" not in k.split(".")}
    names = [layers] if isinstance(layers, str) else check.several(layers, "layers")
    listed = ", ".join(repr(k) for k in known if k)
    for name in names:
        if name not in known:
            raise ValueError(
                f"layers must be names of modules of the model ({listed}), got {name!r}"
            )
    if not names:
        raise ValueError("layers must name at least one module, got none; None takes all leaves")
    return {name: known[name] for name in names}


def _is_compiled(module: nn.Module) -> bool:
    own = isinstance(module, torch.jit.ScriptModule) or hasattr(module, "_orig_mod")
    return own or getattr(module, "_compiled_call_impl", None) is not None


def _silent(modules: Mapping[str, nn.Module], called: set[str], name: str) -> str:
    """Why a module was never called, by the innermost module around it that was."""
    parts = name.split(".")
    around = [".".join(parts[:i]) for i in range(len(parts))]
    outer = [k for k in around if k in called]
    if not outer:
        return "was never called"
    if _is_compiled(modules[outer[-1]]):
        return f"lies in {outer[-1]!r}, which is compiled: probe the model before that"
    return f"was never called: {outer[-1]!r} uses its weights alone, or a fused path"


def _by_layer(value: Any, names: Iterable[str], what: str, default: Any) -> dict[str, Any]:
    names = list(names)
    if not isinstance(value, Mapping):
        return dict.fromkeys(names, value)
    unknown = set(value) - set(names)
    if unknown:
        raise ValueError(f"{what} must name probed layers {names}, got {sorted(unknown)}")
    return {name: value.get(name, default) for name in names}
