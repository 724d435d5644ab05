/* dsaperf's C interface: the stages of a DeepSeek Sparse Attention layer, its paged caches, the layer.
 *
 * C99, self-contained; no CUDA header is needed. Nothing throws across it, and there is no global state: handles belong to
 * their makers, errors go into a struct of the caller's. Handles are not thread-safe; different handles may be used from different threads.
 *
 * Versions: every struct starts with `struct_size`, set to sizeof(the struct) by DSAPERF_INIT; the library reads as many bytes as that and takes
 * zero for what an older caller did not know. Members are added at the end only. DSAPERF_ABI changes if that rule is ever broken.
 *
 *     dsaperf_topk_params params = DSAPERF_INIT(dsaperf_topk_params);
 *     params.scores = scores; ...
 *     dsaperf_error error;
 *     if (dsaperf_topk(&params, NULL, &error) != DSAPERF_OK) puts(error.message);
 *
 * Conventions: strides are elements of the pointed-to type unless the name says bytes; bf16 is passed as uint16_t bits, e4m3 as
 * uint8_t bits; pointers are host pointers for DSAPERF_CPU and device pointers for DSAPERF_GPU; an empty batch is fine with any pointers.
 * Outputs do not overlap inputs unless a member says so. That, and the extent of memory behind a pointer, cannot be checked; everything else that is
 * wrong is DSAPERF_INVALID_ARGUMENT. */
#ifndef DSAPERF_DSAPERF_H
#define DSAPERF_DSAPERF_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
namespace dsaperf_c {
template <typename T>
T init() {
  T value = T();
  value.struct_size = sizeof(T);
  return value;
}
}  // namespace dsaperf_c
#define DSAPERF_INIT(type) dsaperf_c::init<type>()
extern "C" {
#else
#define DSAPERF_INIT(type) { .struct_size = sizeof(type) }
#endif

#if defined(__GNUC__)
#define DSAPERF_API __attribute__((visibility("default")))
#else
#define DSAPERF_API
#endif

#define DSAPERF_ABI 1

struct CUstream_st; /* CUDA's stream, by its own name */

typedef enum dsaperf_status {
  DSAPERF_OK = 0,
  DSAPERF_INVALID_ARGUMENT = 1, /* values contradict each other or the documented limits */
  DSAPERF_NOT_FOUND = 2,        /* a file, a model, a request or a device that is not there */
  DSAPERF_PARSE = 3,            /* a file that does not follow its format */
  DSAPERF_UNSUPPORTED = 4,      /* well-formed, but not something this library can do */
  DSAPERF_IO = 5,
  DSAPERF_OUT_OF_MEMORY = 6,
  DSAPERF_CUDA = 7,
  DSAPERF_INTERNAL = 8
} dsaperf_status;

/* A sentence for people, always terminated; empty after DSAPERF_OK. NULL wherever it is not wanted. */
typedef struct dsaperf_error {
  char message[512];
} dsaperf_error;

DSAPERF_API int dsaperf_abi(void);                                /* DSAPERF_ABI of the library */
DSAPERF_API const char* dsaperf_version(void);                    /* "0.1.0" */
DSAPERF_API const char* dsaperf_status_name(dsaperf_status status); /* "invalid_argument" */

typedef enum dsaperf_device {
  DSAPERF_CPU = 0,           /* f32 on the host's cores */
  DSAPERF_CPU_REFERENCE = 1, /* double precision, loops */
  DSAPERF_GPU = 2            /* the calling thread's current device */
} dsaperf_device;

/* Where a stage runs. NULL instead of one means the CPU, all cores, no workspace. */
typedef struct dsaperf_execution {
  size_t struct_size;
  int32_t device;             /* dsaperf_device */
  int32_t threads;            /* CPU: 0 = all cores the process may use */
  struct CUstream_st* stream; /* GPU: work is ordered on it and not waited for */
  void* workspace;            /* of at least dsaperf_*_workspace bytes; contents do not matter */
  size_t workspace_size;
} dsaperf_execution;

typedef enum dsaperf_kv_format { DSAPERF_KV_BF16 = 0, DSAPERF_KV_FP8 = 1 } dsaperf_kv_format;
typedef enum dsaperf_scale_format { DSAPERF_UE8M0 = 0, DSAPERF_F32_SCALE = 1 } dsaperf_scale_format;
typedef enum dsaperf_rope_pairs { DSAPERF_INTERLEAVED = 0, DSAPERF_HALF_SPLIT = 1 } dsaperf_rope_pairs;
typedef enum dsaperf_weight_layout { DSAPERF_OUT_IN = 0, DSAPERF_IN_OUT = 1 } dsaperf_weight_layout;
typedef enum dsaperf_gemm_output { DSAPERF_BF16_OUT = 0, DSAPERF_F32_OUT = 1 } dsaperf_gemm_output;
typedef enum dsaperf_outside { DSAPERF_UNTOUCHED = 0, DSAPERF_MINUS_INFINITY = 1 } dsaperf_outside;

/* ---- Stages. Each has dsaperf_NAME and dsaperf_NAME_workspace, the bytes of workspace it needs for these sizes. ---- */

/* y[b][m][n] = sum_k x[b][m][k] w[b][n][k]; bf16 in, f32 sums. Projections, absorb (in_out) and v_up. On the GPU
 * cuBLASLt's handle, which takes a millisecond to make, is kept for each thread and device. */
typedef struct dsaperf_gemm_params {
  size_t struct_size;
  const uint16_t* x;
  const uint16_t* w; /* [n, k] out_in, [k, n] in_out */
  void* y;           /* uint16_t or float, by `output` */
  int64_t m, n, k, batch;
  int64_t x_stride, w_stride, y_stride;
  int64_t x_batch_stride, w_batch_stride, y_batch_stride; /* not read for batch 1 */
  int32_t w_layout;                                       /* dsaperf_weight_layout */
  int32_t output;                                         /* dsaperf_gemm_output */
} dsaperf_gemm_params;
DSAPERF_API dsaperf_status dsaperf_gemm(const dsaperf_gemm_params* params, const dsaperf_execution* where, dsaperf_error* error);
DSAPERF_API dsaperf_status dsaperf_gemm_workspace(const dsaperf_gemm_params* params, const dsaperf_execution* where, size_t* bytes,
                                                  dsaperf_error* error);

/* The same of e4m3: x with one scale per row and 128 of k, w with one per 128 x 128 block. y is bf16. */
typedef struct dsaperf_fp8_gemm_params {
  size_t struct_size;
  const uint8_t* x;      /* [m, k] */
  const float* x_scales; /* [m, ceil(k / 128)] */
  const uint8_t* w;      /* [n, k] */
  const float* w_scales; /* [ceil(n / 128), ceil(k / 128)] */
  uint16_t* y;           /* [m, n] */
  int64_t m, n, k;
  int64_t x_stride, x_scales_stride, w_stride, w_scales_stride, y_stride;
} dsaperf_fp8_gemm_params;
DSAPERF_API dsaperf_status dsaperf_fp8_gemm(const dsaperf_fp8_gemm_params* params, const dsaperf_execution* where, dsaperf_error* error);
DSAPERF_API dsaperf_status dsaperf_fp8_gemm_workspace(const dsaperf_fp8_gemm_params* params, const dsaperf_execution* where, size_t* bytes,
                                                      dsaperf_error* error);

/* bf16 rows to e4m3 with one scale per 128 values of a row. */
typedef struct dsaperf_quantise_groups_params {
  size_t struct_size;
  const uint16_t* x; /* [rows, dim] */
  uint8_t* values;   /* [rows, dim] */
  float* scales;     /* [rows, ceil(dim / 128)] */
  int64_t rows;
  int32_t dim;
  int32_t scale_format; /* dsaperf_scale_format */
  int64_t x_stride, values_stride, scales_stride;
} dsaperf_quantise_groups_params;
DSAPERF_API dsaperf_status dsaperf_quantise_groups(const dsaperf_quantise_groups_params* params, const dsaperf_execution* where,
                                                   dsaperf_error* error);
DSAPERF_API dsaperf_status dsaperf_quantise_groups_workspace(const dsaperf_quantise_groups_params* params, const dsaperf_execution* where,
                                                             size_t* bytes, dsaperf_error* error);

/* x / sqrt(mean(x^2) + eps) * weight, or with `bias` (LayerNorm) (x - mean) / sqrt(variance + eps) * weight + bias. */
typedef struct dsaperf_norm_params {
  size_t struct_size;
  const uint16_t* x;   /* [rows, dim] */
  const float* weight; /* [dim] */
  const float* bias;   /* [dim]; NULL: RMSNorm */
  uint16_t* out;       /* [rows, dim]; may be x */
  int64_t rows;
  int32_t dim;
  float eps;
  int64_t x_stride, out_stride;
} dsaperf_norm_params;
DSAPERF_API dsaperf_status dsaperf_norm(const dsaperf_norm_params* params, const dsaperf_execution* where, dsaperf_error* error);
DSAPERF_API dsaperf_status dsaperf_norm_workspace(const dsaperf_norm_params* params, const dsaperf_execution* where, size_t* bytes,
                                                  dsaperf_error* error);

/* Rotates x in place by its position. */
typedef struct dsaperf_rope_params {
  size_t struct_size;
  uint16_t* x;              /* [tokens, heads, dim], the rotated part alone */
  const float* cos_sin;     /* [table_rows, dim]: dim / 2 cosines, dim / 2 sines */
  const int32_t* positions; /* [tokens]: rows of the table */
  int64_t tokens, table_rows;
  int32_t heads, dim;
  int64_t token_stride, head_stride;
  int32_t pairs; /* dsaperf_rope_pairs */
} dsaperf_rope_params;
DSAPERF_API dsaperf_status dsaperf_rope(const dsaperf_rope_params* params, const dsaperf_execution* where, dsaperf_error* error);
DSAPERF_API dsaperf_status dsaperf_rope_workspace(const dsaperf_rope_params* params, const dsaperf_execution* where, size_t* bytes,
                                                  dsaperf_error* error);

/* Hadamard rotation of rows of 128, then e4m3 with one scale a row; weights_out = weights * scale * weight_factor. */
typedef struct dsaperf_indexer_quantise_params {
  size_t struct_size;
  const uint16_t* x;    /* [rows, 128] */
  uint8_t* values;      /* [rows, 128], packed */
  float* scales;        /* [rows]; NULL where weights are given and scales not wanted */
  const float* weights; /* [rows] or NULL */
  float* weights_out;   /* [rows] or NULL */
  int64_t rows, x_stride;
  float weight_factor;
  int32_t scale_format; /* dsaperf_scale_format */
} dsaperf_indexer_quantise_params;
DSAPERF_API dsaperf_status dsaperf_indexer_quantise(const dsaperf_indexer_quantise_params* params, const dsaperf_execution* where,
                                                    dsaperf_error* error);
DSAPERF_API dsaperf_status dsaperf_indexer_quantise_workspace(const dsaperf_indexer_quantise_params* params, const dsaperf_execution* where,
                                                              size_t* bytes, dsaperf_error* error);

/* New tokens into the latent cache: 1152-byte rows (512 latent, 64 rope, bf16) or 656-byte rows (512 e4m3, 4 f32 scales, 64 bf16 rope). A
 * slot is page * 64 + offset; slots outside the cache are skipped. */
typedef struct dsaperf_kv_cache_write_params {
  size_t struct_size;
  const uint16_t* latent; /* [tokens, 512] */
  const uint16_t* rope;   /* [tokens, 64] */
  const int64_t* slots;   /* [tokens] */
  void* cache;
  int64_t tokens, rows;
  int64_t latent_stride, rope_stride, row_stride_bytes;
  int32_t format;       /* dsaperf_kv_format */
  int32_t scale_format; /* dsaperf_scale_format */
} dsaperf_kv_cache_write_params;
DSAPERF_API dsaperf_status dsaperf_kv_cache_write(const dsaperf_kv_cache_write_params* params, const dsaperf_execution* where,
                                                  dsaperf_error* error);
DSAPERF_API dsaperf_status dsaperf_kv_cache_write_workspace(const dsaperf_kv_cache_write_params* params, const dsaperf_execution* where,
                                                            size_t* bytes, dsaperf_error* error);

/* New index keys into their pages: 64 x 128 e4m3, then 64 f32 scales, 8448 bytes a page. */
typedef struct dsaperf_index_key_cache_write_params {
  size_t struct_size;
  const uint8_t* values; /* [tokens, 128] */
  const float* scales;   /* [tokens] */
  const int64_t* slots;  /* [tokens] */
  uint8_t* pages;
  int64_t tokens, page_count, page_stride_bytes;
} dsaperf_index_key_cache_write_params;
DSAPERF_API dsaperf_status dsaperf_index_key_cache_write(const dsaperf_index_key_cache_write_params* params, const dsaperf_execution* where,
                                                         dsaperf_error* error);
DSAPERF_API dsaperf_status dsaperf_index_key_cache_write_workspace(const dsaperf_index_key_cache_write_params* params,
                                                                   const dsaperf_execution* where, size_t* bytes, dsaperf_error* error);

/* Index keys of one request out of their pages. */
typedef struct dsaperf_gather_index_keys_params {
  size_t struct_size;
  const uint8_t* pages;
  const int32_t* block_table; /* [ceil(tokens / 64)] */
  uint8_t* values;            /* [tokens, 128] */
  float* scales;              /* [tokens] */
  int64_t tokens, page_count, page_stride_bytes;
} dsaperf_gather_index_keys_params;
DSAPERF_API dsaperf_status dsaperf_gather_index_keys(const dsaperf_gather_index_keys_params* params, const dsaperf_execution* where,
                                                     dsaperf_error* error);
DSAPERF_API dsaperf_status dsaperf_gather_index_keys_workspace(const dsaperf_gather_index_keys_params* params,
                                                               const dsaperf_execution* where, size_t* bytes, dsaperf_error* error);

/* scores[t][p] = k_scales[p] * sum_h weights[t][h] * relu(q[t][h] . k[p]) for start[t] <= p < end[t], clamped to the keys. */
typedef struct dsaperf_indexer_scores_params {
  size_t struct_size;
  const uint8_t* q;       /* [tokens, heads, 128] e4m3 */
  const float* weights;   /* [tokens, heads] */
  const uint8_t* k;       /* [keys, 128] e4m3 */
  const float* k_scales;  /* [keys] */
  const int32_t* start;   /* [tokens] */
  const int32_t* end;     /* [tokens] */
  float* scores;          /* [tokens, keys] */
  int64_t tokens, keys;
  int32_t heads, dim; /* 8, 16, 32 or 64; 128 */
  int64_t scores_stride;
  int32_t outside; /* dsaperf_outside: scores beyond the range */
} dsaperf_indexer_scores_params;
DSAPERF_API dsaperf_status dsaperf_indexer_scores(const dsaperf_indexer_scores_params* params, const dsaperf_execution* where,
                                                  dsaperf_error* error);
DSAPERF_API dsaperf_status dsaperf_indexer_scores_workspace(const dsaperf_indexer_scores_params* params, const dsaperf_execution* where,
                                                            size_t* bytes, dsaperf_error* error);

/* The same from pages, for decode: row (b, j) of q_len sees positions [0, context_length[b] - q_len + 1 + j). */
typedef struct dsaperf_paged_indexer_scores_params {
  size_t struct_size;
  const uint8_t* q;              /* [batch, q_len, heads, 128] e4m3 */
  const float* weights;          /* [batch, q_len, heads] */
  const uint8_t* pages;
  const int32_t* block_table;    /* [batch, block_table_stride] */
  const int32_t* context_length; /* [batch], the new tokens included */
  float* scores;                 /* [batch * q_len, max_context] */
  int64_t batch;
  int32_t q_len, heads, dim; /* q_len 1 ... 8 */
  int32_t outside;           /* dsaperf_outside */
  int64_t max_context, page_count, page_stride_bytes, block_table_stride, scores_stride;
} dsaperf_paged_indexer_scores_params;
DSAPERF_API dsaperf_status dsaperf_paged_indexer_scores(const dsaperf_paged_indexer_scores_params* params, const dsaperf_execution* where,
                                                        dsaperf_error* error);
DSAPERF_API dsaperf_status dsaperf_paged_indexer_scores_workspace(const dsaperf_paged_indexer_scores_params* params,
                                                                  const dsaperf_execution* where, size_t* bytes, dsaperf_error* error);

/* The topk highest of columns [start, end) of each row, as positions from start; exactly min(topk, end - start) distinct ones, then -1. NaN
 * sorts below every number. A set: the order is free, and so is the choice among equals. */
typedef struct dsaperf_topk_params {
  size_t struct_size;
  const float* scores;  /* [rows, columns] */
  const int32_t* start; /* [rows]; NULL = 0 */
  const int32_t* end;   /* [rows]; NULL = columns */
  int32_t* indices;     /* [rows, topk] */
  int64_t rows, columns;
  int32_t topk;
  int64_t scores_stride, indices_stride;
} dsaperf_topk_params;
DSAPERF_API dsaperf_status dsaperf_topk(const dsaperf_topk_params* params, const dsaperf_execution* where, dsaperf_error* error);
DSAPERF_API dsaperf_status dsaperf_topk_workspace(const dsaperf_topk_params* params, const dsaperf_execution* where, size_t* bytes,
                                                  dsaperf_error* error);

/* Positions in a request to rows of the cache, page * 64 + offset; what has no row becomes -1. */
typedef struct dsaperf_selection_rows_params {
  size_t struct_size;
  const int32_t* positions;   /* [tokens, topk] */
  const int32_t* request;     /* [tokens]: row of block_table */
  const int32_t* block_table; /* [requests, block_table_stride] */
  int32_t* rows;              /* [tokens, topk]; may be positions */
  int64_t tokens, requests;
  int32_t topk;
  int64_t positions_stride, rows_stride, block_table_stride;
} dsaperf_selection_rows_params;
DSAPERF_API dsaperf_status dsaperf_selection_rows(const dsaperf_selection_rows_params* params, const dsaperf_execution* where,
                                                  dsaperf_error* error);
DSAPERF_API dsaperf_status dsaperf_selection_rows_workspace(const dsaperf_selection_rows_params* params, const dsaperf_execution* where,
                                                            size_t* bytes, dsaperf_error* error);

/* Attention of each query row over the cache rows that its list names. -1 and rows outside the cache are skipped, duplicates count as often as
 * they stand. lse is the natural logarithm, -inf where nothing is selected; the output is then 0. */
typedef struct dsaperf_sparse_mla_params {
  size_t struct_size;
  const uint16_t* q;          /* [tokens, heads, 576] */
  const void* kv;             /* [kv_rows], kv_row_stride_bytes apart */
  const int32_t* indices;     /* [tokens, topk] */
  const int32_t* topk_length; /* [tokens]: leading entries that count; NULL = all */
  uint16_t* out;              /* [tokens, heads, 512] */
  float* lse;                 /* [tokens, heads] or NULL */
  int64_t tokens, kv_rows, kv_row_stride_bytes;
  int32_t kv_format;   /* dsaperf_kv_format */
  int32_t heads, topk; /* heads 8, 16, 32, 64 or 128 */
  float scale;
  int64_t q_token_stride, q_head_stride, indices_stride, out_token_stride, out_head_stride, lse_stride;
  int32_t decode; /* GPU: 1 = few tokens, lists may be split over SMs (needs the workspace); 0 = prefill */
} dsaperf_sparse_mla_params;
DSAPERF_API dsaperf_status dsaperf_sparse_mla(const dsaperf_sparse_mla_params* params, const dsaperf_execution* where, dsaperf_error* error);
DSAPERF_API dsaperf_status dsaperf_sparse_mla_workspace(const dsaperf_sparse_mla_params* params, const dsaperf_execution* where,
                                                        size_t* bytes, dsaperf_error* error);

/* ---- A layer, and its caches ---- */

typedef struct dsaperf_layer dsaperf_layer;
typedef struct dsaperf_cache dsaperf_cache;

typedef struct dsaperf_layer_options {
  size_t struct_size;
  const char* config;  /* path of a config.json, a folder with one, or a bundled name ("deepseek-ai/DeepSeek-V3.2") */
  const char* weights; /* safetensors file or folder of a checkpoint; NULL: random ones */
  uint64_t seed;       /* of random weights */
  int32_t layer;       /* index in the model; -1: the first sparse one with an indexer */
  int32_t heads;       /* of this rank; 0: all */
  int32_t fp8_projections; /* 0: bf16, 1: e4m3 with block scales */
  int32_t device;          /* dsaperf_device */
  int32_t threads;         /* CPU: 0 = all cores */
  struct CUstream_st* stream; /* GPU: what the layer and its caches do is ordered on it, and it outlives them; NULL: one of its own */
} dsaperf_layer_options;

typedef struct dsaperf_layer_info {
  size_t struct_size;
  int32_t layer, hidden, heads, q_lora, nope, v, index_heads, topk;
  int32_t has_indexer; /* 0: the layer attends to a selection that it is given */
} dsaperf_layer_info;

DSAPERF_API dsaperf_status dsaperf_layer_create(const dsaperf_layer_options* options, dsaperf_layer** layer, dsaperf_error* error);
DSAPERF_API void dsaperf_layer_destroy(dsaperf_layer* layer); /* NULL is fine; caches made for it live on */
DSAPERF_API dsaperf_status dsaperf_layer_get_info(const dsaperf_layer* layer, dsaperf_layer_info* info, dsaperf_error* error);

typedef struct dsaperf_cache_options {
  size_t struct_size;
  int64_t pages;   /* of 64 tokens */
  int32_t kv;      /* dsaperf_kv_format */
} dsaperf_cache_options;

/* The memory of a cache, in the layouts that FlashMLA and DeepGEMM read. Belongs to the cache. */
typedef struct dsaperf_cache_view {
  size_t struct_size;
  void* kv;             /* [pages * 64] rows */
  uint8_t* index_pages; /* [pages] of 8448 bytes; NULL for a layer without an indexer */
  int64_t pages, kv_row_bytes, index_page_bytes, free_pages;
} dsaperf_cache_view;

DSAPERF_API dsaperf_status dsaperf_cache_create(const dsaperf_layer* layer, const dsaperf_cache_options* options, dsaperf_cache** cache,
                                                dsaperf_error* error);
DSAPERF_API void dsaperf_cache_destroy(dsaperf_cache* cache); /* NULL is fine */
DSAPERF_API dsaperf_status dsaperf_cache_get_view(const dsaperf_cache* cache, dsaperf_cache_view* view, dsaperf_error* error);
DSAPERF_API dsaperf_status dsaperf_cache_add_request(dsaperf_cache* cache, int64_t* request, dsaperf_error* error);
DSAPERF_API dsaperf_status dsaperf_cache_remove_request(dsaperf_cache* cache, int64_t request, dsaperf_error* error);
/* A request that starts with the first `tokens` of `parent` without copying them; pages are copied when one of the two writes. */
DSAPERF_API dsaperf_status dsaperf_cache_fork(dsaperf_cache* cache, int64_t parent, int64_t tokens, int64_t* request, dsaperf_error* error);
/* Room for `tokens` more; their slots (page * 64 + offset) go to slots[tokens]. Where memory does not suffice nothing changes. */
DSAPERF_API dsaperf_status dsaperf_cache_append(dsaperf_cache* cache, int64_t request, int64_t tokens, int64_t* slots, dsaperf_error* error);
DSAPERF_API dsaperf_status dsaperf_cache_length(const dsaperf_cache* cache, int64_t request, int64_t* tokens, dsaperf_error* error);
/* Up to `capacity` page numbers; `pages` is how many the request has. */
DSAPERF_API dsaperf_status dsaperf_cache_block_table(const dsaperf_cache* cache, int64_t request, int32_t* table, int64_t capacity,
                                                     int64_t* pages, dsaperf_error* error);
/* Appends random past tokens that look like the layer's own; the same seed gives the same. */
DSAPERF_API dsaperf_status dsaperf_cache_fill(dsaperf_cache* cache, const dsaperf_layer* layer, int64_t request, int64_t tokens, uint64_t seed,
                                              dsaperf_error* error);

/* One pass of the layer over a ragged batch; new tokens are appended to the cache, all or none. Host pointers on every device. */
typedef struct dsaperf_batch {
  size_t struct_size;
  const int64_t* requests;    /* [count], each once */
  const int64_t* new_tokens;  /* [count] */
  int64_t count;
  const uint16_t* x;          /* [tokens, hidden] bf16, request after request */
  int64_t x_count;            /* values behind x: tokens * hidden */
  const int32_t* selection;   /* [tokens, topk] positions, for layers without an indexer where a request is longer than topk; else NULL */
  int64_t selection_count;    /* values behind selection */
  uint16_t* y;                /* [tokens, hidden] bf16 */
  int32_t* selection_out;     /* [tokens, topk] positions, padded with -1; or NULL */
} dsaperf_batch;
DSAPERF_API dsaperf_status dsaperf_layer_forward(const dsaperf_layer* layer, dsaperf_cache* cache, const dsaperf_batch* batch,
                                                 dsaperf_error* error);

/* ---- A pass that is prepared once and launched again and again, its requests growing ----
 *
 *   dsaperf_pass_create(layer, cache, &batch, &options, &pass, &error);   makes room, plans, allocates
 *   dsaperf_pass_enqueue(pass, &error);                                   on the layer's stream; wait for it before capturing
 *   cudaStreamBeginCapture(stream, ...); dsaperf_pass_enqueue(pass, &error); cudaStreamEndCapture(stream, &graph);
 *   dsaperf_pass_advance(pass, NULL, 0, NULL, 0, &error); cudaGraphLaunch(...);   the next tokens, as often as wanted
 *
 * One graph serves all lengths up to `longest`: they lie in the device's memory. Layer and cache must outlive the pass. */

typedef struct dsaperf_pass dsaperf_pass;

typedef struct dsaperf_pass_options {
  size_t struct_size;
  int64_t longest;     /* tokens that a request may reach: memory and grids are made for it. 0: the lengths stay as they are */
  int64_t score_bytes; /* memory for index scores, a batch that has more is taken in parts; 0: 256 MiB */
} dsaperf_pass_options;

/* Memory of the device, belonging to the pass. x may be written, and y and selection read, in the order of the layer's stream. */
typedef struct dsaperf_pass_view {
  size_t struct_size;
  uint16_t* x;        /* [tokens, hidden] bf16 */
  uint16_t* y;        /* [tokens, hidden] bf16 */
  int32_t* selection; /* [tokens, selected] positions, padded with -1; of a layer without an indexer what it was given */
  int64_t tokens, selected;
} dsaperf_pass_view;

/* Of the batch, y and selection_out are not looked at. With x_count and selection_count 0 both start as zeros. The new tokens are
 * appended to the cache, all or none. */
DSAPERF_API dsaperf_status dsaperf_pass_create(const dsaperf_layer* layer, dsaperf_cache* cache, const dsaperf_batch* batch,
                                               const dsaperf_pass_options* options, dsaperf_pass** pass, dsaperf_error* error);
DSAPERF_API void dsaperf_pass_destroy(dsaperf_pass* pass); /* NULL is fine */
DSAPERF_API dsaperf_status dsaperf_pass_get_view(const dsaperf_pass* pass, dsaperf_pass_view* view, dsaperf_error* error);
/* Only launches, with no allocation and no waiting: may be captured in a CUDA graph. Done when it returns on the CPU. */
DSAPERF_API dsaperf_status dsaperf_pass_enqueue(dsaperf_pass* pass, dsaperf_error* error);
/* The next tokens of the same requests, as many of each as before: makes room in the cache and rewrites the lengths, slots and block
 * tables on the device, in the order of the layer's stream; not within a capture. Host pointers; a count of 0 leaves the values
 * that are there. Where a request would be longer than `longest`, or the cache is full, nothing has changed. */
DSAPERF_API dsaperf_status dsaperf_pass_advance(dsaperf_pass* pass, const uint16_t* x, int64_t x_count, const int32_t* selection,
                                                int64_t selection_count, dsaperf_error* error);

#ifdef __cplusplus
}
#endif

#endif
