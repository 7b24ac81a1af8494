// Runs a compiled package on examples in files, without Python: caller PACKAGE OUTPUTS INPUT...
//
// A file has the bytes of a tensor behind its type, "f" (float32) or "l" (int64), its number of dimensions, and
// these, as int64. Examples run REPEATS times; the last line that is printed is the median of the seconds.
#include <ATen/ATen.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <exception>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

constexpr int REPEATS = 20;

template <typename T>
T read_number(std::istream& stream) {
  T number{};
  stream.read(reinterpret_cast<char*>(&number), sizeof(number));
  return number;
}

at::Tensor read_tensor(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  const char type = read_number<char>(stream);
  std::vector<int64_t> sizes(static_cast<size_t>(read_number<int64_t>(stream)));
  for (int64_t& size : sizes) size = read_number<int64_t>(stream);
  at::Tensor tensor = at::empty(sizes, type == 'f' ? at::kFloat : at::kLong);
  stream.read(static_cast<char*>(tensor.data_ptr()), static_cast<std::streamsize>(tensor.nbytes()));
  if (!stream) throw std::runtime_error(path + " cannot be read");
  return tensor;
}

void write_tensor(const at::Tensor& tensor, const std::string& path) {
  const at::Tensor whole = tensor.to(at::kFloat).contiguous();
  std::ofstream stream(path, std::ios::binary);
  stream.write(static_cast<const char*>(whole.data_ptr()), static_cast<std::streamsize>(whole.nbytes()));
  stream.flush();
  if (!stream) throw std::runtime_error(path + " cannot be written");
}

void call(const std::vector<std::string>& arguments) {
  std::vector<at::Tensor> inputs;
  for (size_t i = 2; i < arguments.size(); ++i) inputs.push_back(read_tensor(arguments[i]));
  torch::inductor::AOTIModelPackageLoader package(arguments[0]);
  std::vector<at::Tensor> outputs = package.run(inputs);  // loads code
  std::vector<double> seconds;
  for (int i = 0; i < REPEATS; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    outputs = package.run(inputs);
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  write_tensor(outputs.at(0), arguments[1]);
  std::sort(seconds.begin(), seconds.end());
  std::cout << seconds[REPEATS / 2] << "\n";
}

}  // namespace

int main(int count, char** values) {
  const std::vector<std::string> arguments(values + 1, values + count);
  if (arguments.size() < 3) {
    std::cerr << "usage: caller PACKAGE OUTPUTS INPUT...\n";
    return 2;
  }
  try {
    call(arguments);
  } catch (const std::exception& error) {
    std::cerr << "caller: " << error.what() << "\n";
    return 1;
  }
  return 0;
}
