#include "dsaperf/op/safetensors.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/file.hpp"

#include <nlohmann/json.hpp>

#include <array>
#include <cstring>
#include <limits>
#include <optional>

namespace dsaperf::op {
namespace {

constexpr std::int64_t kMaxHeader = 100'000'000;  // the format's own limit

constexpr std::array<std::pair<std::string_view, DType>, 5> kTypes = {{
    {"BF16", DType::kBf16},
    {"F32", DType::kF32},
    {"F8_E4M3", DType::kE4m3},
    {"I32", DType::kI32},
    {"I64", DType::kI64},
}};

std::optional<DType> known_type(std::string_view name) {
  for (const auto& [known, type] : kTypes)
    if (known == name) return type;
  return std::nullopt;
}

std::string_view type_name(DType type) {
  for (const auto& [name, known] : kTypes)
    if (known == type) return name;
  return "";
}

}  // namespace

// `data` is where the data begins in the file.
Result<std::map<std::string, SafetensorsFile::Entry, std::less<>>> parse_entries(
    std::string_view json, std::int64_t data, std::int64_t data_bytes) {
  const auto document = nlohmann::json::parse(json, nullptr, false);
  if (!document.is_object()) return fail(Errc::kParse, "the header is not a JSON object");
  std::map<std::string, SafetensorsFile::Entry, std::less<>> entries;
  for (const auto& [name, value] : document.items()) {
    if (name == "__metadata__") continue;
    SafetensorsFile::Entry entry;
    const auto field = [&tensor = value](const char* key) {
      return tensor.is_object() && tensor.contains(key) ? tensor[key] : nlohmann::json();
    };
    const auto dtype = field("dtype");
    const auto shape = field("shape");
    const auto offsets = field("data_offsets");
    if (!dtype.is_string() || !shape.is_array() || !offsets.is_array() || offsets.size() != 2 ||
        !offsets[0].is_number_unsigned() || !offsets[1].is_number_unsigned())
      return fail(Errc::kParse, "tensor '{}' has no dtype, shape or data_offsets", name);
    entry.dtype = dtype.get<std::string>();
    std::int64_t elements = 1;
    for (const auto& size : shape) {
      if (!size.is_number_unsigned() || size.get<std::uint64_t>() > 1ULL << 40)
        return fail(Errc::kParse, "tensor '{}': a size is not a number below 2^40", name);
      entry.shape.push_back(size.get<std::int64_t>());
      if (entry.shape.back() != 0 &&
          elements > std::numeric_limits<std::int64_t>::max() / 8 / entry.shape.back())
        return fail(Errc::kParse, "tensor '{}': its sizes do not fit 64 bits", name);
      elements *= entry.shape.back();
    }
    const auto begin = offsets[0].get<std::uint64_t>();
    const auto end = offsets[1].get<std::uint64_t>();
    if (begin > end || end > static_cast<std::uint64_t>(data_bytes))
      return fail(Errc::kParse, "tensor '{}': data_offsets {} ... {} are not within {} bytes", name,
                  begin, end, data_bytes);
    const auto type = known_type(entry.dtype);
    if (type && static_cast<std::uint64_t>(elements * size_of(*type)) != end - begin)
      return fail(Errc::kParse, "tensor '{}': {} elements of {} do not fill {} bytes", name,
                  elements, entry.dtype, end - begin);
    entry.begin = data + static_cast<std::int64_t>(begin);
    entry.end = data + static_cast<std::int64_t>(end);
    entries.emplace(name, std::move(entry));
  }
  return entries;
}

Result<void> check_safetensors_header(std::string_view json, std::int64_t data_bytes) {
  return parse_entries(json, 0, data_bytes).map([](const auto&) {});
}

Result<void> write_safetensors(const std::filesystem::path& path,
                               std::span<const NamedTensor> tensors) {
  nlohmann::ordered_json header;
  std::int64_t offset = 0;
  for (const NamedTensor& tensor : tensors) {
    const auto end = offset + static_cast<std::int64_t>(tensor.bytes.size());
    header[tensor.name] = {{"dtype", type_name(tensor.type)},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = tensors.empty() ? "{}" : header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the data begins aligned
  const std::uint64_t length = text.size();
  std::string content(sizeof length, '\0');
  std::memcpy(content.data(), &length, sizeof length);
  content += text;
  for (const NamedTensor& tensor : tensors)
    content.append(reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size());
  return write_file(path, content);
}

Result<SafetensorsFile> SafetensorsFile::open(const std::filesystem::path& path) {
  DSAPERF_TRY(check_data_file(path));
  SafetensorsFile result;
  result.path_ = path.native();
  std::error_code error;
  const auto size = static_cast<std::int64_t>(std::filesystem::file_size(path, error));
  result.file_.open(path, std::ios::binary);
  std::uint64_t length = 0;
  if (error || !result.file_.read(reinterpret_cast<char*>(&length), sizeof length))
    return fail(Errc::kParse, "{}: too short for a safetensors file", result.path_);
  if (length > static_cast<std::uint64_t>(std::min(kMaxHeader, size - 8)))
    return fail(Errc::kParse, "{}: a header of {} bytes: not a safetensors file", result.path_,
                length);
  std::string json(length, '\0');
  if (!result.file_.read(json.data(), static_cast<std::streamsize>(length)))
    return fail(Errc::kIo, "{}: the header could not be read", result.path_);
  const auto data = static_cast<std::int64_t>(sizeof length + length);
  auto entries = parse_entries(json, data, size - data);
  if (!entries) return tl::unexpected(std::move(entries).error().with_context(result.path_));
  result.entries_ = *std::move(entries);
  return result;
}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries_) names.push_back(name);
  return names;
}

Result<NamedTensor> SafetensorsFile::read(std::string_view name) {
  const auto found = entries_.find(name);
  if (found == entries_.end()) return fail(Errc::kNotFound, "{}: no tensor '{}'", path_, name);
  const Entry& entry = found->second;
  const auto type = known_type(entry.dtype);
  if (!type) return fail(Errc::kUnsupported, "{}: tensor '{}' is {}", path_, name, entry.dtype);
  NamedTensor tensor{.name = std::string(name), .type = *type, .shape = entry.shape};
  tensor.bytes.resize(entry.end - entry.begin);
  file_.clear();
  if (!file_.seekg(entry.begin) || !file_.read(reinterpret_cast<char*>(tensor.bytes.data()),
                                               static_cast<std::streamsize>(tensor.bytes.size())))
    return fail(Errc::kIo, "{}: tensor '{}' could not be read", path_, name);
  return tensor;
}

}  // namespace dsaperf::op
