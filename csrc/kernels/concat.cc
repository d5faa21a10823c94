#include <cstring>

#include "adapter_sdk/host/access.h"
#include "adapter_sdk/kernel.h"
#include "bulk.h"

namespace adapter::kernels {

// One operand of a concatenation: `rows` blocks of `length` elements.
template <typename T>
struct Piece {
  T* data;
  int64_t length;
};

inline int64_t rows_before(const Shape& shape, int axis) { return shape.product(0, axis); }

// Copies between a whole [rows, total] and its pieces, which lie side by side in each row.
template <typename T, typename Copy>
void each_piece(int64_t rows, const std::vector<Piece<T>>& pieces, Copy&& copy) {
  int64_t total = 0;
  for (const Piece<T>& piece : pieces) total += piece.length;
  int64_t before = 0;
  if (total < host::kElementGrain) {  // whole rows, all pieces of one together
    copy_pieces(rows, total, [&](int64_t row, int64_t, int64_t) {
      int64_t position = row * total;
      for (const Piece<T>& piece : pieces) {
        if (piece.length && piece.data) copy(position, piece.data + row * piece.length, piece.length);
        position += piece.length;
      }
    });
    return;
  }
  for (const Piece<T>& piece : pieces) {
    if (piece.data)
      copy_pieces(rows, piece.length, [&](int64_t row, int64_t first, int64_t n) {
        copy(row * total + before + first, piece.data + row * piece.length + first, n);
      });
    before += piece.length;
  }
}

template <typename T>
void concat(Context& ctx, const TensorList& xs, const Scalar& axis_value, Output& out) {
  if (xs.empty()) throw InvalidArgument("concat of no tensors");
  const int axis = xs.front().shape.axis(axis_value.integer);
  Shape shape = xs.front().shape;
  for (size_t i = 1; i < xs.size(); ++i) shape[axis] += xs[i].shape[axis];
  ctx.resize(out, shape);
  T* r = host::out<T>(ctx, out);
  std::vector<Piece<const T>> pieces;
  for (const Tensor& x : xs) pieces.push_back({host::in<T>(x), x.shape.product(axis, x.shape.rank)});
  host::launch(ctx, [=, rows = rows_before(shape, axis)] {
    each_piece<const T>(rows, pieces, [&](int64_t position, const T* piece, int64_t n) {
      std::memcpy(r + position, piece, static_cast<size_t>(n) * sizeof(T));
    });
  });
}

template <typename T>
void concat_grad(Context& ctx, const TensorList& xs, const Tensor& out_grad, const Scalar& axis_value,
                 OutputList& x_grads) {
  const int axis = out_grad.shape.axis(axis_value.integer);
  std::vector<Piece<T>> pieces;
  for (size_t i = 0; i < xs.size(); ++i) {
    T* data = nullptr;  // an operand that needs no gradient is stepped over
    if (x_grads[i]) {
      ctx.resize(x_grads[i], xs[i].shape);
      data = host::out<T>(ctx, x_grads[i]);
    }
    pieces.push_back({data, xs[i].shape.product(axis, xs[i].shape.rank)});
  }
  const T* g = host::in<T>(out_grad);
  host::launch(ctx, [=, rows = rows_before(out_grad.shape, axis)] {
    each_piece<T>(rows, pieces, [&](int64_t position, T* piece, int64_t n) {
      std::memcpy(piece, g + position, static_cast<size_t>(n) * sizeof(T));
    });
  });
}

// Splitting is the gradient of concatenation.
template <typename T>
void split_into(Context& ctx, const Tensor& x, const std::vector<int64_t>& sections, int axis, OutputList& outs) {
  std::vector<Piece<T>> pieces;
  const int64_t inner = x.shape.product(axis + 1, x.shape.rank);
  for (size_t i = 0; i < outs.size(); ++i) {
    Shape shape = x.shape;
    shape[axis] = sections.at(i);
    T* data = nullptr;
    if (outs[i]) {
      ctx.resize(outs[i], shape);
      data = host::out<T>(ctx, outs[i]);
    }
    pieces.push_back({data, sections[i] * inner});
  }
  const T* a = host::in<T>(x);
  host::launch(ctx, [=, rows = rows_before(x.shape, axis)] {
    each_piece<T>(rows, pieces, [&](int64_t position, T* piece, int64_t n) {
      std::memcpy(piece, a + position, static_cast<size_t>(n) * sizeof(T));
    });
  });
}

template <typename T>
void split(Context& ctx, const Tensor& x, const IntArray& sections, const Scalar& axis_value, OutputList& outs) {
  const int axis = x.shape.axis(axis_value.integer);
  std::vector<int64_t> sizes = sections;
  int64_t known = 0;  // one section may be -1: whatever is left
  for (int64_t size : sizes) known += size > 0 ? size : 0;
  for (int64_t& size : sizes)
    if (size == -1) size = x.shape[axis] - known;
  split_into<T>(ctx, x, sizes, axis, outs);
}

template <typename T>
void split_with_num(Context& ctx, const Tensor& x, int32_t number, const Scalar& axis_value, OutputList& outs) {
  const int axis = x.shape.axis(axis_value.integer);
  if (number < 1 || x.shape[axis] % number != 0)
    throw InvalidArgument("cannot split " + to_string(x.shape) + " into " + std::to_string(number) + " equal parts");
  split_into<T>(ctx, x, std::vector<int64_t>(static_cast<size_t>(number), x.shape[axis] / number), axis, outs);
}

ADAPTER_KERNEL("concat", concat, none, float, double, float16, bfloat16, int32_t, int64_t, uint8_t, int8_t, bool)
ADAPTER_KERNEL("concat_grad", concat_grad, none, float, double, float16, bfloat16, int32_t, int64_t, uint8_t, int8_t,
               bool)
ADAPTER_KERNEL("split", split, none, float, double, float16, bfloat16, int32_t, int64_t, uint8_t, int8_t, bool)
ADAPTER_KERNEL("split_with_num", split_with_num, none, float, double, float16, bfloat16, int32_t, int64_t, uint8_t,
               int8_t, bool)

}  // namespace adapter::kernels
