#include "abi/paddle_exception.h"

#include <exception>
#include <utility>

// A twin of Paddle's own exception class: same qualified name (so the same RTTI name, by which catch clauses match
// across libraries) and the same layout, which has not changed in 3.0.0 - 3.3.1.
namespace common::enforce {

// The static executor appends "[operator < name > error]" to err_str_, and to_static drops lines that hold these words.
struct EnforceNotMet : public std::exception {
  EnforceNotMet(int code, std::string message)
      : code_(code), err_str_(message + "\n"), simple_err_str_(std::move(message)) {}
  const char* what() const noexcept override { return simple_err_str_.c_str(); }

  int code_;
  std::string err_str_;
  std::string simple_err_str_;
  bool guard_ = true;  // PaddleFatalGuard; true makes its destructor do nothing
};

}  // namespace common::enforce

namespace adapter::abi {
namespace {

// Paddle's Python binding picks the Python exception by this prefix.
const char* prefix_of(int code) {
  switch (code) {
    case 1: return "(InvalidArgument) ";
    case 5: return "(ResourceExhausted) ";
    case 9: return "(Unimplemented) ";
    default: return "(External) ";
  }
}

}  // namespace

void throw_to_paddle(int paddle_code, const std::string& message) {
  throw common::enforce::EnforceNotMet(paddle_code, prefix_of(paddle_code) + message);
}

}  // namespace adapter::abi
