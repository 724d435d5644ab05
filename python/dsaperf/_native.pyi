# The bindings (python/native). Private: what users call is in the modules beside this.
from collections.abc import Callable, Sequence
from typing import Any, final

__version__: str
with_cuda: bool

@final
class ArrowTable:
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
    def __len__(self) -> int: ...
    @property
    def column_names(self) -> list[str]: ...
    def address(self, column: int) -> int: ...
    def schema(self) -> object: ...
    def array(self) -> object: ...
    def stream(self) -> object: ...

@final
class Workers:
    count: int
    tp: int
    pp: int
    dp: int
    ep: int
    moe_tp: int
    def __init__(self) -> None: ...

@final
class Deployment:
    config: str
    systems: str
    system: str
    backend: str
    version: str
    mode: str
    method: str
    quirks: str
    host: str
    kv: str
    gemm: str
    tp: int
    pp: int
    dp: int
    ep: int
    moe_tp: int
    cp: int
    isl: float
    osl: float
    prefix: float
    length_ratio: float | None
    concurrency: float | None
    rate: float | None
    memory_fraction: float | None
    max_batch: float | None
    chunk: float | None
    mtp: int
    mtp_accepted: float
    prompts: int
    prefill: Workers
    decode: Workers
    def __init__(self) -> None: ...

@final
class LayerQuestion:
    systems: str
    system: str
    backend: str
    version: str
    architecture: str
    phase: str
    kv: str
    gemm: str
    fmha: str
    method: str
    vary: str
    heads: int
    batch: int
    new_tokens: int
    past_tokens: int
    full_layer_share: float
    context_parallel: int
    def __init__(self) -> None: ...

@final
class Options:
    def __init__(self, stream: int, reference: bool, threads: int, workspace: Callable[[int], Any]) -> None: ...

@final
class Layer:
    def __init__(
        self,
        config: str,
        weights: str | None,
        seed: int,
        layer: int,
        heads: int,
        fp8_projections: bool,
        device: str,
        threads: int,
        stream: int,
    ) -> None: ...
    @property
    def layer(self) -> int: ...
    @property
    def hidden(self) -> int: ...
    @property
    def heads(self) -> int: ...
    @property
    def index_heads(self) -> int: ...
    @property
    def topk(self) -> int: ...
    @property
    def has_indexer(self) -> bool: ...

@final
class Cache:
    def __init__(self, layer: Layer, pages: int, fp8: bool) -> None: ...
    def add_request(self) -> int: ...
    def remove_request(self, request: int) -> None: ...
    def fork(self, parent: int, tokens: int) -> int: ...
    def length(self, request: int) -> int: ...
    def block_table(self, request: int) -> list[int]: ...
    def fill(self, request: int, tokens: int, seed: int) -> None: ...
    @property
    def free_pages(self) -> int: ...
    def forward(
        self, requests: Sequence[int], new_tokens: Sequence[int], x: Any, selection: Any, out: Any, selection_out: Any
    ) -> None: ...

def analyze(
    config: str, against: str, tp: int, dp: int, ep: int, chunk: int, context: int, score_budget_gib: float
) -> tuple[str, str]: ...
def bundled_models() -> list[str]: ...
def query(question: LayerQuestion) -> tuple[str, str]: ...
def stages(
    config: str, system: str, phase: str, heads: int, batch: int, new_tokens: int, past_tokens: int, kv: str
) -> tuple[str, str]: ...
def estimate(deployment: Deployment) -> tuple[str, str]: ...
def sweep(
    config: str,
    systems: str,
    system: str,
    backend: str,
    version: str,
    gpus: int,
    isl: float,
    osl: float,
    prefix: float,
    ttft: float | None,
    tpot: float | None,
    kv: str,
    gemm: str,
    method: str,
) -> tuple[str, str, ArrowTable, ArrowTable]: ...
def trace(file: str, rules: Sequence[str], range: str) -> tuple[str, str]: ...
def align(
    mock: str, reference: str, max_ratio: float, phase: str, range: str, rules: Sequence[str]
) -> tuple[str, str]: ...
def gemm(x: Any, w: Any, out: Any, in_out: bool, f32: bool, options: Options, /) -> None: ...
def fp8_gemm(x: Any, x_scales: Any, w: Any, w_scales: Any, out: Any, options: Options, /) -> None: ...
def quantise_groups(x: Any, values: Any, scales: Any, f32_scale: bool, options: Options, /) -> None: ...
def norm(x: Any, weight: Any, bias: Any, eps: float, out: Any, options: Options, /) -> None: ...
def rope(x: Any, cos_sin: Any, positions: Any, half_split: bool, options: Options, /) -> None: ...
def indexer_quantise(
    x: Any, values: Any, scales: Any, weights: Any, weights_out: Any, factor: float, f32_scale: bool, options: Options, /
) -> None: ...
def kv_cache_write(
    latent: Any, rope: Any, slots: Any, cache: Any, fp8: bool, f32_scale: bool, options: Options, /
) -> None: ...
def index_key_cache_write(values: Any, scales: Any, slots: Any, pages: Any, options: Options, /) -> None: ...
def gather_index_keys(pages: Any, block_table: Any, values: Any, scales: Any, options: Options, /) -> None: ...
def indexer_scores(
    q: Any, weights: Any, k: Any, k_scales: Any, start: Any, end: Any, out: Any, fill: bool, options: Options, /
) -> None: ...
def paged_indexer_scores(
    q: Any, weights: Any, pages: Any, block_table: Any, context_length: Any, out: Any, fill: bool, options: Options, /
) -> None: ...
def topk(scores: Any, start: Any, end: Any, out: Any, options: Options, /) -> None: ...
def selection_rows(positions: Any, request: Any, block_table: Any, out: Any, options: Options, /) -> None: ...
def sparse_mla(
    q: Any,
    cache: Any,
    indices: Any,
    scale: float,
    topk_length: Any,
    out: Any,
    lse: Any,
    fp8: bool,
    decode: bool,
    options: Options,
    /,
) -> None: ...
