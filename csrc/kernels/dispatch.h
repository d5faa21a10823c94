// From a dtype known at run time to a C++ type.
#pragma once

#include <string>

#include "adapter_sdk/dtype.h"
#include "adapter_sdk/error.h"

namespace adapter::kernels {

template <typename T>
struct TypeTag {
  using type = T;
};

// Calls visit(TypeTag<T>{}) for the T of `Ts` that has this dtype. Throws InvalidArgument, naming `what`, for any
// other.
template <typename... Ts, typename Visit>
void visit_dtype(DType dtype, const char* what, Visit&& visit) {
  const bool visited = ((dtype == dtype_of<Ts> && (visit(TypeTag<Ts>{}), true)) || ...);
  if (!visited) throw InvalidArgument(std::string(what) + " cannot be " + name_of(dtype));
}

}  // namespace adapter::kernels
