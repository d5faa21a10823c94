/* Bandwidth of memory as STREAM measures it (J. McCalpin, 1995): copy and triad over three arrays of n floats, several
   threads, best of `repeats`. Prints bytes per second of both. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

static double best_of(int kind, float* a, const float* b, const float* c, long n, int repeats) {
  double best = 1e30;
  for (int turn = 0; turn < repeats; ++turn) {
    const double start = omp_get_wtime();
    if (kind == 0) {
#pragma omp parallel for schedule(static)
      for (long i = 0; i < n; ++i) a[i] = b[i];
    } else {
#pragma omp parallel for schedule(static)
      for (long i = 0; i < n; ++i) a[i] = b[i] + 3.0f * c[i];
    }
    const double seconds = omp_get_wtime() - start;
    if (seconds < best) best = seconds;
  }
  return (double)n * (kind == 0 ? 8.0 : 12.0) / best;
}

int main(int argc, char** argv) {
  const long n = argc > 1 ? atol(argv[1]) : 1 << 24;
  float *a = malloc(n * sizeof *a), *b = malloc(n * sizeof *b), *c = malloc(n * sizeof *c);
  if (!a || !b || !c) return 1;
#pragma omp parallel for schedule(static)
  for (long i = 0; i < n; ++i) a[i] = 0, b[i] = 1, c[i] = 2;
  printf("%.0f ", best_of(0, a, b, c, n, 10));
  printf("%.0f\n", best_of(1, a, b, c, n, 10));
  return a[n / 2] == 7.0f ? 0 : 1;
}
