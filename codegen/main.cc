// Runs the compiled model on raw integers: main MODEL.so INPUT... OUTPUT, one file for each input of the model.
//
// A file holds values in C order, the batch axis first, of the element type in manifest.json and within its lo and hi.
// Compile it with the command in manifest.json under "compile".
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <new>
#include <string>
#include <vector>

namespace ffi = tvm::ffi;

struct HostMemory {
  static constexpr std::align_val_t kAlign{64};  // what compiled kernels assume
  void AllocData(DLTensor* t) { t->data = ::operator new(ffi::GetDataSize(*t), kAlign); }
  void FreeData(DLTensor* t) { ::operator delete(t->data, kAlign); }
};

struct Input {
  const char* dtype;
  std::vector<int64_t> shape;  // of one sample
  std::vector<char> bytes;
  size_t sample = 0;  // bytes of one sample
};

// samples at..at+count of an input, repeated from the first one where the file has no more
ffi::Tensor Take(const Input& in, size_t at, size_t count) {
  std::vector<int64_t> shape = {static_cast<int64_t>(count)};
  shape.insert(shape.end(), in.shape.begin(), in.shape.end());
  ffi::Tensor x = ffi::Tensor::FromNDAlloc(HostMemory(), ffi::ShapeView(shape.data(), shape.size()),
                                           ffi::StringToDLDataType(in.dtype), DLDevice{kDLCPU, 0});
  for (size_t i = 0; i < count; ++i) {
    const size_t from = (at + i) * in.sample < in.bytes.size() ? (at + i) * in.sample : 0;
    std::copy_n(in.bytes.begin() + from, in.sample, static_cast<char*>(x.data_ptr()) + i * in.sample);
  }
  return x;
}

int Run(int argc, char** argv) {
  std::vector<Input> inputs = {@INPUTS@};
  const size_t group = @GROUP@;        // samples computed at once
  const bool whole_groups = @FIXED@;  // the model takes no smaller group
  if (argc != static_cast<int>(inputs.size()) + 3) {
    std::fprintf(stderr, "usage: %s MODEL.so%s OUTPUT\n", argv[0], "@USAGE@");
    return 2;
  }
  size_t samples = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    Input& in = inputs[i];
    std::ifstream file(argv[i + 2], std::ios::binary);
    in.bytes.assign(std::istreambuf_iterator<char>(file), {});
    in.sample = ffi::StringToDLDataType(in.dtype).bits / 8;
    for (int64_t s : in.shape) in.sample *= s;
    if (!file || in.bytes.empty() || in.bytes.size() % in.sample || (i && in.bytes.size() / in.sample != samples)) {
      std::fprintf(stderr, "%s: %zu bytes; one sample takes %zu, and every input as many samples\n", argv[i + 2],
                   in.bytes.size(), in.sample);
      return 1;
    }
    samples = in.bytes.size() / in.sample;
  }

  ffi::Module library = ffi::Module::LoadFromFile(std::filesystem::absolute(argv[1]).string());
  ffi::Module machine = library->GetFunction("vm_load_executable").value()().cast<ffi::Module>();
  const int pooled = 2;  // AllocatorType::kPooled
  machine->GetFunction("vm_initialization").value()(static_cast<int>(kDLCPU), 0, pooled);
  ffi::Function run = machine->GetFunction("main").value();

  std::ofstream out(argv[argc - 1], std::ios::binary);
  for (size_t at = 0; at < samples; at += group) {
    const size_t count = std::min(group, samples - at), taken = whole_groups ? group : count;
    std::vector<ffi::Tensor> xs;
    for (const Input& in : inputs) xs.push_back(Take(in, at, taken));
    std::vector<ffi::AnyView> args(xs.begin(), xs.end());
    ffi::Any result;
    run.CallPacked(args.data(), args.size(), &result);
    ffi::Tensor y = result.cast<ffi::Tensor>();
    out.write(static_cast<const char*>(y.data_ptr()), ffi::GetDataSize(y) / taken * count);
  }
  out.close();
  if (!out) {
    std::fprintf(stderr, "cannot write %s\n", argv[argc - 1]);
    return 1;
  }
  return 0;
}

int main(int argc, char** argv) {
  try {
    return Run(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
