#include "dsaperf/model/load_model.hpp"

#include "dsaperf/core/data_dir.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/file.hpp"
#include "dsaperf/core/lower_case.hpp"
#include "dsaperf/core/near_name.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <optional>
#include <system_error>

namespace dsaperf::model {
namespace {

namespace fs = std::filesystem;

// Real configs are under 200 kB; lists of modules make the longest. What is larger is no config,
// and is refused before it is read.
constexpr Bytes kMaxConfig{16 << 20};

constexpr std::string_view kConfigEnd = "config.json";

std::optional<fs::path> quant_config_beside(const fs::path& config) {
  std::string name = config.filename().native();
  if (!name.ends_with(kConfigEnd)) return std::nullopt;
  name.replace(name.size() - kConfigEnd.size(), kConfigEnd.size(), "hf_quant_config.json");
  auto path = config.parent_path() / name;
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return std::nullopt;
  return path;
}

// With U+FFFD for what is not UTF-8: a file's name is any bytes, and what is made of one stands in
// documents and tables that are UTF-8.
std::string valid_utf8(const std::string& text) {
  using nlohmann::json;
  const std::string quoted = json(text).dump(-1, ' ', false, json::error_handler_t::replace);
  return json::parse(quoted).get<std::string>();
}

// "zai-org--GLM-5-FP8_config.json" -> "zai-org/GLM-5-FP8"; "GLM-5/config.json" -> "GLM-5".
std::string model_name(const fs::path& config) {
  std::string name = config.stem().native();
  if (name == "config") {
    std::error_code ignored;
    name = fs::absolute(config, ignored).parent_path().filename().native();
  }
  if (name.ends_with("_config")) name.resize(name.size() - std::string_view("_config").size());
  if (const auto dashes = name.find("--"); dashes != std::string::npos) {
    name.replace(dashes, 2, "/");
  }
  return valid_utf8(name);
}

Result<ModelSpec> load_file(const fs::path& path) {
  DSAPERF_TRY_ASSIGN(const auto text, read_file(path, kMaxConfig));
  std::string quant_text;
  if (const auto quant = quant_config_beside(path)) {
    DSAPERF_TRY_ASSIGN(quant_text, read_file(*quant, kMaxConfig));
  }
  DSAPERF_TRY_ASSIGN(auto spec, parse_model(text, quant_text, path.native()));
  spec.name = model_name(path);
  return spec;
}

Result<ModelSpec> load_folder(const fs::path& folder) {
  std::error_code error;
  if (fs::exists(folder / kConfigEnd, error)) return load_file(folder / kConfigEnd);
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const auto name = entry.path().filename().native();
    if (name.ends_with("_config.json") && !name.ends_with("hf_quant_config.json") &&
        name != "generation_config.json") {
      found.push_back(entry.path());
    }
  }
  if (found.size() == 1) return load_file(found.front());
  if (found.empty()) return fail(Errc::kNotFound, "{}: holds no config.json", folder.native());
  return fail(Errc::kNotFound, "{}: holds {} files named ..._config.json; name one of them",
              folder.native(), found.size());
}

std::string_view last_part(std::string_view name) {
  return name.substr(name.rfind('/') + 1);  // npos + 1 is 0
}

std::string nearest_names(std::string_view asked, const std::vector<std::string>& names) {
  std::vector<std::pair<std::size_t, std::string_view>> ranked;
  const auto wanted = lower_case(last_part(asked).substr(0, 100));
  for (const auto& name : names) {
    ranked.emplace_back(edit_distance(wanted, lower_case(last_part(name))), name);
  }
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::string listed;
  for (std::size_t i = 0; i < std::min<std::size_t>(3, ranked.size()); ++i) {
    listed += (i == 0 ? "" : ", ") + std::string(ranked[i].second);
  }
  return listed;
}

Result<ModelSpec> load_named(const fs::path& data, const std::string& name) {
  auto file = name;
  file.replace(file.find('/'), 1, "--");
  DSAPERF_TRY_ASSIGN(auto spec, load_file(data / "configs" / (file + ".json")));
  spec.name = name;
  spec.is_bundled = true;
  return spec;
}

Result<ModelSpec> load_bundled(std::string_view asked) {
  DSAPERF_TRY_ASSIGN(const auto names, bundled_models());
  DSAPERF_TRY_ASSIGN(const auto data, data_dir());
  const auto wanted = lower_case(asked);
  for (const auto& name : names) {
    const auto candidate = lower_case(name);
    if (candidate == wanted || last_part(candidate) == wanted) return load_named(data, name);
  }
  return fail(Errc::kNotFound,
              "{}: neither a file, nor a folder, nor a bundled model; near names: {}", asked,
              nearest_names(asked, names));
}

}  // namespace

Result<std::vector<std::string>> bundled_models() {
  DSAPERF_TRY_ASSIGN(const auto data, data_dir());
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(data / "configs", error)) {
    if (entry.path().extension() != ".json") continue;
    auto name = entry.path().stem().native();
    const auto dashes = name.find("--");
    if (dashes == std::string::npos) continue;
    names.push_back(name.replace(dashes, 2, "/"));
  }
  if (error) {
    return fail(Errc::kIo, "{}: {}", (data / "configs").native(), error.message());
  }
  std::sort(names.begin(), names.end());
  return names;
}

Result<std::vector<ModelSpec>> load_bundled_models() {
  DSAPERF_TRY_ASSIGN(const auto names, bundled_models());
  DSAPERF_TRY_ASSIGN(const auto data, data_dir());
  std::vector<ModelSpec> models;
  models.reserve(names.size());
  for (const auto& name : names) {
    DSAPERF_TRY_ASSIGN(auto spec, load_named(data, name));
    models.push_back(std::move(spec));
  }
  return models;
}

Result<ModelSpec> load_model(std::string_view config) {
  if (config.empty()) return fail(Errc::kInvalidArgument, "the model's name or path is empty");
  if (config == "-") {
    DSAPERF_TRY_ASSIGN(const auto text, read_stdin(kMaxConfig));
    DSAPERF_TRY_ASSIGN(auto spec, parse_model(text, "", "standard input"));
    spec.name = "standard input";
    return spec;
  }
  const fs::path path(config);
  std::error_code error;
  if (fs::is_directory(path, error)) return load_folder(path);
  // What looks like a path is one: "no such file" tells more than near names.
  if (fs::exists(path, error) || path.extension() == ".json" || path.is_absolute() ||
      config.starts_with("./") || config.starts_with("../")) {
    return load_file(path);
  }
  return load_bundled(config);
}

}  // namespace dsaperf::model
