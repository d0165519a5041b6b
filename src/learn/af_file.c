/* ---- learn: whole files -----------------------------------------------------------------------
 *
 * All reading goes through af__file_read, all writing through an af__writer: a temporary file next
 * to the target that is renamed onto it once every byte is known to be on the disk. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#if defined(__unix__) || defined(__APPLE__)
#  define AF__FILE_POSIX 1
#  include <fcntl.h>
#  include <sys/stat.h>
#  include <unistd.h>
#else
#  define AF__FILE_POSIX 0
#endif

enum {
    AF__SHOWN = 48,           /* bytes of a file quoted in a sentence */
    AF__TEMPORARIES = 100,    /* names tried: writers at work and leftovers of killed runs */
    AF__STREAM_START = 65536, /* first buffer for what has no length, a pipe say */
    AF__STREAM_LIMIT = 1 << 30 /* and the most that is read from it */
};

/* The end of a long path, so that the reason still fits in the sentence. */
static const char *af__shown_path(const char *path) {
    size_t length = strlen(path);
    return length <= 200 ? path : path + (length - 200);
}

/* The start of [p, end) for a sentence, with ? for what does not print. */
static const char *af__shown_text(const char *p, const char *end, char shown[AF__SHOWN]) {
    size_t i, n = (size_t)(end - p);
    size_t fits = n < AF__SHOWN ? n : AF__SHOWN - 4;
    for (i = 0; i < fits; i++) shown[i] = p[i] >= ' ' && p[i] <= '~' ? p[i] : '?';
    memcpy(shown + fits, fits < n ? "..." : "", fits < n ? 4 : 1);
    return shown;
}

/* The error number of the call that just failed; -1 when the library did not say. */
static int af__file_errno(void) { return errno != 0 ? errno : -1; }

static const char *af__file_reason(int error) {
    return error > 0 ? strerror(error) : "the system gives no reason";
}

static int af__host_is_little(void) {
    const uint16_t one = 1;
    unsigned char first;
    memcpy(&first, &one, 1);
    return first == 1;
}

/* Reverses the bytes of count elements of `size` bytes. */
static void af__swap_bytes(void *data, size_t count, size_t size) {
    unsigned char *p = (unsigned char *)data;
    size_t i, j;
    for (i = 0; i < count; i++, p += size) {
        for (j = 0; j < size / 2; j++) {
            unsigned char swapped = p[j];
            p[j] = p[size - 1 - j];
            p[size - 1 - j] = swapped;
        }
    }
}

/* What the file says it holds; 0 when it does not say (a pipe) or lies (a directory). */
static size_t af__file_length(FILE *file) {
    long length;
    if (fseek(file, 0, SEEK_END) != 0) return 0;
    length = ftell(file);
    if (fseek(file, 0, SEEK_SET) != 0 || length < 0) return 0;
    return (unsigned long)length < SIZE_MAX / 8 ? (size_t)length : 0;
}

static af_status af__file_read_failed(af_context *context, const char *path, int error) {
    return af__fail(context, AF_ERROR_IO, "cannot read '%s': %s", af__shown_path(path),
                    af__file_reason(error));
}

static af_status af__stream_read(af_context *context, af__arena *arena, const char *path,
                                 FILE *file, char **bytes, size_t *count) {
    size_t length = af__file_length(file);
    size_t room = length > 0 ? length + 1 : (size_t)AF__STREAM_START; /* + 1 to see the end */
    size_t got = 0;
    char *buffer = AF__ARRAY(arena, char, room + 1);
    errno = 0;
    while (buffer) {
        char *larger;
        got += fread(buffer + got, 1, room - got, file);
        if (ferror(file)) return af__file_read_failed(context, path, af__file_errno());
        if (got < room) {
            buffer[got] = 0;
            *bytes = buffer;
            *count = got;
            return AF_OK;
        }
        if (length == 0 && room >= AF__STREAM_LIMIT)
            return af__fail(context, AF_ERROR_IO,
                            "cannot read '%s': it does not say how long it is and goes on after "
                            "1 GiB; copy it to a file first",
                            af__shown_path(path));
        larger = AF__ARRAY(arena, char, 2 * room + 1);
        if (larger) memcpy(larger, buffer, got);
        buffer = larger;
        room *= 2;
    }
    return af__fail(context, AF_ERROR_MEMORY, "out of memory: %zu bytes to read '%s'",
                    room, af__shown_path(path));
}

/* Loads a whole file into the arena, with a zero byte after the last one. */
static af_status af__file_read(af_context *context, af__arena *arena, const char *path,
                               char **bytes, size_t *count) {
    FILE *file;
    af_status status;
    if (!path) return af__fail(context, AF_ERROR_ARGUMENT, "the path of a file to read is NULL");
    errno = 0;
    file = fopen(path, "rb");
    if (!file) return af__file_read_failed(context, path, af__file_errno());
    status = af__stream_read(context, arena, path, file, bytes, count);
    fclose(file);
    return status;
}

typedef struct af__writer {
    af_context *context;
    af__arena arena;
    const char *path;
    char *temporary; /* NULL: a device or a pipe, which cannot be replaced */
    FILE *file;
    int error; /* of the first call that failed */
} af__writer;

#if AF__FILE_POSIX
/* True when the path leads to something that is not a regular file. */
static int af__file_is_special(const char *path) {
    struct stat facts;
    return stat(path, &facts) == 0 && !S_ISREG(facts.st_mode);
}

/* A new file may replace an old one that could be written, and gets its permissions. */
static int af__file_inherit(const char *temporary, const char *path) {
    struct stat facts;
    if (stat(path, &facts) != 0) return 0;
    if (access(path, W_OK) != 0) return af__file_errno();
    return chmod(temporary, facts.st_mode & 0777) == 0 ? 0 : af__file_errno();
}

/* Brings a closed file to the disk; any descriptor of the file will do. */
static int af__file_sync(const char *path) {
    int error = 0;
    int descriptor = open(path, O_WRONLY);
    if (descriptor < 0) return af__file_errno();
    if (fsync(descriptor) != 0) error = af__file_errno();
    if (close(descriptor) != 0 && !error) error = af__file_errno();
    return error;
}

static int af__file_replace(const char *temporary, const char *path) {
    return rename(temporary, path) == 0 ? 0 : af__file_errno();
}
#else
static int af__file_is_special(const char *path) {
    (void)path;
    return 0;
}

static int af__file_inherit(const char *temporary, const char *path) {
    (void)temporary;
    (void)path;
    return 0;
}

static int af__file_sync(const char *path) {
    (void)path;
    return 0;
}

/* ISO C leaves open whether rename replaces; where it does not, the old file goes first. */
static int af__file_replace(const char *temporary, const char *path) {
    if (rename(temporary, path) == 0) return 0;
    remove(path);
    return rename(temporary, path) == 0 ? 0 : af__file_errno();
}
#endif

/* Opens PATH.tmp-0, or the next that does not exist: "x" fails on a file that is there. */
static af_status af__writer_open_temporary(af__writer *w) {
    size_t capacity = strlen(w->path) + 16;
    int i;
    w->temporary = AF__ARRAY(&w->arena, char, capacity);
    if (!w->temporary) return af__fail_memory(w->context, "the name of a temporary file");
    for (i = 0; i < AF__TEMPORARIES && !w->file; i++) {
        snprintf(w->temporary, capacity, "%s.tmp-%d", w->path, i);
        errno = 0;
        w->file = fopen(w->temporary, "wbx");
        if (!w->file && errno != EEXIST) break;
    }
    if (!w->file)
        return af__fail(w->context, AF_ERROR_IO, "cannot write '%s': %s%s",
                        af__shown_path(w->path), af__file_reason(af__file_errno()),
                        i < AF__TEMPORARIES ? "" : " (its .tmp-0 to .tmp-99, of killed runs; "
                                                   "remove them)");
    w->error = af__file_inherit(w->temporary, w->path);
    return AF_OK;
}

/* Opens `path` for writing; af__writer_close must follow when this succeeds. */
static af_status af__writer_open(af__writer *w, af_context *context, const char *path) {
    af_status status = AF_OK;
    memset(w, 0, sizeof *w);
    w->context = context;
    w->arena.allocator = context->allocator;
    w->path = path;
    if (!path) return af__fail(context, AF_ERROR_ARGUMENT, "the path of a file to write is NULL");
    if (!af__file_is_special(path)) {
        status = af__writer_open_temporary(w);
    } else {
        errno = 0;
        w->file = fopen(path, "wb");
        if (!w->file)
            status = af__fail(context, AF_ERROR_IO, "cannot write '%s': %s", af__shown_path(path),
                              af__file_reason(af__file_errno()));
    }
    if (status != AF_OK) af__arena_free(&w->arena);
    return status;
}

/* Failures are remembered and reported by af__writer_close. */
static void af__writer_put(af__writer *w, const void *bytes, size_t count) {
    if (w->error || count == 0) return;
    errno = 0;
    if (fwrite(bytes, 1, count, w->file) != count) w->error = af__file_errno();
}

static void af__writer_text(af__writer *w, const char *text) {
    af__writer_put(w, text, strlen(text));
}

/* Little-endian elements of `size` <= 8 bytes, whatever the machine. */
static void af__writer_elements(af__writer *w, const void *data, size_t count, size_t size) {
    const unsigned char *p = (const unsigned char *)data;
    size_t i;
    if (size == 1 || af__host_is_little()) {
        af__writer_put(w, data, count * size);
        return;
    }
    for (i = 0; i < count && !w->error; i++, p += size) {
        unsigned char element[8];
        memcpy(element, p, size);
        af__swap_bytes(element, 1, size);
        af__writer_put(w, element, size);
    }
}

/* Puts the file in place when everything went well; otherwise leaves what was there before. */
static af_status af__writer_close(af__writer *w) {
    int error = w->error, replaces = w->temporary != NULL;
    errno = 0;
    if (fclose(w->file) != 0 && !error) error = af__file_errno();
    if (replaces) {
        if (!error) error = af__file_sync(w->temporary);
        if (!error) error = af__file_replace(w->temporary, w->path);
        if (error) remove(w->temporary);
    }
    af__arena_free(&w->arena);
    if (!error) return AF_OK;
    return af__fail(w->context, AF_ERROR_IO, "cannot write '%s': %s%s", af__shown_path(w->path),
                    af__file_reason(error),
                    replaces ? "; what was there before is untouched" : "");
}
