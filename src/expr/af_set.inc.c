/* ---- the kernels of one instruction set and one precision ---- */

static const af__kernels AF__N(kernels) = {
    sizeof(AF__REAL), AF__LANES, AF__NR,
    AF__N(tile), AF__N(sum_chunk), AF__N(sum_parts), AF__N(rows),
#if AF__BITS == 64
    AF__N(adam), AF__N(square_sum),
    AF__N(factor_rows), AF__N(factor_forward), AF__N(factor_back),
#else
    NULL, NULL, NULL, NULL, NULL,
#endif
    AF__N(product_tiny), AF__N(product_row), AF__N(product_dots), AF__N(product_pack),
    AF__N(product_unit)
};

#undef AF__NV
#undef AF__NR
