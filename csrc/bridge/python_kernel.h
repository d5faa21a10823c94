// A kernel whose body is a Python function.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "adapter_sdk/kernel.h"
#include "bridge/arrays.h"

namespace adapter::bridge {

// What an eager call has in registers and on the stack (x86-64 System V): whole words and floating point numbers travel
// apart, each kind first in its own registers, then on the stack in the order of the parameters.
struct Registers {
  const uint64_t* whole;   // six; the first is the device context
  const double* floating;  // eight
  const uint64_t* stack;
};

class PythonKernel {
 public:
  // Throws InvalidArgument for a word of the signature that no Paddle argument has. Needs the interpreter's lock, and
  // keeps a reference to `function`.
  PythonKernel(std::string operator_name, const std::string& signature, DType dtype, PyObject* function,
               const ArrayMaker& arrays);

  Kernel& kernel() { return kernel_; }

  // Both throw what Paddle understands.
  void call_eager(const Registers& registers);
  void call_static(void* kernel_context);

  // The argument that every kernel function gets first; its methods speak of the call that runs on this thread.
  static PyObject* methods();
  static void set_context(PyObject* context);

 private:
  friend struct ContextMethods;
  struct Parameter {
    int32_t kind;  // Paddle's number
    bool floating;
    size_t place;  // of its kind: register or, past the registers, word on the stack
    bool on_stack;
  };
  struct Call;
  enum class Special { none, contiguous, strided_copy };

  std::vector<Parameter> parameters(const std::string& words, detail::Role role, std::vector<int32_t>& kinds);
  void run(Call& call, const void* device_context, bool is_static);
  static void body(Context& ctx, void* call);
  static void collect(detail::CallTensors& tensors, void* call);
  void call_function(Context& ctx, Call& call) const;
  Ref attribute(const Call& call, const Parameter& parameter, detail::StaticReader* reader) const;
  Ref input(Context& ctx, const Tensor& tensor, bool optional) const;
  void lay_out_view(Context& ctx, Call& call) const;

  Kernel kernel_;
  std::string operator_name_;
  DType dtype_;
  Special special_;
  PyObject* function_;
  const ArrayMaker& arrays_;
  std::vector<Parameter> inputs_, attributes_, outputs_;
  size_t next_whole_ = 1, next_floating_ = 0, next_stack_ = 0;  // used while parameters are given their places
};

}  // namespace adapter::bridge
