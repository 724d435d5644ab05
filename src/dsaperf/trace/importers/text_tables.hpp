#pragma once

#include "dsaperf/core/error.hpp"

#include <string>
#include <string_view>

namespace dsaperf::trace {

// The forms other than CSV in which `nsys stats` and its kin write their tables: what a run without
// --format prints, aligned in columns under a rule of dashes, `--format tsv` and `--format json`.
//
//    Time (%)  Total Time (ns)  Instances      Name
//    --------  ---------------  ---------  -------------
//        60.0        1,200,000          2  void a<int>()
enum class TextForm { kCsv, kColumns, kTabs, kJsonRows };

// What a text is by its front; kCsv for whatever is none of the others.
TextForm form_of(std::string_view front);

// The same as CSV, a line for each line (of JSON: for each row). Fails with kParse where a row of
// JSON is no object of texts and numbers.
Result<std::string> as_csv(std::string_view text, TextForm form);

}  // namespace dsaperf::trace
