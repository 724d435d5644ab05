#include "call.hpp"
#include "kernels.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <memory>

namespace nb = nanobind;

namespace dsaperf::python {
namespace {

using LayerHandle = std::shared_ptr<dsaperf_layer>;

dsaperf_device device_of(const std::string& name) {
  if (name == "cpu") return DSAPERF_CPU;
  if (name == "cpu_reference") return DSAPERF_CPU_REFERENCE;
  if (name == "gpu") return DSAPERF_GPU;
  refuse("device '{}' is none of cpu, cpu_reference, gpu", name);
}

// The handles of the C interface, freed with their last owner.
class Layer {
 public:
  Layer(const std::string& config, const std::optional<std::string>& weights, std::uint64_t seed,
        int layer, int heads, bool fp8_projections, const std::string& device, int threads,
        std::uintptr_t stream) {
    auto options = DSAPERF_INIT(dsaperf_layer_options);
    options.config = config.c_str();
    options.weights = weights ? weights->c_str() : nullptr;
    options.seed = seed;
    options.layer = layer;
    options.heads = heads;
    options.fp8_projections = fp8_projections ? 1 : 0;
    options.device = device_of(device);
    options.threads = threads;
    options.stream = reinterpret_cast<CUstream_st*>(stream);
    dsaperf_layer* made = nullptr;
    dsaperf_error error;
    dsaperf_status status = DSAPERF_OK;
    {
      const nb::gil_scoped_release unlocked;
      status = dsaperf_layer_create(&options, &made, &error);
    }
    must(status, error);
    handle_ = LayerHandle(made, dsaperf_layer_destroy);
    info_ = DSAPERF_INIT(dsaperf_layer_info);
    must(dsaperf_layer_get_info(made, &info_, &error), error);
  }

  const LayerHandle& handle() const { return handle_; }
  const dsaperf_layer_info& info() const { return info_; }

 private:
  LayerHandle handle_;
  dsaperf_layer_info info_ = {};
};

class Cache {
 public:
  Cache(const Layer& layer, std::int64_t pages, bool fp8) : layer_(layer.handle()) {
    auto options = DSAPERF_INIT(dsaperf_cache_options);
    options.pages = pages;
    options.kv = fp8 ? DSAPERF_KV_FP8 : DSAPERF_KV_BF16;
    dsaperf_cache* made = nullptr;
    dsaperf_error error;
    must(dsaperf_cache_create(layer_.get(), &options, &made, &error), error);
    handle_ = std::shared_ptr<dsaperf_cache>(made, dsaperf_cache_destroy);
  }

  std::int64_t add_request() const {
    std::int64_t request = 0;
    dsaperf_error error;
    must(dsaperf_cache_add_request(handle_.get(), &request, &error), error);
    return request;
  }
  void remove_request(std::int64_t request) const {
    dsaperf_error error;
    must(dsaperf_cache_remove_request(handle_.get(), request, &error), error);
  }
  std::int64_t fork(std::int64_t parent, std::int64_t tokens) const {
    std::int64_t request = 0;
    dsaperf_error error;
    must(dsaperf_cache_fork(handle_.get(), parent, tokens, &request, &error), error);
    return request;
  }
  std::int64_t length(std::int64_t request) const {
    std::int64_t tokens = 0;
    dsaperf_error error;
    must(dsaperf_cache_length(handle_.get(), request, &tokens, &error), error);
    return tokens;
  }
  std::vector<std::int32_t> block_table(std::int64_t request) const {
    std::vector<std::int32_t> table;
    dsaperf_error error;
    std::int64_t pages = 0;
    must(dsaperf_cache_block_table(handle_.get(), request, nullptr, 0, &pages, &error), error);
    table.resize(static_cast<std::size_t>(pages));
    must(dsaperf_cache_block_table(handle_.get(), request, table.data(), pages, &pages, &error),
         error);
    return table;
  }
  void fill(std::int64_t request, std::int64_t tokens, std::uint64_t seed) const {
    dsaperf_error error;
    dsaperf_status status = DSAPERF_OK;
    {
      const nb::gil_scoped_release unlocked;
      status = dsaperf_cache_fill(handle_.get(), layer_.get(), request, tokens, seed, &error);
    }
    must(status, error);
  }
  std::int64_t free_pages() const {
    auto view = DSAPERF_INIT(dsaperf_cache_view);
    dsaperf_error error;
    must(dsaperf_cache_get_view(handle_.get(), &view, &error), error);
    return view.free_pages;
  }

  void forward(const std::vector<std::int64_t>& requests,
               const std::vector<std::int64_t>& new_tokens, nb::handle x_given,
               nb::handle selection_given, nb::handle y_given,
               nb::handle selection_out_given) const {
    if (requests.size() != new_tokens.size())
      refuse("{} requests, but new_tokens of {}", requests.size(), new_tokens.size());
    Place place;
    const auto tensor = [&place](nb::handle object, const char* name, Element element) {
      place.admit(object, name);
      if (place.gpu) refuse("{}: a layer takes host tensors on every device", name);
      return Tensor(object, name, element, 2, place);
    };
    const Tensor x = tensor(x_given, "x", Element::kBf16);
    const Tensor y = tensor(y_given, "out", Element::kBf16).writable();
    x.expect_packed();
    y.expect_packed();
    y.expect(0, x.size(0));
    y.expect(1, x.size(1));
    auto batch = DSAPERF_INIT(dsaperf_batch);
    std::optional<Tensor> selection, selection_out;
    if (!selection_given.is_none()) {
      selection = tensor(selection_given, "selection", Element::kI32);
      selection->expect_packed();
      batch.selection = selection->data<std::int32_t>();
      batch.selection_count = selection->size(0) * selection->size(1);
    }
    if (!selection_out_given.is_none()) {
      selection_out = tensor(selection_out_given, "selection_out", Element::kI32);
      selection_out->writable().expect_packed();
      selection_out->expect(0, x.size(0));
      batch.selection_out = selection_out->data<std::int32_t>();
    }
    batch.requests = requests.data();
    batch.new_tokens = new_tokens.data();
    batch.count = static_cast<std::int64_t>(requests.size());
    batch.x = x.data<std::uint16_t>();
    batch.x_count = x.size(0) * x.size(1);
    batch.y = y.data<std::uint16_t>();
    dsaperf_error error;
    dsaperf_status status = DSAPERF_OK;
    {
      const nb::gil_scoped_release unlocked;
      status = dsaperf_layer_forward(layer_.get(), handle_.get(), &batch, &error);
    }
    must(status, error);
  }

 private:
  LayerHandle layer_;
  std::shared_ptr<dsaperf_cache> handle_;
};

}  // namespace

void bind_layer(nb::module_& module) {
  nb::class_<Layer>(module, "Layer")
      .def(nb::init<const std::string&, const std::optional<std::string>&, std::uint64_t, int, int,
                    bool, const std::string&, int, std::uintptr_t>(),
           nb::arg("config"), nb::arg("weights").none(), nb::arg("seed"), nb::arg("layer"),
           nb::arg("heads"), nb::arg("fp8_projections"), nb::arg("device"), nb::arg("threads"),
           nb::arg("stream"))
      .def_prop_ro("layer", [](const Layer& l) { return l.info().layer; })
      .def_prop_ro("hidden", [](const Layer& l) { return l.info().hidden; })
      .def_prop_ro("heads", [](const Layer& l) { return l.info().heads; })
      .def_prop_ro("index_heads", [](const Layer& l) { return l.info().index_heads; })
      .def_prop_ro("topk", [](const Layer& l) { return l.info().topk; })
      .def_prop_ro("has_indexer", [](const Layer& l) { return l.info().has_indexer != 0; });
  nb::class_<Cache>(module, "Cache")
      .def(nb::init<const Layer&, std::int64_t, bool>(), nb::arg("layer"), nb::arg("pages"),
           nb::arg("fp8"))
      .def("add_request", &Cache::add_request)
      .def("remove_request", &Cache::remove_request, nb::arg("request"))
      .def("fork", &Cache::fork, nb::arg("parent"), nb::arg("tokens"))
      .def("length", &Cache::length, nb::arg("request"))
      .def("block_table", &Cache::block_table, nb::arg("request"))
      .def("fill", &Cache::fill, nb::arg("request"), nb::arg("tokens"), nb::arg("seed"))
      .def_prop_ro("free_pages", &Cache::free_pages)
      .def("forward", &Cache::forward, nb::arg("requests"), nb::arg("new_tokens"), nb::arg("x"),
           nb::arg("selection").none(), nb::arg("out"), nb::arg("selection_out").none());
}

}  // namespace dsaperf::python
