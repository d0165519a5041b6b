/* ---- base: arenas and growable arrays --------------------------------------------------------
 *
 * Every object owns one arena and dies in one call. Arrays are stb_ds arrays (arrlen, arrput, ...)
 * whose memory lies in an arena: af__grow makes room first and reports a full memory, so stb_ds
 * itself never has to allocate (its own growth does not check). */

static size_t af__round_up(size_t n, size_t multiple) {
    return (n + multiple - 1) / multiple * multiple;
}

static size_t af__clamp(size_t x, size_t low, size_t high) {
    return x < low ? low : x > high ? high : x;
}

/* count * size, 0 when it overflows or exceeds what an object may have. */
static size_t af__bytes(size_t count, size_t size) {
    if (count == 0 || size == 0 || count > (SIZE_MAX / 4) / size) return 0;
    return count * size;
}

static void af__arena_free(af__arena *arena) {
    af__block *block = arena->blocks;
    while (block) {
        af__block *next = block->next;
        arena->allocator.release(block, block->bytes, arena->allocator.user);
        block = next;
    }
    arena->blocks = NULL;
}

static void *af__block_take(af__block *block, size_t bytes) {
    size_t misfit = (size_t)((uintptr_t)block + block->used) % AF__ALIGNMENT;
    size_t start = block->used + (misfit ? AF__ALIGNMENT - misfit : 0);
    if (start > block->bytes || bytes > block->bytes - start) return NULL;
    block->used = start + bytes;
    return (char *)block + start;
}

/* Zeroed, 64-byte aligned memory for count elements; NULL when there is none. A count of zero gets
 * a valid pointer. */
static void *af__arena_alloc(af__arena *arena, size_t count, size_t size) {
    size_t bytes = count == 0 ? 1 : af__bytes(count, size);
    af__block *block;
    void *memory = NULL;
    if (bytes == 0) return NULL;
    if (arena->blocks) memory = af__block_take(arena->blocks, bytes);
    if (!memory) {
        size_t header = af__round_up(sizeof *block, AF__ALIGNMENT) + AF__ALIGNMENT;
        size_t whole = bytes > AF__BLOCK_BYTES / 4 ? bytes + header : (size_t)AF__BLOCK_BYTES;
        block = (af__block *)arena->allocator.allocate(whole, arena->allocator.user);
        if (!block) return NULL;
        block->bytes = whole;
        block->used = sizeof *block;
        memory = af__block_take(block, bytes);
        if (arena->blocks && whole != AF__BLOCK_BYTES) { /* keep filling the open block */
            block->next = arena->blocks->next;
            arena->blocks->next = block;
        } else {
            block->next = arena->blocks;
            arena->blocks = block;
        }
    }
    memset(memory, 0, bytes);
    return memory;
}

#define AF__NEW(arena, type) ((type *)af__arena_alloc((arena), 1, sizeof(type)))
#define AF__ARRAY(arena, type, count) ((type *)af__arena_alloc((arena), (count), sizeof(type)))

static char *af__arena_text(af__arena *arena, const char *text) {
    size_t bytes = strlen(text) + 1;
    char *copy = AF__ARRAY(arena, char, bytes);
    if (copy) memcpy(copy, text, bytes);
    return copy;
}

/* Returns `array` (an stb_ds array or NULL) with room for `more` further elements, NULL when memory
 * is out; the old array stays valid then. */
static void *af__grow(af__arena *arena, void *array, size_t size, size_t more) {
    size_t header = af__round_up(sizeof(stbds_array_header), AF__ALIGNMENT);
    size_t length = array ? (size_t)stbds_header(array)->length : 0;
    size_t capacity = array ? stbds_header(array)->capacity : 0;
    stbds_array_header fresh = AF__ZERO;
    size_t bytes;
    char *memory;
    if (length + more <= capacity) return array;
    capacity = capacity * 2 > length + more ? capacity * 2 : length + more;
    if (capacity < 8) capacity = 8;
    bytes = af__bytes(capacity, size);
    if (bytes == 0) return NULL;
    memory = (char *)af__arena_alloc(arena, header + bytes, 1);
    if (!memory) return NULL;
    memory += header;
    if (array) memcpy(memory, array, length * size);
    *stbds_header(memory) = fresh;
    stbds_header(memory)->length = length;
    stbds_header(memory)->capacity = capacity;
    return memory;
}

#ifdef __cplusplus
template <class T> static void af__assign(T *&pointer, void *memory) {
    pointer = static_cast<T *>(memory);
}
#  define AF__ASSIGN(pointer, memory) af__assign((pointer), (memory))
#else
#  define AF__ASSIGN(pointer, memory) ((pointer) = (memory))
#endif

/* True when `array` has room for `more` further elements, moving it if need be. */
#define AF__RESERVE(arena, array, more)                                      \
    (((arena)->grown = af__grow((arena), (array), sizeof *(array), (more))) != NULL \
         ? (AF__ASSIGN((array), (arena)->grown), 1)                          \
         : 0)

/* True when `value` was appended; false when memory is out. */
#define AF__PUSH(arena, array, value) \
    (AF__RESERVE((arena), (array), 1) ? (stbds_arrput((array), (value)), 1) : 0)

#define AF__LENGTH(array) ((size_t)stbds_arrlenu(array))
