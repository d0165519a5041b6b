/* Makes one header of the parts in src/:
 *
 *     amalgamate [--line] src/actionfinder.in.h actionfinder.h
 *
 * A line `#include "floor/part.h"` (or .c) of the .in.h becomes that part; where the file includes
 * itself the header does; other lines are kept. A part is listed once and includes no other. Those
 * named *.inc.c are compiled several times, under names that macros make. The output depends on the
 * sources alone. --line adds #line, for error messages that point into src/. */

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PARTS = 256, NAMES = 8192, NAME_BYTES = 96, PATH_BYTES = 512, LINE_BYTES = 512 };

typedef struct text {
    char *bytes;
    size_t length, capacity;
} text;

static struct { char name[NAME_BYTES]; int part; } names[NAMES]; /* static functions so far */
static char parts[PARTS][PATH_BYTES];
static int name_count, part_count, with_lines;
static uint64_t hash = 14695981039346656037u; /* FNV-1a, 64 bits: offset basis */

static void fail(const char *where, int line, const char *what, const char *detail) {
    fprintf(stderr, "%s:%d: %s%s\n", where, line, what, detail);
    exit(1);
}

static void put(text *t, const char *bytes, size_t length) {
    if (t->length + length + 1 > t->capacity) {
        t->capacity = 2 * (t->length + length + 1);
        t->bytes = (char *)realloc(t->bytes, t->capacity);
        if (!t->bytes) fail("amalgamate", 0, "out of memory", "");
    }
    memcpy(t->bytes + t->length, bytes, length);
    t->length += length;
    t->bytes[t->length] = 0;
}

static void put_text(text *t, const char *s) { put(t, s, strlen(s)); }

/* The whole file, refused unless it is ASCII with Unix line ends; it enters the hash. */
static text read_source(const char *path, const char *from, int from_line) {
    text t = {0};
    int c, line = 1;
    FILE *file = fopen(path, "rb");
    if (!file) fail(from, from_line, "cannot read ", path);
    put(&t, "", 0);
    while ((c = fgetc(file)) != EOF) {
        char byte = (char)c;
        if (c == '\r') fail(path, line, "a carriage return: use Unix line ends", "");
        if (c > 126 || (c < 32 && c != '\n')) fail(path, line, "not printable ASCII", "");
        line += c == '\n';
        put(&t, &byte, 1);
        hash = (hash ^ (uint64_t)c) * 1099511628211u; /* FNV-1a: prime */
    }
    fclose(file);
    if (t.length > 0 && t.bytes[t.length - 1] != '\n') fail(path, line, "no newline at end", "");
    return t;
}

/* The file name in a line `#include "name"`, "" for any other line. */
static void included(const char *line, char name[PATH_BYTES]) {
    name[0] = 0;
    line += strspn(line, " ");
    if (*line++ != '#') return;
    line += strspn(line, " ");
    if (sscanf(line, "include \"%255[^\"\n]\"", name) != 1) name[0] = 0;
}

static int ends_with(const char *s, const char *end) {
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

/* Refuses a static function that another part defines too: `static ... af__name(...) {`. */
static void check_name(const char *path, int number, const char *line, int part) {
    const char *s = strncmp(line, "static ", 7) == 0 ? line : strstr(line, " static ");
    const char *open = s ? s + strcspn(s, "(=;{") : NULL;
    const char *name = open;
    int i;
    if (!s || s >= line + strcspn(line, "\n") || *line == ' ' || *line == '#') return;
    if (*open != '(' || open[strcspn(open, ";{")] != '{') return; /* data, or a declaration */
    while (name > s && (isalnum((unsigned char)name[-1]) || name[-1] == '_')) name--;
    if (open - name >= NAME_BYTES || name_count == NAMES) fail(path, number, "too many names", "");
    memcpy(names[name_count].name, name, (size_t)(open - name)); /* the rest is zero already */
    names[name_count].part = part;
    for (i = 0; i < name_count; i++)
        if (names[i].part != part && strcmp(names[i].name, names[name_count].name) == 0)
            fail(path, number, "this function is also in ", parts[names[i].part]);
    name_count++;
}

static void check_part(const char *path, const text *t, int part) {
    const char *line = t->bytes;
    char name[PATH_BYTES];
    int number = 1;
    while (*line) {
        included(line, name);
        if (name[0]) fail(path, number, "a part includes no other; list it in the .in.h: ", name);
        if (!ends_with(path, ".inc.c")) check_name(path, number, line, part);
        line += strcspn(line, "\n") + 1;
        number++;
    }
}

/* Appends one part under its banner. */
static void expand(text *out, const char *folder, const char *name, const char *from, int number) {
    char path[2 * PATH_BYTES], banner[3 * PATH_BYTES];
    text part;
    int i;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    for (i = 0; i < part_count; i++)
        if (strcmp(parts[i], name) == 0) fail(from, number, "listed twice: ", name);
    if (part_count == PARTS) fail(from, number, "too many parts", "");
    snprintf(parts[part_count], PATH_BYTES, "%s", name);
    part = read_source(path, from, number);
    check_part(path, &part, part_count++);
    snprintf(banner, sizeof banner, "/* ==== %s/%s ==== */\n\n", folder, name);
    put_text(out, banner);
    if (with_lines) {
        snprintf(banner, sizeof banner, "#line 1 \"%s\"\n", path);
        put_text(out, banner);
    }
    put(out, part.bytes, part.length);
    free(part.bytes);
}

static const char *base_name(const char *path) {
    return strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
}

/* AF_VERSION of base/af_base.h. */
static void read_version(const char *folder, char version[32]) {
    char path[2 * PATH_BYTES], line[LINE_BYTES];
    FILE *file;
    snprintf(path, sizeof path, "%s/base/af_base.h", folder);
    file = fopen(path, "r");
    version[0] = 0;
    while (file && !version[0] && fgets(line, sizeof line, file))
        if (sscanf(line, "#define AF_VERSION \"%31[^\"]\"", version) != 1) version[0] = 0;
    if (file) fclose(file);
    if (!version[0]) fail(path, 1, "no line '#define AF_VERSION \"...\"'", "");
}

int main(int argc, char **argv) {
    char folder[PATH_BYTES], name[PATH_BYTES], version[32], head[2 * LINE_BYTES];
    const char *in, *out_path, *line;
    text source, out = {0};
    FILE *file;
    int number = 1;
    with_lines = argc == 4 && strcmp(argv[1], "--line") == 0;
    if (argc != 3 + with_lines) fail("usage", 0, "amalgamate [--line] FOLDER/X.in.h OUTPUT", "");
    in = argv[argc - 2];
    out_path = argv[argc - 1];
    snprintf(folder, sizeof folder, "%s", in);
    if (!strrchr(folder, '/')) fail(in, 0, "expected FOLDER/NAME.in.h", "");
    *strrchr(folder, '/') = 0;
    read_version(folder, version);
    source = read_source(in, in, 0);
    for (line = source.bytes; *line; line += strcspn(line, "\n") + 1, number++) {
        included(line, name);
        if (strchr(name, '/')) {
            expand(&out, folder, name, in, number);
            if (!with_lines) continue;
            snprintf(head, sizeof head, "#line %d \"%s\"\n", number + 1, in);
            put_text(&out, head);
        } else if (strcmp(name, base_name(in)) == 0) {
            snprintf(head, sizeof head, "#include \"%s\"\n", base_name(out_path));
            put_text(&out, head);
        } else {
            put(&out, line, strcspn(line, "\n") + 1);
        }
    }
    snprintf(head, sizeof head, "/* %s %s, content %016llx.\n"
             " * Generated by `make headers`: edit src/, not this file. */\n",
             base_name(out_path), version, (unsigned long long)hash);
    file = fopen(out_path, "wb");
    if (!file || fputs(head, file) < 0 || fwrite(out.bytes, 1, out.length, file) != out.length ||
        fclose(file) != 0)
        fail(out_path, 0, "cannot write", "");
    return 0;
}
