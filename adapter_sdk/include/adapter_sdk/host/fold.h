// Reductions that use vector instructions and several cores, and whose bits depend on the shapes alone.
//
// A fold is a type with
//   using State;                       what a result is gathered in
//   State start() const;               of no element
//   State step(State, Value) const;    one element more
//   State merge(State, State) const;   elements of the first before those of the second
// Sums run in a fixed pattern: kLanes partial results side by side, those of fixed chunks combined in order.
#pragma once

#include <type_traits>
#include <vector>

#include "adapter_sdk/host/loops.h"
#include "adapter_sdk/host/strided.h"

namespace adapter::host {

// Kept and reduced axes of N operands.
template <int N>
struct FoldSpace {
  Walk<N> outer, inner;
  int64_t results, length;

  FoldSpace(const Shape& outer_shape, const std::array<Shape, N>& outer_strides, const Shape& inner_shape,
            const std::array<Shape, N>& inner_strides)
      : outer(outer_shape, outer_strides),
        inner(inner_shape, inner_strides),
        results(outer_shape.numel()),
        length(inner_shape.numel()) {}
};

namespace fold_detail {

inline constexpr int64_t kChunk = 1 << 15;  // elements of one partial result
inline constexpr int64_t kColumns = 256;    // results that are gathered together

template <typename State>
inline constexpr int64_t kLanes = sizeof(State) <= 4 ? 32 : 16;

// Places of N operands, `step` elements further along.
template <int N>
struct Places {
  std::array<int64_t, N> base, step;
  template <typename Source>
  auto read(const Source& source, int64_t j) const {
    if constexpr (N == 1)
      return source(base[0] + j * step[0]);
    else
      return source(base[0] + j * step[0], base[1] + j * step[1], base[2] + j * step[2]);
  }
};

// The same with steps known to the compiler, so that loops over them vectorise.
template <int64_t... Steps>
struct FixedPlaces {
  static constexpr int N = sizeof...(Steps);
  std::array<int64_t, N> base;
  template <typename Source>
  auto read(const Source& source, int64_t j) const {
    constexpr std::array<int64_t, N> step{Steps...};
    if constexpr (N == 1)
      return source(base[0] + j * step[0]);
    else
      return source(base[0] + j * step[0], base[1] + j * step[1], base[2] + j * step[2]);
  }
};

// Calls use(places) with the steps fixed where they are the usual ones.
template <int N, typename Use>
void with_places(const std::array<int64_t, N>& base, const std::array<int64_t, N>& step, Use&& use) {
  static_assert(N == 1 || N == 3, "one operand, or a result's gradient and two operands");
  if constexpr (N == 1) {
    if (step[0] == 1) return use(FixedPlaces<1>{base});
  } else {
    if (step == std::array<int64_t, 3>{1, 1, 1}) return use(FixedPlaces<1, 1, 1>{base});
  }
  use(Places<N>{base, step});
}

// A source whose elements are converted in a buffer says where they lie.
template <typename Source, typename = void>
struct Staging : std::false_type {};
template <typename Source>
struct Staging<Source, std::enable_if_t<is_staged<typename Source::Element>>> : std::true_type {};

template <int N>
std::array<int64_t, N> steps_of(const Walk<N>& walk) {
  std::array<int64_t, N> step;
  for (int k = 0; k < N; ++k) step[static_cast<size_t>(k)] = walk.inner_stride(k);
  return step;
}

// One result, gathered in lanes.
template <typename Fold>
class Lanes {
 public:
  using State = typename Fold::State;
  static constexpr int64_t kWidth = kLanes<State>;

  explicit Lanes(const Fold& fold) : fold_(fold) {
    for (State& lane : lanes_) lane = fold.start();
  }

  // Steps over `read(0)` .. `read(n - 1)`.
  template <typename Read>
  void add(int64_t n, Read&& read) {
    const Fold fold = fold_;
    State lanes[kWidth];
    for (int64_t l = 0; l < kWidth; ++l) lanes[l] = lanes_[l];
    int64_t i = 0;
    for (; i + kWidth <= n; i += kWidth)
      for (int64_t l = 0; l < kWidth; ++l) lanes[l] = fold.step(lanes[l], read(i + l));
    for (int64_t l = 0; i < n; ++i, ++l) lanes[l] = fold.step(lanes[l], read(i));
    for (int64_t l = 0; l < kWidth; ++l) lanes_[l] = lanes[l];
  }

  State result() {
    for (int64_t width = kWidth / 2; width > 0; width /= 2)
      for (int64_t l = 0; l < width; ++l) lanes_[l] = fold_.merge(lanes_[l], lanes_[l + width]);
    return lanes_[0];
  }

 private:
  Fold fold_;
  State lanes_[kWidth];
};

// The elements [begin, end) of the result whose operands start at `origin`.
template <int N, typename Fold, typename Source>
typename Fold::State fold_run(const Walk<N>& inner, const std::array<int64_t, N>& origin, int64_t begin, int64_t end,
                              const Fold& fold, const Source& source) {
  const std::array<int64_t, N> step = steps_of(inner);
  if (end - begin < 8) {  // lanes would cost more than they save
    typename Fold::State state = fold.start();
    inner.range(begin, end, [&](std::array<int64_t, N> o, int64_t n) {
      for (int k = 0; k < N; ++k) o[static_cast<size_t>(k)] += origin[static_cast<size_t>(k)];
      for (int64_t j = 0; j < n; ++j) state = fold.step(state, Places<N>{o, step}.read(source, j));
    });
    return state;
  }
  Lanes<Fold> lanes(fold);
  inner.range(begin, end, [&](std::array<int64_t, N> o, int64_t n) {
    for (int k = 0; k < N; ++k) o[static_cast<size_t>(k)] += origin[static_cast<size_t>(k)];
    if constexpr (Staging<Source>::value) {
      float stage[kStage];
      for (int64_t i = 0; i < n; i += kStage) {
        const int64_t m = std::min(kStage, n - i);
        widen(source.data + o[0] + i * step[0], step[0], stage, m);
        lanes.add(m, [&](int64_t j) { return stage[j]; });
      }
    } else {
      with_places<N>(o, step,
                     [&](const auto& places) { lanes.add(n, [&](int64_t j) { return places.read(source, j); }); });
    }
  });
  return lanes.result();
}

// states[j] takes in the elements [begin, end) of the `width` results that lie side by side from `origin` on.
template <int N, typename Fold, typename Source>
void fold_columns(const FoldSpace<N>& space, const std::array<int64_t, N>& origin, int64_t width, int64_t begin,
                  int64_t end, const Fold& fold, const Source& source, typename Fold::State* states) {
  const std::array<int64_t, N> along = steps_of(space.outer), down = steps_of(space.inner);
  std::fill(states, states + width, fold.start());
  space.inner.range(begin, end, [&](std::array<int64_t, N> o, int64_t n) {
    for (int k = 0; k < N; ++k) o[static_cast<size_t>(k)] += origin[static_cast<size_t>(k)];
    for (int64_t row = 0; row < n; ++row) {
      if constexpr (Staging<Source>::value) {
        float stage[kStage];
        widen(source.data + o[0], along[0], stage, width);
        for (int64_t j = 0; j < width; ++j) states[j] = fold.step(states[j], stage[j]);
      } else {
        with_places<N>(o, along, [&](const auto& places) {
          ADAPTER_INDEPENDENT
          for (int64_t j = 0; j < width; ++j) states[j] = fold.step(states[j], places.read(source, j));
        });
      }
      for (int k = 0; k < N; ++k) o[static_cast<size_t>(k)] += down[static_cast<size_t>(k)];
    }
  });
}

// The last axis is reduced: results one after another, a long one in chunks.
template <int N, typename Fold, typename Source, typename Finish>
void fold_rows(const FoldSpace<N>& space, const Fold& fold, const Source& source, Finish&& finish) {
  using State = typename Fold::State;
  const int64_t chunks = (space.length + kChunk - 1) / kChunk;
  const std::array<int64_t, N> step = steps_of(space.outer);
  const auto each_origin = [&](int64_t begin, int64_t end, auto&& visit) {
    space.outer.range(begin, end, [&](std::array<int64_t, N> o, int64_t n) {
      for (int64_t j = 0; j < n; ++j) {
        visit(begin++, o);
        for (int k = 0; k < N; ++k) o[static_cast<size_t>(k)] += step[static_cast<size_t>(k)];
      }
    });
  };
  if (chunks <= 1) {
    parallel_for(space.results, rows_grain(space.length), [&](int64_t begin, int64_t end) {
      each_origin(begin, end, [&](int64_t i, const std::array<int64_t, N>& o) {
        finish(i, fold_run<N>(space.inner, o, 0, space.length, fold, source));
      });
    });
    return;
  }
  std::vector<State> parts(static_cast<size_t>(space.results * chunks));
  parallel_for(space.results * chunks, 1, [&](int64_t part, int64_t) {
    const int64_t i = part / chunks, begin = part % chunks * kChunk;
    each_origin(i, i + 1, [&](int64_t, const std::array<int64_t, N>& o) {
      parts[static_cast<size_t>(part)] =
          fold_run<N>(space.inner, o, begin, std::min(begin + kChunk, space.length), fold, source);
    });
  });
  for (int64_t i = 0; i < space.results; ++i) {
    State state = parts[static_cast<size_t>(i * chunks)];
    for (int64_t c = 1; c < chunks; ++c) state = fold.merge(state, parts[static_cast<size_t>(i * chunks + c)]);
    finish(i, state);
  }
}

// The last axis is kept: results that lie side by side are gathered together, row by row.
template <int N, typename Fold, typename Source, typename Finish>
void fold_side_by_side(const FoldSpace<N>& space, const Fold& fold, const Source& source, Finish&& finish) {
  using State = typename Fold::State;
  const int64_t row = space.outer.row_length();
  const int64_t blocks = (row + kColumns - 1) / kColumns, bands = space.outer.row_count() * blocks;
  const int64_t width = std::min(row, kColumns);
  // Few results of many elements: the elements are divided, too.
  const int64_t tall = bands >= 8 ? space.length : std::max<int64_t>(kChunk / width, space.length / 64 + 1);
  const int64_t chunks = std::max<int64_t>(1, (space.length + tall - 1) / tall);
  const auto band = [&](int64_t number, auto&& visit) {
    const int64_t first = number / blocks * row + number % blocks * kColumns;
    const int64_t last = std::min(first + kColumns, (number / blocks + 1) * row);
    space.outer.range(first, last, [&](const std::array<int64_t, N>& o, int64_t n) { visit(first, o, n); });
  };
  std::vector<State> parts(chunks > 1 ? static_cast<size_t>(bands * chunks * width) : 0);
  const int64_t grain = chunks > 1 ? 1 : rows_grain(space.length * width);
  parallel_for(bands * chunks, grain, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part)
      band(part / chunks, [&](int64_t first, const std::array<int64_t, N>& o, int64_t n) {
        State own[kColumns];
        State* states = chunks > 1 ? parts.data() + part * width : own;
        const int64_t from = part % chunks * tall;
        fold_columns<N>(space, o, n, from, std::min(from + tall, space.length), fold, source, states);
        for (int64_t j = 0; chunks == 1 && j < n; ++j) finish(first + j, states[j]);
      });
  });
  if (chunks == 1) return;
  for (int64_t number = 0; number < bands; ++number)
    band(number, [&](int64_t first, const std::array<int64_t, N>&, int64_t n) {
      State* sum = parts.data() + number * chunks * width;
      for (int64_t c = 1; c < chunks; ++c)
        for (int64_t j = 0; j < n; ++j) sum[j] = fold.merge(sum[j], sum[c * width + j]);
      for (int64_t j = 0; j < n; ++j) finish(first + j, sum[j]);
    });
}

}  // namespace fold_detail

using fold_detail::Lanes;
using fold_detail::steps_of;
using fold_detail::with_places;

// Calls finish(i, state) for every result i, on several cores. source(places...) is the element at these places of the
// operands. To be called inside launch().
template <int N, typename Fold, typename Source, typename Finish>
void fold_results(const FoldSpace<N>& space, const Fold& fold, const Source& source, Finish&& finish) {
  if (space.results == 0) return;
  if (space.length == 0) {
    for (int64_t i = 0; i < space.results; ++i) finish(i, fold.start());
    return;
  }
  const bool side_by_side = space.length > 1 && space.inner.inner_stride(0) != 1 && space.outer.row_length() >= 8;
  if (side_by_side)
    fold_detail::fold_side_by_side<N>(space, fold, source, finish);
  else
    fold_detail::fold_rows<N>(space, fold, source, finish);
}

// The elements of one array.
template <typename T>
struct Elements {
  using Element = T;
  const T* data;
  Compute<T> operator()(int64_t k) const { return static_cast<Compute<T>>(data[k]); }
};

// Sums in `Sum`.
template <typename Sum>
struct SumFold {
  using State = Sum;
  State start() const { return Sum(0); }
  template <typename Value>
  State step(State sum, Value value) const {
    return sum + static_cast<Sum>(value);
  }
  State merge(State a, State b) const { return a + b; }
};

}  // namespace adapter::host
