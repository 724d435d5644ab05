#pragma once

#include <nlohmann/json_fwd.hpp>

#include <optional>
#include <string>
#include <vector>

// The report of `dsaperf integrate`: from what its phases left to one document, and from the
// document to a page, Markdown and tables. Nothing here runs anything or reads a file.
//
// The evidence is a JSON object:
//   model, program       the model as it was asked for; "dsaperf 0.1.0"
//   options              systems, gpus, isl, osl, ttft_limit_ms, tpot_limit_ms, device, reference,
//                        mock
//   phases               list of {name, state (done, reused, failed, skipped), seconds, reason,
//                        commands: list of {line, state, seconds, error}}
//   documents            by name: what the commands printed with --json (analyze, run, align,
//                        reference, mock, collect, tables, export), and for each system S
//                        prefill.S, decode.S (query --stages), prefill_model.S, decode_model.S
//                        (query), sweep.S, estimate.S, latency.S; and accuracy. Of the last two
//                        {"rows": [...]}: those of query --from and of db loo --csv
// A document may be missing or of a shape that was not expected: what depends on it is left out.
namespace dsaperf::report {

// Format dsaperf.integrate.1 (docs/formats/integrate.md): `answers`, `sections` of `pictures`
// (Vega-Lite specifications that hold their data) and `tables` (each row with its source),
// `phases`, `warnings`.
nlohmann::ordered_json integration_document(const nlohmann::ordered_json& evidence);

// The same of an alignment alone (a document of `align --json`): its answer and its section.
nlohmann::ordered_json alignment_document(const nlohmann::ordered_json& align);

std::string integration_markdown(const nlohmann::ordered_json& document);

// One self-contained HTML page: draws the pictures with the Vega bundle that is part of it; without
// a script all tables are there.
std::string integration_page(const nlohmann::ordered_json& document);

// Answers and states for a terminal.
std::string integration_text(const nlohmann::ordered_json& document);

struct NamedText {
  std::string name;
  std::string text;
};
// Every table as CSV, by name.
std::vector<NamedText> integration_tables(const nlohmann::ordered_json& document);

// What bringing the model into AIConfigurator takes, as Markdown: table and operation names, keys,
// fields, formulas with units, grid, memory terms. For a model that it knows: that it does, and
// what deviates. Empty without a document of analyze.
std::optional<std::string> aiconfigurator_change(const nlohmann::ordered_json& evidence);

}  // namespace dsaperf::report
