/* ---- base: random numbers -------------------------------------------------------------------- */

#include <math.h>

/* Philox 4x32-10 with key = seed and counter = (index, stream). */
static void af__philox(uint64_t seed, uint64_t stream, uint64_t index, uint32_t out[4]) {
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    uint32_t c0 = (uint32_t)index, c1 = (uint32_t)(index >> 32);
    uint32_t c2 = (uint32_t)stream, c3 = (uint32_t)(stream >> 32);
    int round;
    for (round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0;
        uint64_t p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u; /* the golden ratio and sqrt(3) - 1: Philox's Weyl constants */
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* 53 random bits to the middle of one of 2^53 equal cells of (0,1). */
static double af__unit(uint32_t high, uint32_t low) {
    uint64_t bits = (((uint64_t)high << 32) | low) >> 11;
    return ((double)bits + 0.5) * (1.0 / 9007199254740992.0);
}

AF_API double af_random_uniform(uint64_t seed, uint64_t stream, uint64_t index) {
    uint32_t word[4];
    double u;
    af__philox(seed, stream, index, word);
    u = af__unit(word[0], word[1]);
    return u < 1.0 ? u : 1.0 - 1.0 / 9007199254740992.0; /* the last cell rounds to 1 */
}

/* Box-Muller: both uniforms from one Philox block. */
AF_API double af_random_normal(uint64_t seed, uint64_t stream, uint64_t index) {
    uint32_t word[4];
    double u, v;
    af__philox(seed, stream, index, word);
    u = af__unit(word[0], word[1]);
    v = af__unit(word[2], word[3]);
    if (u >= 1.0) return 0.0; /* the last cell rounds to 1 */
    return sqrt(-2.0 * log(u)) * cos(2.0 * AF__PI * v);
}

/* Fisher-Yates from the end. */
AF_API void af_random_permutation(uint64_t seed, uint64_t stream, size_t n, uint32_t *permutation) {
    size_t i;
    for (i = 0; i < n; i++) permutation[i] = (uint32_t)i;
    for (i = n; i > 1; i--) {
        size_t j = (size_t)(af_random_uniform(seed, stream, i) * (double)i);
        uint32_t swapped = permutation[i - 1];
        permutation[i - 1] = permutation[j];
        permutation[j] = swapped;
    }
}
