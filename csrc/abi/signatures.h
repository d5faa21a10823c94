// Kernel signatures of the known Paddle releases. A signature reads "inputs|attributes|outputs", for instance
// "Tensor,OptionalTensor,TensorList|Scalar,int64,vector<int>|Tensor,TensorList".
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "abi/paddle_version.h"

namespace adapter::abi {

enum class SignatureCheck { fits, absent, differs };

// Whether the table holds this very release.
bool signatures_known(PaddleVersion version);

// "3.0.0, 3.1.0, ...".
std::string known_versions();

// Signature by which this release calls `op` on a custom device; nothing if the release has no kernel of that name.
// Throws std::invalid_argument if the release is unknown.
std::optional<std::string_view> find_signature(PaddleVersion version, std::string_view op);

// Compares the kinds of inputs and outputs and the attribute types, in order, with what this release passes. In `given`
// the word DType stands for DataType. `expected` (may be nullptr) receives the release's own signature, empty if
// absent. Throws std::invalid_argument if the release is unknown.
SignatureCheck check_signature(PaddleVersion version, std::string_view op, std::string_view given,
                               std::string* expected);

// Whether any known release calls `op` with the signature `given`.
bool fits_a_release(std::string_view op, std::string_view given);

// Releases that know a kernel `op`, "3.0.0, 3.1.0"; empty if none does. For messages about an absent kernel.
std::string versions_with(std::string_view op);

// Calls `visit(op, signature)` for every kernel of a known release, in alphabetical order.
void for_each_signature(PaddleVersion version,
                        void (*visit)(std::string_view op, std::string_view signature, void* user), void* user);

}  // namespace adapter::abi
