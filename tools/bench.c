/* bench: how fast the library is, beside others that do the same work in the same run. The rows are
 * in tools/bench/; tools/bench_torch.py is the PyTorch side. */
#ifndef _POSIX_C_SOURCE
#  define _POSIX_C_SOURCE 200809L /* fsync, for the library */
#endif
#define ACTIONFINDER_IMPLEMENTATION
#include "actionfinder.h"

#include "bench/bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifdef _OPENMP
#  include <omp.h>
#endif
#ifndef BENCH_FOLDER
#  define BENCH_FOLDER "build"
#endif

static const char MANUAL[] =
    "bench [--quick] [--rows TEXT] [--threads N] [--python PATH] [--device WORD]\n"
    "\n"
    "Prints a table and writes " BENCH_FOLDER "/bench.csv\n"
    "(row,ours,peer,ratio,fraction_of_peak). Each row is the same work done by the\n"
    "library and by a peer, in the same run: ours and peer in seconds a call (bytes\n"
    "where the row says memory), ratio = peer/ours, above 1 where the library is better.\n"
    "Run it from the top of the project: make bench.\n"
    "\n"
    "  --quick        fewer and smaller rows, some two minutes\n"
    "  --rows TEXT    only the rows whose name holds this text (and the peaks)\n"
    "  --threads N    what \"all\" threads means; default: all cores\n"
    "  --python PATH  a Python with PyTorch and numpy; also AF_TORCH_PYTHON in the\n"
    "                 environment. Otherwise python3, or one that is installed with pip\n"
    "                 into " BENCH_FOLDER "/venv\n"
    "  --device cuda  networks and the ActionFinder alone, on the GPU, beside PyTorch there;\n"
    "                 of peak: of what cuBLAS reaches; a table of Markdown. Built by make\n"
    "                 bench-cuda\n"
    "  --help         this text\n"
    "\n"
    "How: a time is the minimum over repeats, after a warm-up, until half a second is\n"
    "spent (--quick: 0.15 s; elementwise 0.3 s and 0.05 s), three repeats at least; the\n"
    "same rule, the same number of threads and the same environment for both sides, one\n"
    "after the other, in processes of their own (but libm's loops). of peak =\n"
    "operations of the matrix products / time / multiply-add peak of that precision and\n"
    "number of threads, which is measured first.\n"
    "Both sides wait for their threads as OMP_WAIT_POLICY in the environment says, by\n"
    "default spinning for a short while: on cores that other programs use, set it to\n"
    "passive (some 10 % slower for PyTorch, 3 % for the library, where nobody else is).\n";

static int bench_usage(const char *word) {
    fprintf(stderr, "bench: %s; see --help\n", word);
    return 2;
}

/* -1 to go on, otherwise the exit code. */
static int bench_options(bench *b, int count, char **words, const char **python) {
    int i;
    for (i = 1; i < count; i++) {
        const char *word = words[i], *value = i + 1 < count ? words[i + 1] : NULL;
        if (strcmp(word, "--help") == 0) {
            printf("%s", MANUAL);
            return 0;
        }
        if (strcmp(word, "--quick") == 0) {
            b->quick = 1;
            continue;
        }
        if (!value) return bench_usage(word);
        if (strcmp(word, "--rows") == 0) b->pattern = value;
        else if (strcmp(word, "--python") == 0) *python = value;
        else if (strcmp(word, "--threads") == 0) b->threads = atoi(value);
        else if (strcmp(word, "--device") == 0 && strcmp(value, "cuda") == 0) bench_use_device(1);
        else return bench_usage(word);
        if (b->threads < 0 || b->threads > 4096) return bench_usage("--threads out of range");
        i++;
    }
    return -1;
}

double bench_finder_flops(af_context *c, af_finder *finder, size_t stars, size_t batch) {
    const af__generator *g = &finder->g;
    af__inputs in = af__finder_inputs(c, stars, batch);
    af_expr none = {0}, input[5], out[2];
    af__map m = af__map_of(g, in.theta, in.j, in.old, none); /* hold_actions */
    af_func_desc d;
    af_func *f;
    double flops;
    memset(&d, 0, sizeof d);
    out[1] = af__loss(g, &m, in.weight, in.old, none);
    out[0] = af_params_grad(g->params, out[1]);
    input[0] = af_params_input(g->params);
    input[1] = in.theta;
    input[2] = in.j;
    input[3] = in.weight;
    input[4] = in.old;
    d.inputs = input;
    d.input_count = 5;
    d.outputs = out;
    d.output_count = 2;
    if (af_compile(c, &d, &f) != AF_OK) return NAN;
    flops = af_func_matmul_flops(f);
    af_func_destroy(f);
    return flops;
}

/* ---- the machine ---- */

static void bench_processor(char name[128]) {
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "r");
    snprintf(name, 128, "unknown processor");
    while (file && fgets(line, sizeof line, file)) {
        const char *value = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !value) continue;
        snprintf(name, 128, "%.120s", value + 2);
        name[strcspn(name, "\n")] = 0;
        break;
    }
    if (file) fclose(file);
}

/* The widest set that the library's kernels use here. */
static const char *bench_instructions(void) {
    if (af_backend_cpu_set(AF_SET_AVX512)) return "AVX-512";
    if (af_backend_cpu_set(AF_SET_AVX2)) return "AVX2 and FMA";
    return "vectors of 16 bytes";
}

static void bench_machine(const bench *b) {
    const char *policy = getenv("OMP_WAIT_POLICY");
    char name[128], date[16];
    time_t now = time(NULL);
    bench_processor(name);
    strftime(date, sizeof date, "%Y-%m-%d", localtime(&now));
    printf("machine: %s, %ld cores; %s\n", name, sysconf(_SC_NPROCESSORS_ONLN), date);
#if defined(__clang__)
    printf("compiler: clang %s", __clang_version__);
#elif defined(__GNUC__)
    printf("compiler: gcc %s", __VERSION__);
#else
    printf("compiler: unknown");
#endif
    printf("; library %s, kernels for %s, %s\n", af_version(), bench_instructions(),
#ifdef _OPENMP
           "OpenMP"
#else
           "no OpenMP: one thread"
#endif
    );
    printf("threads: %d, OMP_WAIT_POLICY %s\n", b->threads, policy ? policy : "not set");
}

static void bench_threads(bench *b) {
#ifdef _OPENMP
    if (b->threads == 0) b->threads = omp_get_num_procs();
#else
    b->threads = 1;
#endif
}

int main(int count, char **words) {
    static bench b;
    char path[600];
    const char *python = NULL;
    int code = bench_options(&b, count, words, &python);
    if (code >= 0) return code;
    bench_threads(&b);
    b.script = "tools/bench_torch.py";
    snprintf(b.folder, sizeof b.folder, "%s", BENCH_FOLDER);
    snprintf(path, sizeof path, "%s/bench.csv", b.folder);
    b.csv = fopen(path, "w");
    if (!b.csv) printf("%s cannot be written: run this from the top of the project\n", path);
    else fprintf(b.csv, "row,ours,peer,ratio,fraction_of_peak\n");
    bench_machine(&b);
    bench_find_python(&b, python);
    printf("PyTorch: %s\n", b.python[0] ? b.version : "none");
    if (!bench_on_device()) {
        bench_peak(&b);
        bench_matmul(&b);
        bench_elements(&b);
    } else if (!bench_device_peak(&b)) {
        return 1;
    }
    if (bench_on_device()) bench_replays(&b);
    bench_networks(&b);
    bench_finder(&b);
    if (b.csv) fclose(b.csv);
    return 0;
}
