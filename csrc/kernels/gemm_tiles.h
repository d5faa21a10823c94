// A matrix product cut into tiles by a kernel that does more with them than store them.
#pragma once

#include <algorithm>
#include <cstdint>

#include "adapter_sdk/host/parallel.h"

namespace adapter::kernels {

// One tile of a result.
struct Tile {
  int64_t row, rows, column, columns;
};

// Calls visit(tile) for tiles of at most `row_side` x `column_side` elements that cover [m, n], on several cores.
template <typename Visit>
void each_tile(int64_t m, int64_t n, int64_t row_side, int64_t column_side, Visit&& visit) {
  if (m == 0 || n == 0) return;
  const int64_t across = (n + column_side - 1) / column_side, down = (m + row_side - 1) / row_side;
  host::parallel_for(across * down, 1, [&](int64_t number, int64_t) {
    const int64_t row = number % down * row_side, column = number / down * column_side;
    visit(Tile{row, std::min(row_side, m - row), column, std::min(column_side, n - column)});
  });
}

// Sides of tiles for a product of so many multiplications: few and wide ones, since each packs its operands anew, but
// enough of them for several cores. They follow from the shape alone.
struct TileSides {
  int64_t rows, columns;

  TileSides(int64_t m, int64_t n, int64_t k) : rows(std::min<int64_t>(m, kLongest)), columns(std::min(n, kLongest)) {
    constexpr double kWork = 1 << 22;  // multiplications worth waking another core
    const double work = static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) / kWork;
    const auto strips = static_cast<int64_t>(std::min(std::max(work, 1.0), 8.0));
    int64_t& side = n >= m ? columns : rows;
    const int64_t wanted = ((n >= m ? n : m) + strips - 1) / strips;
    side = std::max<int64_t>(1, std::min(side, std::max<int64_t>(64, (wanted + 63) / 64 * 64)));
    rows = std::max<int64_t>(1, rows);
    columns = std::max<int64_t>(1, columns);
  }

 private:
  static constexpr int64_t kLongest = 2048;
};

}  // namespace adapter::kernels
