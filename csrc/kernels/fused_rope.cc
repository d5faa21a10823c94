// Rotary position embedding of q, k and v (J. Su et al., "RoFormer: Enhanced Transformer with Rotary Position
// Embedding", arXiv:2104.09864, equation 34): pairs of elements of a head are turned by an angle that grows with the
// position. Pairs are neighbours where use_neox_rotary_style is set, and otherwise the two halves of a head.
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/host/elementwise.h"
#include "adapter_sdk/kernel.h"
#include "bulk.h"
#include "dispatch.h"

namespace adapter::kernels {

// Where sine and cosine come from: a table [length, dim] in T or float32, or base^(-2i / dim) times the position.
struct RopeAngles {
  const void *sin = nullptr, *cos = nullptr;
  DType dtype = DType::float32;
  const int64_t* positions = nullptr;  // [batch, sequence]; NULL: 0, 1, 2, ...
  int64_t length = 0, dim = 0;
  double base = 10000;
};

// One of q, k and v, and its result: [batch, sequence, heads, dim], or [sequence, batch, ...] for time_major.
template <typename T>
struct RopeTensor {
  const T* from = nullptr;
  T* to = nullptr;
  int64_t heads = 0;
};

struct RopeSpace {
  int64_t batch, sequence, dim;
  bool time_major, neighbours, backward;

  RopeSpace(const Shape& q, bool time_major_, bool neighbours_, bool backward_)
      : time_major(time_major_), neighbours(neighbours_), backward(backward_) {
    if (q.rank != 4) throw InvalidArgument("rotary embedding of a tensor of shape " + to_string(q) + ", not of rank 4");
    batch = q[time_major ? 1 : 0], sequence = q[time_major ? 0 : 1], dim = q[3];
    if (dim % 2 != 0) throw InvalidArgument("rotary embedding of heads of odd size: " + to_string(q));
  }
  int64_t token(int64_t b, int64_t s) const { return time_major ? s * batch + b : b * sequence + s; }
  void check(const Shape& other, const char* what) const {
    if (other.rank != 4 || other[time_major ? 1 : 0] != batch || other[time_major ? 0 : 1] != sequence ||
        other[3] != dim)
      throw InvalidArgument(std::string("rotary embedding: ") + what + " of shape " + to_string(other) +
                            " does not fit q's batch, sequence and head size");
  }
};

// Throws InvalidArgument for tables or positions that do not fit.
inline RopeAngles rope_angles(const RopeSpace& space, const OptionalTensor& sin, const OptionalTensor& cos,
                              const OptionalTensor& positions, float base) {
  RopeAngles angles;
  angles.dim = space.dim, angles.base = static_cast<double>(base);
  if (positions) {
    if (positions.shape != Shape{space.batch, space.sequence})
      throw InvalidArgument("rotary embedding: position_ids of shape " + to_string(positions.shape) + ", wanted " +
                            to_string(Shape{space.batch, space.sequence}));
    if (positions.dtype != DType::int64) throw InvalidArgument("rotary embedding: position_ids are not int64");
    angles.positions = host::in<int64_t>(positions);
  }
  if (!sin != !cos) throw InvalidArgument("rotary embedding: sin without cos, or cos without sin");
  if (!sin) return angles;
  const Shape& s = sin.shape;
  if (s != cos.shape || sin.dtype != cos.dtype)
    throw InvalidArgument("rotary embedding: sin and cos differ in shape or dtype");
  const bool fits = s.rank == 2 || (s.rank == 4 && s[0] == 1 && s[2] == 1);
  angles.length = fits ? s[s.rank == 4 ? 1 : 0] : 0;
  if (!fits || s[s.rank - 1] != space.dim ||
      (positions ? angles.length < space.sequence : angles.length != space.sequence))
    throw InvalidArgument("rotary embedding: sin and cos of shape " + to_string(s) + " for " +
                          std::to_string(space.sequence) + " positions and heads of " + std::to_string(space.dim));
  angles.dtype = sin.dtype;
  visit_dtype<float, double, float16, bfloat16>(angles.dtype, "sin and cos", [&](auto tag) {
    angles.sin = host::in<typename decltype(tag)::type>(sin);
    angles.cos = host::in<typename decltype(tag)::type>(cos);
  });
  return angles;
}

// Coefficients of one position: a pair (a, b) becomes (a * a_from_a + b * a_from_b, a * b_from_a + b * b_from_b).
template <typename C>
class RopeRow {
 public:
  RopeRow(const RopeSpace& space, const RopeAngles& angles)
      : space_(space), angles_(angles), half_(space.dim / 2), values_(static_cast<size_t>(4 * half_)) {
    if (angles.sin != nullptr) return;
    for (int64_t i = 0; i < half_; ++i)
      frequencies_.push_back(std::pow(angles.base, -static_cast<double>(2 * i) / static_cast<double>(space.dim)));
  }

  // Throws DeviceError for a position outside the table.
  void move_to(int64_t position) {
    if (position == position_) return;
    position_ = position;
    if (angles_.sin != nullptr && (position < 0 || position >= angles_.length))
      throw DeviceError("rotary embedding: position " + std::to_string(position) + " is outside a table of " +
                        std::to_string(angles_.length) + " rows");
    for (int64_t i = 0; i < half_; ++i) {
      const int64_t a = space_.neighbours ? 2 * i : i, b = space_.neighbours ? 2 * i + 1 : i + half_;
      const bool one_angle = angles_.sin == nullptr && space_.neighbours;
      const std::pair<C, C> of_a = at(position, a), of_b = one_angle ? of_a : at(position, b);
      const auto [sin_a, cos_a] = of_a;
      const auto [sin_b, cos_b] = of_b;
      C* own = values_.data() + i;
      own[0] = cos_a, own[half_] = space_.backward ? sin_b : -sin_a;
      own[2 * half_] = space_.backward ? -sin_a : sin_b, own[3 * half_] = cos_b;
    }
  }

  // Turns a head of `dim` elements; `to` may be `from`.
  void turn(const C* from, C* to) const {
    const int64_t n = half_;
    const C *aa = values_.data(), *ab = aa + n, *ba = ab + n, *bb = ba + n;
    if (space_.neighbours) {
      ADAPTER_INDEPENDENT
      for (int64_t i = 0; i < n; ++i) {
        const C a = from[2 * i], b = from[2 * i + 1];
        to[2 * i] = a * aa[i] + b * ab[i];
        to[2 * i + 1] = a * ba[i] + b * bb[i];
      }
      return;
    }
    ADAPTER_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) {
      const C a = from[i], b = from[i + n];
      to[i] = a * aa[i] + b * ab[i];
      to[i + n] = a * ba[i] + b * bb[i];
    }
  }

 private:
  std::pair<C, C> at(int64_t position, int64_t i) const {
    if (angles_.sin == nullptr) {
      // Where halves are turned, too, elements 2j and 2j + 1 of the table share an angle.
      const double angle = static_cast<double>(position) * frequencies_[static_cast<size_t>(i / 2)];
      return {static_cast<C>(std::sin(angle)), static_cast<C>(std::cos(angle))};
    }
    std::pair<C, C> result;
    visit_dtype<float, double, float16, bfloat16>(angles_.dtype, "sin and cos", [&](auto tag) {
      using P = typename decltype(tag)::type;
      const int64_t k = position * angles_.dim + i;
      result = {static_cast<C>(static_cast<const P*>(angles_.sin)[k]),
                static_cast<C>(static_cast<const P*>(angles_.cos)[k])};
    });
    return result;
  }

  RopeSpace space_;
  RopeAngles angles_;
  int64_t half_, position_ = -1;
  std::vector<C> values_;
  std::vector<double> frequencies_;
};

template <typename T>
void turn_heads(const RopeRow<Compute<T>>& row, const RopeTensor<T>& tensor, int64_t token, int64_t dim,
                std::vector<Compute<T>>& stage) {
  const int64_t n = tensor.heads * dim;
  const T* from = tensor.from + token * n;
  T* to = tensor.to + token * n;
  if constexpr (is_half<T>) {
    stage.resize(static_cast<size_t>(n));
    host::widen(from, 1, stage.data(), n);
    for (int64_t h = 0; h < n; h += dim) row.turn(stage.data() + h, stage.data() + h);
    host::narrow(stage.data(), to, 1, n);
  } else {
    for (int64_t h = 0; h < n; h += dim) row.turn(from + h, to + h);
  }
}

template <typename T>
void launch_rope(Context& ctx, const RopeSpace& space, const RopeAngles& angles,
                 const std::array<RopeTensor<T>, 3>& tensors) {
  int64_t heads = 0;
  for (const RopeTensor<T>& t : tensors) heads += t.heads;
  host::launch(ctx, [=] {
    if (space.dim == 0 || heads == 0) return;
    host::parallel_for(space.sequence, host::rows_grain(space.batch * heads * space.dim),
                       [&](int64_t begin, int64_t end) {
                         RopeRow<Compute<T>> row(space, angles);
                         std::vector<Compute<T>> stage;
                         for (int64_t s = begin; s < end; ++s)
                           for (int64_t b = 0; b < space.batch; ++b) {
                             row.move_to(angles.positions ? angles.positions[b * space.sequence + s] : s);
                             for (const RopeTensor<T>& t : tensors)
                               if (t.heads > 0) turn_heads(row, t, space.token(b, s), space.dim, stage);
                           }
                       });
  });
}

template <typename T>
RopeTensor<T> rope_tensor(Context& ctx, const Tensor& x, Output& out) {
  ctx.resize(out, x.shape);
  return {host::in<T>(x), host::out<T>(ctx, out), x.shape[2]};
}

// An output that is wanted although its input is absent becomes zeros of the shape `like`.
template <typename T>
RopeTensor<T> optional_rope_tensor(Context& ctx, const RopeSpace& space, const OptionalTensor& x, const char* what,
                                   const Shape& like, Output& out) {
  if (x) {
    space.check(x.shape, what);
    if (out) return rope_tensor<T>(ctx, x, out);
  } else if (out) {
    ctx.resize(out, like);
    T* r = host::out<T>(ctx, out);
    const int64_t n = like.numel();
    host::launch(ctx, [=] { fill_all(r, n, T(0)); });
  }
  return {};
}

template <typename T>
void fused_rotary_position_embedding(Context& ctx, const Tensor& q, const OptionalTensor& k, const OptionalTensor& v,
                                     const OptionalTensor& sin, const OptionalTensor& cos,
                                     const OptionalTensor& position_ids, bool use_neox_rotary_style, bool time_major,
                                     float rotary_emb_base, Output& out_q, Output& out_k, Output& out_v) {
  const RopeSpace space(q.shape, time_major, use_neox_rotary_style, false);
  const RopeAngles angles = rope_angles(space, sin, cos, position_ids, rotary_emb_base);
  std::array<RopeTensor<T>, 3> tensors;
  if (out_q) tensors[0] = rope_tensor<T>(ctx, q, out_q);
  tensors[1] = optional_rope_tensor<T>(ctx, space, k, "k", Shape{0}, out_k);
  tensors[2] = optional_rope_tensor<T>(ctx, space, v, "v", Shape{0}, out_v);
  launch_rope<T>(ctx, space, angles, tensors);
}

// A rotation's gradient turns back.
template <typename T>
void fused_rotary_position_embedding_grad(Context& ctx, const OptionalTensor& sin, const OptionalTensor& cos,
                                          const OptionalTensor& position_ids, const Tensor& out_q_grad,
                                          const OptionalTensor& out_k_grad, const OptionalTensor& out_v_grad,
                                          bool use_neox_rotary_style, bool time_major, float rotary_emb_base,
                                          Output& q_grad, Output& k_grad, Output& v_grad) {
  const RopeSpace space(out_q_grad.shape, time_major, use_neox_rotary_style, true);
  const RopeAngles angles = rope_angles(space, sin, cos, position_ids, rotary_emb_base);
  std::array<RopeTensor<T>, 3> tensors;
  if (q_grad) tensors[0] = rope_tensor<T>(ctx, out_q_grad, q_grad);
  // Where the result for k or v was not used, its gradient is zero. Paddle does not tell the shape; models give k and v
  // the same one.
  const Shape& k_like = out_v_grad ? out_v_grad.shape : out_q_grad.shape;
  const Shape& v_like = out_k_grad ? out_k_grad.shape : out_q_grad.shape;
  tensors[1] = optional_rope_tensor<T>(ctx, space, out_k_grad, "the gradient of k", k_like, k_grad);
  tensors[2] = optional_rope_tensor<T>(ctx, space, out_v_grad, "the gradient of v", v_like, v_grad);
  launch_rope<T>(ctx, space, angles, tensors);
}

ADAPTER_FUSED_KERNEL("fused_rotary_position_embedding", fused_rotary_position_embedding, none, float, double, float16,
                     bfloat16)
ADAPTER_FUSED_KERNEL("fused_rotary_position_embedding_grad", fused_rotary_position_embedding_grad, none, float, double,
                     float16, bfloat16)

}  // namespace adapter::kernels
