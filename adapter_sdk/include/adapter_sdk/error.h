// Errors that SDK and plugin code throw; every boundary to Paddle turns them into the Python exception named beside
// them.
#pragma once

#include <stdexcept>
#include <string>

namespace adapter {

// Base of all SDK errors. `paddle_code` is Paddle's common::ErrorCode.
class Error : public std::runtime_error {
 public:
  Error(int paddle_code, const std::string& message) : std::runtime_error(message), paddle_code_(paddle_code) {}
  int paddle_code() const noexcept { return paddle_code_; }

 private:
  int paddle_code_;
};

// Python: ValueError.
class InvalidArgument : public Error {
 public:
  explicit InvalidArgument(const std::string& message) : Error(1, message) {}
};

// Python: MemoryError.
class OutOfMemory : public Error {
 public:
  explicit OutOfMemory(const std::string& message) : Error(5, message) {}
};

// Python: NotImplementedError.
class Unimplemented : public Error {
 public:
  explicit Unimplemented(const std::string& message) : Error(9, message) {}
};

// Python: OSError, which is what Paddle makes of its error code External.
class DeviceError : public Error {
 public:
  explicit DeviceError(const std::string& message) : Error(12, message) {}
};

}  // namespace adapter
