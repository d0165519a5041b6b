/* ---- memory by last use ---------------------------------------------------------------------- */

static size_t af__operand_count(const af_instr *instr) {
    switch (instr->kind) {
    case AF_INSTR_TILE: return instr->loads + instr->stores;
    case AF_INSTR_ZERO: return 1;
    default: return 3;
    }
}

/* Whether row i of the fused run needs row i alone of the product's result. */
static int af__follows(const af__compiler *k, const af_instr *product, const af_instr *run) {
    const af_operand *result = &k->operand[product->operand + 2], *o = &k->operand[run->operand];
    size_t i, elements = 1;
    if (product->kind != AF_INSTR_MATMUL || run->kind != AF_INSTR_TILE || product->rank > 3)
        return 0;
    for (i = 0; i < run->rank; i++) elements *= run->dim[i];
    if (elements != product->dim[0] * product->dim[1]) return 0;
    for (i = 0; i < run->loads; i++)
        if (o[i].buffer == result->buffer &&
            (o[i].offset || !af__is_contiguous(run->rank, run->dim, o[i].stride)))
            return 0;
    return 1;
}

static void af__find_followers(af__compiler *k) {
    size_t i;
    for (i = 1; i < AF__LENGTH(k->instr); i++)
        k->instr[i].follows = af__follows(k, &k->instr[i - 1], &k->instr[i]);
}

static void af__note_use(af__compiler *k, size_t buffer, size_t at) {
    if (k->first_use[buffer] == SIZE_MAX) k->first_use[buffer] = at;
    k->last_use[buffer] = at;
}

static void af__find_uses(af__compiler *k) {
    size_t i, j, buffers = AF__LENGTH(k->buffer);
    k->first_use = AF__ARRAY(&k->scratch, size_t, buffers);
    k->last_use = AF__ARRAY(&k->scratch, size_t, buffers);
    if (!k->first_use || !k->last_use) {
        af__compile_memory(k);
        return;
    }
    for (i = 0; i < buffers; i++) k->first_use[i] = SIZE_MAX;
    for (i = 0; i < AF__LENGTH(k->instr); i++) {
        const af_instr *instr = &k->instr[i];
        for (j = 0; j < af__operand_count(instr); j++)
            af__note_use(k, k->operand[instr->operand + j].buffer, i);
        if (instr->kind == AF_INSTR_SUM && instr->scratch != AF_NO_BUFFER)
            af__note_use(k, instr->scratch, i);
        for (j = 0; instr->follows && j < 3; j++) /* what the product reads stays during the run */
            af__note_use(k, k->operand[instr[-1].operand + j].buffer, i);
    }
}

typedef struct af__hole {
    size_t offset, size;
} af__hole;

/* Takes the tightest hole that fits, or the end of memory. Sizes are multiples of 64 bytes in
 * f32. */
static size_t af__take_hole(af__hole *hole, size_t *holes, size_t size, size_t *top) {
    size_t i, best = *holes, offset;
    for (i = 0; i < *holes; i++)
        if (hole[i].size >= size && (best == *holes || hole[i].size < hole[best].size)) best = i;
    if (best == *holes) {
        offset = *top;
        *top += size;
        return offset;
    }
    offset = hole[best].offset;
    hole[best].offset += size;
    hole[best].size -= size;
    if (hole[best].size == 0) hole[best] = hole[--*holes];
    return offset;
}

static void af__return_hole(af__hole *hole, size_t *holes, size_t offset, size_t size) {
    size_t i;
    for (i = 0; i < *holes;) { /* merge with the neighbours */
        if (hole[i].offset + hole[i].size == offset || offset + size == hole[i].offset) {
            if (hole[i].offset < offset) offset = hole[i].offset;
            size += hole[i].size;
            hole[i] = hole[--*holes];
            i = 0;
        } else {
            i++;
        }
    }
    hole[*holes].offset = offset;
    hole[(*holes)++].size = size;
}

static size_t af__plan_memory(af__compiler *k) {
    size_t i, at, holes = 0, top = 0, buffers = AF__LENGTH(k->buffer);
    af__hole *hole = AF__ARRAY(&k->scratch, af__hole, buffers + 1);
    if (!hole) {
        af__compile_memory(k);
        return 0;
    }
    for (at = 0; at < AF__LENGTH(k->instr); at++) {
        for (i = 0; i < buffers; i++)
            if (k->buffer[i].kind == AF_BUFFER_WORK && k->first_use[i] == at)
                k->buffer[i].offset =
                    af__take_hole(hole, &holes, af__round_up(k->buffer[i].size, 16), &top);
        if (top > SIZE_MAX / 64) { /* no machine has it; bytes must not overflow */
            af__compile_memory(k);
            return 0;
        }
        for (i = 0; i < buffers; i++)
            if (k->buffer[i].kind == AF_BUFFER_WORK && k->first_use[i] != SIZE_MAX &&
                k->last_use[i] == at)
                af__return_hole(hole, &holes, k->buffer[i].offset,
                                af__round_up(k->buffer[i].size, 16));
    }
    return top;
}
