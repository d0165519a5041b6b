/* ---- base: random numbers ---------------------------------------------------------------------
 *
 * Counter-based (Philox 4x32-10, Salmon et al. 2011): a number is a function of (seed, stream,
 * index) alone. There is no state, so any element can be made by any thread in any order. */

/* Uniform in (0,1): never 0, never 1. */
AF_API double af_random_uniform(uint64_t seed, uint64_t stream, uint64_t index);

/* Normal with mean 0 and variance 1. */
AF_API double af_random_normal(uint64_t seed, uint64_t stream, uint64_t index);

/* Fills permutation[0..n) with a random order of 0..n-1. */
AF_API void af_random_permutation(uint64_t seed, uint64_t stream, size_t n, uint32_t *permutation);
