#pragma once

#include "dsaperf/core/error.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::kernels {

// Kernels that exist in several variants, any of which gives a right result. Which one is fastest
// depends on the shape and the card; a table made by measurement (`dsaperf bench --tune`) says so,
// and where it says nothing the built-in default runs. docs/formats/tuning.md describes the file.
enum class TunedKernel {
  kSparsePrefill,
  kSparseDecode,
  kScores,
  kPagedScores,
  kTopk,
  kPagedSelect
};

enum class Variant {
  kDefault,            // what each kernel's own plan says
  kTwoProducers,       // fp8 rows converted by two warpgroups
  kSplit,              // lists split over all SMs, combined by a second kernel (decode)
  kTwoProducersSplit,  // both
  kFewHeads,           // operands swapped, two CTAs an SM (8, 16, 32 heads, bf16 rows)
  kEarly,              // starts while the grid before it ends
  kEarlyFour,          // kEarly; four math warpgroups, weights from shared memory
  kSpread512x4,        // a row over the registers of a cluster: threads x elements of a CTA
  kSpread512x8,
  kSpread512x16,
  kSpread1024x8,
  kSpread1024x16,
  kSegments,  // the topk of each segment of a row, then of what they leave
  kFused,     // scores keep what may be selected and are not written (paged select)
};

std::string_view name(TunedKernel kernel);
std::string_view name(Variant variant);
std::optional<TunedKernel> tuned_kernel_from_name(std::string_view name);
std::optional<Variant> variant_from_name(std::string_view name);

// What the choice of a variant may depend on.
struct TunedShape {
  TunedKernel kernel = TunedKernel::kSparsePrefill;
  bool fp8 = false;          // rows of the latent cache (attention)
  int heads = 0;             // of attention or of the indexer; top-k: 0
  int q_len = 1;             // new tokens a request (paged scores and select)
  std::int64_t rows = 0;     // tokens; requests (paged scores and select); rows (top-k)
  std::int64_t columns = 0;  // topk (attention), keys, longest context, columns
};

// Variants that can run this shape on a device of so many SMs; kDefault is the first.
std::vector<Variant> variants_of(const TunedShape& shape, int sm_count);

// CTAs that share each of `items` lists of `blocks` blocks of 64 in kSplit, `heads` of them in an
// item: as many as fill the device once, no more than share evenly; 1: splitting is of no use.
int split_parts(std::int64_t items, int heads, int blocks, int sm_count);

// CTAs of a cluster that holds a row of `columns` in registers, a power of two; 0: none can.
int spread_cluster(Variant variant, std::int64_t columns);

// One line of the table: shapes of these ranges (ends included), and what runs them.
struct TuningEntry {
  TunedKernel kernel = TunedKernel::kSparsePrefill;
  bool fp8 = false;
  int heads = 0;
  int q_len = 1;
  std::int64_t rows_from = 0, rows_to = 0;
  std::int64_t columns_from = 0, columns_to = 0;
  Variant variant = Variant::kDefault;
  double variant_us = 0, default_us = 0;  // measured: warm medians

  bool holds(const TunedShape& shape) const;
  bool overlaps(const TuningEntry& other) const;
};

struct TuningTable {
  std::string device;  // as the driver names it
  int sm_count = 0;
  std::string commit;
  std::vector<TuningEntry> entries;

  // kDefault where no entry holds the shape, or the variant cannot run it.
  Variant choose(const TunedShape& shape) const;
};

// Refuses unknown names, later formats, empty ranges and entries that overlap.
Result<TuningTable> parse_tuning(std::string_view json);
std::string to_json(const TuningTable& table);

// The name of a card's table and system (data/systems): "NVIDIA H200" is h200_sxm; nothing for
// cards that have none.
std::optional<std::string> card_of_device(std::string_view device);

// data/tuning/CARD.json of the shipped data; an empty table where there is no such file. A file
// that is there and wrong is an error: it names the file and says how to get rid of it.
Result<TuningTable> read_tuning(const std::filesystem::path& data, std::string_view card);

}  // namespace dsaperf::kernels
