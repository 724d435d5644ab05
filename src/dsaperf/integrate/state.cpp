#include "dsaperf/integrate/state.hpp"

#include "dsaperf/core/file.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <zlib.h>

#include <fstream>
#include <system_error>

namespace dsaperf::integrate {
namespace {

constexpr const char* kFormat = "dsaperf.integrate.state.1";
constexpr Bytes kMostState{std::int64_t{16} << 20};

std::string text_of(const nlohmann::json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
}

Done done_from(const nlohmann::json& json) {
  Done done{.key = text_of(json, "key"),
            .document = text_of(json, "document"),
            .products = {},
            .error = text_of(json, "error")};
  if (const auto found = json.find("exit_code"); found != json.end() && found->is_number_integer())
    done.exit_code = found->get<int>();
  if (const auto found = json.find("seconds"); found != json.end() && found->is_number())
    done.seconds = found->get<double>();
  if (const auto found = json.find("products"); found != json.end() && found->is_object()) {
    for (const auto& [path, digest] : found->items()) {
      if (digest.is_string()) done.products[path] = digest.get<std::string>();
    }
  }
  return done;
}

}  // namespace

std::string digest_of(const std::filesystem::path& file) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(file, error)) return "none";  // a device may have no end
  std::ifstream in(file, std::ios::binary);
  if (!in) return "none";
  uLong crc = crc32_z(0, nullptr, 0);
  std::size_t size = 0;
  std::string block(std::size_t{1} << 20, '\0');
  while (in.read(block.data(), static_cast<std::streamsize>(block.size())) || in.gcount() > 0) {
    const auto count = static_cast<std::size_t>(in.gcount());
    crc = crc32_z(crc, reinterpret_cast<const Bytef*>(block.data()), count);
    size += count;
  }
  return fmt::format("{}-{:08x}", size, crc);
}

State::State(std::filesystem::path file, std::string environment)
    : file_(std::move(file)), environment_(std::move(environment)) {
  const auto text = read_file(file_, kMostState);
  if (!text) return;
  const auto json = nlohmann::json::parse(*text, nullptr, false);
  if (!json.is_object() || text_of(json, "format") != kFormat) return;
  const auto steps = json.find("steps");
  if (steps == json.end() || !steps->is_object()) return;
  for (const auto& [name, step] : steps->items()) {
    if (step.is_object()) done_[name] = done_from(step);
  }
}

std::string State::key_of(const Step& step) const {
  std::string key = environment_;
  for (const auto& word : step.words) key += "\n" + word;
  for (const auto& input : step.inputs) key += "\n" + digest_of(input);
  return key;
}

const Done* State::find(const Step& step, const std::filesystem::path& document) const {
  const auto found = done_.find(step.name);
  if (found == done_.end()) return nullptr;
  const auto& done = found->second;
  if (done.key != key_of(step) || done.document != digest_of(document)) return nullptr;
  for (const auto& product : step.products) {
    const auto digest = done.products.find(product.native());
    if (digest == done.products.end() || digest->second != digest_of(product)) return nullptr;
  }
  return &done;
}

Result<void> State::remember(const Step& step, const std::filesystem::path& document, int exit_code,
                             double seconds, std::string error) {
  Done done{.key = key_of(step),
            .document = digest_of(document),
            .products = {},
            .exit_code = exit_code,
            .seconds = seconds,
            .error = std::move(error)};
  for (const auto& product : step.products) {
    done.products[product.native()] = digest_of(product);
  }
  done_[step.name] = std::move(done);
  return save();
}

Result<void> State::save() const {
  nlohmann::ordered_json steps = nlohmann::ordered_json::object();
  for (const auto& [name, done] : done_) {
    steps[name] = {{"key", done.key},           {"document", done.document},
                   {"products", done.products}, {"exit_code", done.exit_code},
                   {"seconds", done.seconds},   {"error", done.error}};
  }
  const nlohmann::ordered_json json = {{"format", kFormat}, {"steps", std::move(steps)}};
  return write_file(file_,
                    json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

}  // namespace dsaperf::integrate
