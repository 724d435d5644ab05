"""How a case is timed and what a row says. Used by peers.py and by the families."""
import ctypes
import dataclasses
import statistics
import time
from collections.abc import Callable

import torch

DEVICE = "cuda"


@dataclasses.dataclass
class Case:
    """One shape of one kernel. ours and peer enqueue a call on torch's current stream; compare runs
    after one call of each and gives how far the results are apart, which is at most `allowed`: by
    default a few roundings to bf16 (2^-9 each), 0 for results that must be equal. flop and byte are
    what the case must do, for the rates."""

    kernel: str
    name: str
    ours: Callable[[], None]
    peer: Callable[[], None] | None = None
    compare: Callable[[], float] | None = None
    allowed: float = 2 ** -7
    flop: float = 0
    byte: float = 0
    extra: dict = dataclasses.field(default_factory=dict)
    # What the choice of a variant depends on: kernel, fp8, heads, q_len, rows, columns.
    shape: tuple | None = None


class Context:
    """The two libraries."""

    def __init__(self, library, peers):
        self.ours = ctypes.CDLL(library)
        self.ours.dsaperf_peers_error.restype = ctypes.c_char_p
        self.ours.dsaperf_peers_variants.restype = ctypes.c_char_p
        # Split lists of a decode step: at most one part an SM, of 64 heads.
        self._workspace = torch.empty(160 * 64 * 2056, dtype=torch.uint8, device=DEVICE)
        self.ours.dsaperf_peers_workspace(pointer(self._workspace), ctypes.c_longlong(self._workspace.numel()))
        self.peers = peers
        self._flashmla = None
        if peers:
            try:
                torch.ops.load_library(peers + "/_flashmla_C.abi3.so")
                self._flashmla = torch.ops._flashmla_C
            except OSError as error:
                print("FlashMLA cannot be loaded: %s" % error)

    @property
    def flashmla(self):
        return self._flashmla

    def variants(self, shape):
        """Names of the variants beside the default that can run a shape."""
        kernel, fp8, heads, q_len, rows, columns = shape
        sms = torch.cuda.get_device_properties(0).multi_processor_count
        names = self.ours.dsaperf_peers_variants(kernel.encode(), fp8, heads, q_len, ctypes.c_longlong(rows),
                                                 ctypes.c_longlong(columns), sms)
        return [] if names is None else [name for name in names.decode().split() if name != "default"]

    def use_variant(self, name):
        """What ours runs from now on; "" leaves the choice to the library."""
        self.call("dsaperf_peers_variant", name.encode())

    def call(self, name, *arguments):
        """Calls a C function of ours; raises with its reason."""
        if getattr(self.ours, name)(*arguments) != 0:
            raise RuntimeError("%s: %s" % (name, self.ours.dsaperf_peers_error().decode()))


def pointer(tensor):
    return ctypes.c_void_p(0 if tensor is None else tensor.data_ptr())


def stream():
    return ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)


def raise_clocks(seconds=1.5):
    """Keeps the card busy until its clocks stand where they stay: the first cases are short, and a card
    that has been idle runs them at other clocks than the last ones."""
    a = torch.ones(4096, 4096, dtype=torch.bfloat16, device=DEVICE)
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        for _ in range(20):
            a @ a
        torch.cuda.synchronize()


_flush = None


def _cold_once(call):
    global _flush
    if _flush is None:
        _flush = torch.empty(256 << 20, dtype=torch.uint8, device=DEVICE)
    _flush.zero_()
    start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    call()
    stop.record()
    torch.cuda.synchronize()
    return start.elapsed_time(stop) * 1e3


def _graph(call, calls=10):
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(2):
            call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=side):
        for _ in range(calls):
            call()
    return graph


def _warm_once(graph, calls=10):
    start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    graph.replay()
    stop.record()
    torch.cuda.synchronize()
    return start.elapsed_time(stop) * 1e3 / calls


def _spread(samples):
    samples = sorted(samples)
    low, high = samples[len(samples) // 10], samples[-1 - len(samples) // 10]
    return (high - low) / 2 / statistics.median(samples)


def compared(case, row):
    """Whether the last results of ours and of the peer agree, and how far they are apart. A comparison
    that gives no number (True, None) is an error of the family: it would pass for a distance."""
    apart = case.compare()
    if isinstance(apart, bool) or not isinstance(apart, (int, float)):
        raise TypeError("compare of %s %s gives %r, no distance" % (case.kernel, case.name, apart))
    row["agree"], row["difference"] = apart <= case.allowed, apart


def time_variants(context, case, has_peer, quick):
    """Each variant beside the default, checked and timed as ours is: a row each, without the peer's time."""
    rows = []
    for name in context.variants(case.shape) if case.shape else ():
        row = {"variant": name, "agree": None}
        try:
            context.use_variant(name)
            case.ours()
            torch.cuda.synchronize()
            if case.compare is not None and has_peer:
                compared(case, row)
            row["cold_us"] = round(statistics.median(_cold_once(case.ours) for _ in range(5 if quick else 9)), 2)
            graph = _graph(case.ours)
            _warm_once(graph)
            row["warm_us"] = round(statistics.median(_warm_once(graph) for _ in range(3)), 2)
        except Exception as error:  # noqa: BLE001 - one variant must not end the case
            row["error"] = str(error).splitlines()[0][:160]
        finally:
            context.use_variant("")
        rows.append(row)
    return rows


def race(case, quick=False, context=None):
    """Checks, then times ours and the peer's in turn: one sample of each, alternately. With a context,
    our other variants too."""
    row = {"kernel": case.kernel, "case": case.name, **case.extra}
    calls = {"ours": case.ours}
    if case.peer is not None:
        try:
            case.peer()
            torch.cuda.synchronize()
            calls["peer"] = case.peer
        except Exception as error:  # noqa: BLE001 - the peer refuses this shape
            row["peer_refused"] = str(error).splitlines()[0][:160]
    case.ours()
    torch.cuda.synchronize()
    row["agree"] = None
    if case.compare is not None and "peer" in calls:
        compared(case, row)
    cold = {who: [] for who in calls}
    for call in calls.values():
        for _ in range(2):
            call()
    first = max(_cold_once(call) for call in calls.values())
    samples = 5 if quick or first > 2000 else 15
    for _ in range(samples):
        for who, call in calls.items():
            cold[who].append(_cold_once(call))
    warm = {}
    for who, call in calls.items():
        try:
            graph = _graph(call)
            _warm_once(graph)
            warm[who] = (graph, [])
        except Exception as error:  # noqa: BLE001 - a call that cannot be captured has a cold time only
            torch.cuda.synchronize()
            row[who + "_no_graph"] = str(error).splitlines()[0][:100]
    for _ in range(3 if quick or first > 2000 else 5):
        for graph, times in warm.values():
            times.append(_warm_once(graph))
    for who in calls:
        row[who + "_cold_us"] = round(statistics.median(cold[who]), 2)
        row[who + "_warm_us"] = round(statistics.median(warm[who][1]), 2) if who in warm else None
    row["spread"] = round(max(_spread(cold[who]) for who in calls), 4)
    for temperature in ("cold", "warm"):
        ours, peer = row["ours_%s_us" % temperature], row.get("peer_%s_us" % temperature)
        row[temperature + "_ratio"] = round(peer / ours, 3) if ours and peer else None
    if case.flop:
        row["ours_tflops"] = round(case.flop / row["ours_cold_us"] / 1e6, 1)
    if case.byte:
        row["ours_gbs"] = round(case.byte / row["ours_cold_us"] / 1e3, 1)
    if context is not None:
        row["variants"] = time_variants(context, case, "peer" in calls, quick)
    return row


def line(row):
    if "error" in row:
        return "%-22s %-34s %s" % (row["kernel"], row["case"], row["error"])
    return "%-22s %-34s ours %9.2f %9s  peer %9s %9s  ratio %6s %6s  %s%s" % (
        row["kernel"], row["case"], row["ours_cold_us"], row["ours_warm_us"], row.get("peer_cold_us", "-"),
        row.get("peer_warm_us", "-"), row["cold_ratio"], row["warm_ratio"],
        "" if row["agree"] is None else "%s %.1e" % ("same" if row["agree"] else "DIFFERS", row["difference"]),
        "  %.0f TFLOP/s" % row["ours_tflops"] if "ours_tflops" in row else "")


def variant_lines(row):
    """What the variants of a row took, and their ratio to the peer."""
    for variant in row.get("variants", ()):
        if "error" in variant:
            yield "    %-30s %s" % (variant["variant"], variant["error"])
            continue
        ratios = ["%6.3f" % (row["peer_%s_us" % t] / variant["%s_us" % t]) if row.get("peer_%s_us" % t) else "     -"
                  for t in ("cold", "warm")]
        yield "    %-52s %9.2f %9.2f  ratio %s %s  %s" % (
            variant["variant"], variant["cold_us"], variant["warm_us"], *ratios,
            {None: "", True: "same", False: "DIFFERS"}[variant["agree"]])


def merged(old, new):
    """Rows of an earlier document that the new one has not measured are kept, with the revision they are of;
    the note goes when no row's agreement is without a measured difference."""
    result = dict(new)
    for part in ("rows", "rows_without_peer"):
        fresh = {(row["kernel"], row["case"]) for row in new[part]}
        kept = [{"commit": old["commit"], **row} for row in old[part] if (row["kernel"], row["case"]) not in fresh]
        result[part] = [{"commit": new["commit"], **row} for row in new[part]] + kept
    by_hand = sum(row["agree"] is not None and "difference" not in row for row in result["rows"])
    result.pop("note", None)
    if by_hand:
        result["note"] = "agree of %d rows is without a measured difference; to be run again" % by_hand
    return result


def summary(document):
    """Lowest and median ratio of each kernel."""
    lines = ["%-22s %5s %8s %8s" % ("kernel", "cases", "lowest", "median")]
    kernels = {row["kernel"] for row in document["rows"]}
    for kernel in sorted(kernels):
        ratios = [row[key] for row in document["rows"] if row["kernel"] == kernel
                  for key in ("cold_ratio", "warm_ratio") if row.get(key)]
        wrong = sum(row["agree"] is False for row in document["rows"] if row["kernel"] == kernel)
        lines.append("%-22s %5d %8.3f %8.3f%s" % (kernel, len(ratios) // 2, min(ratios), statistics.median(ratios),
                                                  "  %d DISAGREE" % wrong if wrong else ""))
    return "\n".join(lines)
