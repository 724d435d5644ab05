#include "dsaperf/trace/kernel_name.hpp"

#include <cxxabi.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <memory>

namespace dsaperf::trace {
namespace {

bool is_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '$';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  std::size_t at = text.find(from);
  if (at == std::string::npos) return;
  std::string result;
  std::size_t done = 0;
  for (; at != std::string::npos; at = text.find(from, done)) {
    result.append(text, done, at - done);
    result += to;
    done = at + from.size();
  }
  text = result.append(text, done);
}

// The identifiers of a nested name (_ZN3foo3barI...), where no demangler knows the rest.
std::string identifiers_of(std::string_view mangled) {
  std::string result;
  std::size_t at = mangled.starts_with("_ZN") ? 3 : 2;
  while (at < mangled.size() && is_digit(mangled[at])) {
    std::size_t length = 0;
    while (at < mangled.size() && is_digit(mangled[at]) && length < 100000) {
      length = 10 * length + static_cast<std::size_t>(mangled[at++] - '0');
    }
    if (length > mangled.size() - at) break;
    const auto word = mangled.substr(at, length);
    at += length;
    if (word.starts_with("_GLOBAL__N_")) continue;
    if (!result.empty()) result += "::";
    result += word;
  }
  return result;
}

std::string demangled(std::string_view mangled) {
  const auto attempt = [](const std::string& name) {
    int status = 0;
    const std::unique_ptr<char, void (*)(void*)> text(
        abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status), std::free);
    return status == 0 && text ? std::string(text.get()) : std::string();
  };
  // Templates nest: a crafted name could exhaust the demangler's stack.
  constexpr std::size_t kLongest = 16384;
  if (mangled.size() > kLongest) return identifiers_of(mangled);
  std::string name(mangled);
  if (auto text = attempt(name); !text.empty()) return text;
  // bfloat16 is newer than most demanglers; nullptr_t, as short, stands in for it.
  if (name.find("DF16b") != std::string::npos) {
    replace_all(name, "DF16b", "Dn");
    if (auto text = attempt(name); !text.empty()) {
      replace_all(text, "decltype(nullptr)", "__bf16");
      return text;
    }
  }
  return identifiers_of(mangled);
}

// Position after the group that opens at `at`, or the end where it is not closed.
std::size_t after_group(std::string_view text, std::size_t at) {
  int depth = 0;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '(' || c == '[' || c == '{') ++depth;
    if ((c == ')' || c == ']' || c == '}') && --depth == 0) return at + 1;
  }
  return text.size();
}

// {lambda(int)#2} and [lambda(int) (instance 2)] become lambda#2.
std::string plain_lambdas(std::string_view text) {
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    const auto rest = text.substr(at);
    if (rest.starts_with("{lambda(") || rest.starts_with("[lambda(")) {
      const std::size_t end = after_group(text, at);
      std::size_t digit = end;
      while (digit > at && !is_digit(text[digit - 1])) --digit;
      std::size_t first = digit;
      while (first > at && is_digit(text[first - 1])) --first;
      result += "lambda#";
      result += text.substr(first, digit - first);
      at = end;
    } else {
      result += text[at++];
    }
  }
  return result;
}

// A group in round brackets holds a type that what follows is cast to.
bool is_cast(std::string_view text, std::size_t open, std::size_t close) {
  if (open > 0 && (is_word(text[open - 1]) || text[open - 1] == '>' || text[open - 1] == ')')) {
    return false;
  }
  return close < text.size() && (is_word(text[close]) || text[close] == '-');
}

// Template arguments without what tools write differently.
std::string plain_arguments(std::string_view text) {
  std::string result;
  const auto drop_word = [&](std::string_view word) {
    return word == "const" || word == "volatile";
  };
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (c == '(') {
      const std::size_t close = after_group(text, at);
      const auto inside = text.substr(at + 1, close - at - 2 < text.size() ? close - at - 2 : 0);
      if (is_cast(text, at, close) || close - at < 3) {
        at = close;  // "(int)64", "()"
      } else if (at > 0 && (is_word(text[at - 1]) || text[at - 1] == '>' || text[at - 1] == ')')) {
        at = close;  // parameters
      } else {
        result += plain_arguments(inside);  // "(64)", "(false)"
        at = close;
      }
      continue;
    }
    if (is_digit(c) && (result.empty() || !is_word(result.back()))) {
      while (at < text.size() && is_digit(text[at])) result += text[at++];
      while (at < text.size() &&
             std::string_view("uUlL").find(text[at]) != std::string_view::npos) {
        ++at;
      }
      continue;
    }
    if (is_word(c) && (result.empty() || !is_word(result.back()))) {
      std::size_t end = at;
      while (end < text.size() && is_word(text[end])) ++end;
      const auto word = text.substr(at, end - at);
      const bool returns =
          word == "void" && end + 1 < text.size() && text[end] == ' ' && is_word(text[end + 1]);
      if (word == "true" || word == "false") {
        result += word == "true" ? '1' : '0';
      } else if (!drop_word(word) && !returns) {
        result += word;
      }
      at = end;
      continue;
    }
    if (c == ' ') {
      // Only between words of a type ("unsigned int") does a space say something.
      const bool between = !result.empty() && is_word(result.back()) && at + 1 < text.size() &&
                           is_word(text[at + 1]) && !text.substr(at + 1).starts_with("const") &&
                           !text.substr(at + 1).starts_with("volatile");
      if (between) result += ' ';
      ++at;
      continue;
    }
    result += c;
    ++at;
  }
  return result;
}

// Where the variable part of a generated name without brackets begins; its size if it has none.
std::size_t fixed_part(std::string_view name) {
  const auto npos = std::string_view::npos;
  // CUTLASS DSL: kernel_cutlass_kernel_..._object_at__tensorptr...
  if (const auto at = name.find("_object_at_"); at != npos) return at;
  // Triton before 3: ..._0d1d2d3de; inductor: triton_poi_fused_add_0.
  std::size_t tail = name.size();
  while (tail > 0 && (is_digit(name[tail - 1]) || name[tail - 1] == 'd' || name[tail - 1] == 'e' ||
                      name[tail - 1] == 'c')) {
    --tail;
  }
  if (tail > 1 && tail < name.size() && name[tail - 1] == '_' && is_digit(name[tail])) {
    const auto suffix = name.substr(tail);
    const bool plain = std::all_of(suffix.begin(), suffix.end(), is_digit);
    if (!plain || name.starts_with("triton_")) return tail - 1;
  }
  // A tile: digits x digits.
  for (std::size_t x = 1; x + 1 < name.size(); ++x) {
    if (name[x] != 'x' || !is_digit(name[x - 1]) || !is_digit(name[x + 1])) continue;
    std::size_t begin = x;
    while (begin > 0 && is_digit(name[begin - 1])) --begin;
    for (const std::string_view prefix : {"_tilesize", "_MT", "_"}) {
      if (begin >= prefix.size() && name.substr(begin - prefix.size(), prefix.size()) == prefix) {
        begin -= prefix.size();
        break;
      }
    }
    const auto front = name.substr(0, begin);
    if (const auto knob = front.rfind("_knob_"); knob != npos) return knob;
    return begin == 0 ? name.size() : begin;
  }
  return name.size();
}

}  // namespace

std::string KernelName::key() const {
  return arguments.empty() ? function : function + "<" + arguments + ">";
}

std::string_view KernelName::base() const {
  const std::string_view whole(function);
  const auto colons = whole.rfind("::");
  return colons == std::string_view::npos ? whole : whole.substr(colons + 2);
}

std::string demangled_name(std::string_view printed) {
  if (!printed.starts_with("_Z")) return std::string(printed);
  auto text = demangled(printed);
  return text.empty() ? std::string(printed) : text;
}

KernelName canonical_name(std::string_view printed) {
  std::string text = demangled_name(printed);
  for (const std::string_view anonymous :
       {"<unnamed>::", "(anonymous namespace)::", "{anonymous}::", "(unnamed)::", "(anonymous)::",
        "`anonymous namespace'::"}) {
    replace_all(text, anonymous, "");
  }
  if (const auto clone = text.find(" [clone"); clone != std::string::npos) text.resize(clone);
  if (text.ends_with(".kd")) text.resize(text.size() - 3);
  replace_all(text, "operator ()", "operator()");
  replace_all(text, "operator()() const", "operator()");
  text = plain_lambdas(text);

  // The parameter list is the first round bracket outside all others; what stands before the last
  // space outside brackets is the return type.
  KernelName name;
  std::string function;
  std::string arguments;
  int angle = 0;
  int other = 0;
  std::size_t word_begin = 0;  // in `function`
  std::size_t arguments_begin = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '(' || c == '[' || c == '{') {
      if (c == '(' && angle == 0 && other == 0 && !function.empty() &&
          !function.ends_with("operator") && function.back() != ' ') {
        break;
      }
      ++other;
    } else if (c == ')' || c == ']' || c == '}') {
      other = std::max(0, other - 1);
    } else if (other == 0 && c == '<') {
      if (angle++ == 0) {
        if (arguments.size() > arguments_begin) arguments += "; ";
        continue;
      }
    } else if (other == 0 && c == '>' && angle > 0 && text[at - 1] != '-') {
      if (--angle == 0) continue;
    } else if (c == ' ' && angle == 0 && other == 0) {
      word_begin = function.size() + 1;
      arguments_begin = arguments.size();
    }
    (angle > 0 ? arguments : function) += c;
  }
  name.cut = angle > 0 || other > 0;
  if (word_begin >= function.size()) {
    // The text ends with a space, or is nothing but a return type: keep it all.
    word_begin = 0;
    arguments_begin = 0;
    while (!function.empty() && function.back() == ' ') function.pop_back();
  }
  name.function = function.substr(word_begin);
  if (name.function.empty()) name.function = text;
  if (arguments_begin == 0 && arguments.starts_with("; ")) arguments.erase(0, 2);
  std::string_view raw(arguments);
  raw.remove_prefix(std::min(arguments_begin, raw.size()));
  if (raw.starts_with("; ")) raw.remove_prefix(2);
  name.arguments = plain_arguments(raw);
  if (name.arguments.empty() && name.function.find("::") == std::string::npos) {
    const std::size_t split = fixed_part(name.function);
    if (split < name.function.size()) {
      name.arguments = name.function.substr(split + (name.function[split] == '_' ? 1 : 0));
      name.function.resize(split);
    }
  }
  return name;
}

namespace {

// What an elementwise kernel of torch does: the first functor or named kernel in its arguments.
std::string_view functor_of(std::string_view arguments) {
  std::string_view best;
  for (std::size_t at = 0; at < arguments.size();) {
    if (!is_word(arguments[at])) {
      ++at;
      continue;
    }
    std::size_t end = at;
    while (end < arguments.size() && is_word(arguments[end])) ++end;
    const auto word = arguments.substr(at, end - at);
    at = end;
    const bool impl = word.starts_with("gpu_kernel_impl") || word.starts_with("gpu_index_kernel");
    const bool generic = word == "BinaryFunctor" || word == "AUnaryFunctor" ||
                         word == "BUnaryFunctor" || word == "func_wrapper_t";
    const bool says = word.ends_with("Functor") || word.ends_with("Ops") ||
                      word.find("_kernel") != std::string_view::npos ||
                      word.find("Functor_") != std::string_view::npos ||
                      word.find("FunctorOnSelf_") != std::string_view::npos ||
                      word.starts_with("launch_clamp") || word.ends_with("_cuda_out");
    if (!says || impl) continue;
    if (!generic) return word;
    if (best.empty()) best = word;
  }
  return best;
}

}  // namespace

std::string display_name(const KernelName& name, std::size_t width) {
  std::string shown = name.function;
  for (const std::string_view dull :
       {"at::native::", "at_cuda_detail::", "detail::", "sbtopk::", "internal::", "device::"}) {
    replace_all(shown, dull, "");
  }
  if (const auto at = shown.find("kernel_cutlass_"); at == 0) {
    // kernel_cutlass_kernel_flashinfernormkernelsrmsnormRMSNormKernel: the class ends it.
    const auto upper = std::find_if(shown.begin(), shown.end(), [](char c) {
      return std::isupper(static_cast<unsigned char>(c));
    });
    if (upper != shown.end()) shown = "cutlass_dsl " + std::string(upper, shown.end());
  } else if (shown.find("elementwise_kernel") != std::string::npos ||
             shown.starts_with("reduce_kernel") || shown.starts_with("multi_tensor_apply")) {
    if (const auto functor = functor_of(name.arguments); !functor.empty()) {
      shown += ": ";
      shown += functor;
    }
  } else if ((shown == "cutlass::device_kernel" || shown == "cutlass::Kernel2" ||
              shown == "cutlass::Kernel") &&
             !name.arguments.empty()) {
    std::string_view inner = name.arguments;
    for (const std::string_view wrapper :
         {"flash::enable_sm90_or_later<", "at::cuda::detail::enable_3x_kernel_for_sm9x<"}) {
      if (inner.starts_with(wrapper)) inner.remove_prefix(wrapper.size());
    }
    shown += ": ";
    shown += inner.substr(0, inner.find_first_of("<,;"));
  } else if (name.function.find("::") == std::string::npos && !name.arguments.empty() &&
             !shown.starts_with("triton_")) {
    const auto tile = std::string_view(name.arguments).substr(0, 24);
    if (is_digit(tile.front())) shown += " " + std::string(tile.substr(0, tile.find('_', 12)));
  }
  if (shown.size() > width && width > 3) {
    shown.resize(width - 3);
    shown += "...";
  }
  return shown;
}

bool same_function(const KernelName& a, const KernelName& b) {
  if (a.function == b.function) return true;
  // ncu names no namespaces.
  const bool a_plain = a.function.find("::") == std::string::npos;
  const bool b_plain = b.function.find("::") == std::string::npos;
  if (a_plain != b_plain) return a.base() == b.base();
  if (a.cut || b.cut) {
    const auto size = std::min(a.function.size(), b.function.size());
    return size > 8 && a.function.compare(0, size, b.function, 0, size) == 0;
  }
  return false;
}

}  // namespace dsaperf::trace
