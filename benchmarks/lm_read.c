/* Plain reading of memory: the sum of all words, in one or in several streams, prefetched or not. */
#include <stddef.h>
#include <stdint.h>

typedef uint64_t words __attribute__((vector_size(64)));
enum { STEP = 128 };

uint64_t read_all(const uint8_t *p, size_t bytes, int streams, size_t ahead, int times) {
  words a = {0}, b = {0};
  const size_t each = bytes / (size_t)streams / STEP * STEP;
  for (int t = 0; t < times; ++t)
    for (size_t i = 0; i < each; i += STEP)
      for (int s = 0; s < streams; ++s) {
        const uint8_t *at = p + (size_t)s * each + i;
        if (ahead) __builtin_prefetch(at + ahead, 0, 2), __builtin_prefetch(at + ahead + 64, 0, 2);
        a += *(const words *)at;
        b += *(const words *)(at + 64);
      }
  a += b;
  uint64_t sum = 0;
  for (int i = 0; i < 8; ++i) sum += a[i];
  return sum;
}
