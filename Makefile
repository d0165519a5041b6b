# make            the two headers and the command-line tools build/actionfinder, build/deeppotential
# make test       every test, twice (plain, and under the address and undefined-behaviour sanitisers),
#                 and the checks of the house; the last line is `N passed, N failed`
# make check      test, after checking that the committed headers are those that src/ gives
# make headers    actionfinder.h and deeppotential.h from src/
# make floors     every prefix of the list of parts compiles: no part uses a later one
# make examples   build/examples/...
# make demo       builds the tool, makes mock orbits, fits, prints the errors, draws build/demo/demo.svg
# make bench      how fast the library is beside OpenBLAS, libm and PyTorch, in some ten minutes:
#                 a table and build/bench.csv; see build/bench --help
# make bench-quick   the same with fewer and smaller rows, two minutes
# make reproduce-actionfinder   the tests of the ActionFinder paper as one table, and its figures, in
#                 build/reproduce/, in some half an hour; DATA=folder takes ready-made samples, ROWS=a,b
#                 only some of the tests; see build/reproduce-actionfinder --help
# make reproduce-deeppotential   the tests of the Deep Potential paper as one table, and its figures, in
#                 build/reproduce-dp/, in some two hours; ROWS=a,b only some of the tests,
#                 SCALE=0.1 smaller ones; see build/reproduce-deeppotential --help
# make formulas   whether formulas of known potentials are found from noisy values, a table, in some
#                 four minutes; see build/formulas --help
# make CUDA=1     the command-line tools with --device cuda: needs nvcc, which is looked for on the PATH
#                 and in /usr/local/cuda; CUDA_ARCH=native compiles for the GPU of this machine alone.
#                 make CUDA=1 examples builds cuda_train with it and, where NCCL is installed, nccl_train;
#                 mpi_train is among the examples where MPI is installed
# make test-cuda  every operation and some trainings on the GPU of this machine beside the CPU, and
#                 under compute-sanitizer, where it works; `make test` does so on the host, without a GPU
# make bench-cuda how fast that GPU is beside its cuBLAS and PyTorch: a table and build/bench.csv, in
#                 some ten minutes; ROWS=text only the rows whose name has it. Both compile for the GPU
#                 of this machine, and need no network where stb_ds.h is there
# make feynman    formulas of the Feynman set from data: build/feynman.csv and a table, some minutes;
#                 PROBLEMS=a,b only some of them, SECONDS=60 the CPU time for each
# make deps       stb_ds.h, the only dependency: installed with apt-get where that is possible. HDF5
#                 (libhdf5-dev) is used by build/deeppotential where it is found, and only there
# make clean      removes build/
#
# CC, CFLAGS, CPPFLAGS, LDFLAGS and LDLIBS are yours to set. What the compiler can do is tried.

B      := build
JOBS   ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
CFLAGS ?=
WARN   := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes \
          -Wmissing-prototypes
HASH   := \#
COMMA  := ,

all: headers tool

# ---- what the compiler can do ---------------------------------------------------------------------

# $(call probe,compiler,flags,program,libraries): the flags, when the program builds with them and runs
probe = $(shell mkdir -p $(B); printf '$(3)\n' | $(1) $(CPPFLAGS) $(2) -x c - -o $(B)/probe.$$$$ $(4) \
        >/dev/null 2>&1 && $(B)/probe.$$$$ >/dev/null 2>&1 && echo '$(2)'; rm -f $(B)/probe.$$$$)
main  = int main(void) { return 0; }

ifeq ($(shell uname),Darwin) # Homebrew's folders, where the compiler does not look by itself
override CPPFLAGS += $(addprefix -I,$(wildcard /opt/homebrew/include /usr/local/include))
endif
ifneq ($(MAKECMDGOALS),clean)
OPENMP := $(call probe,$(CC),-fopenmp,$(HASH)include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; })
SANITIZE     := -fsanitize=address,undefined -fno-sanitize-recover=undefined -g1 -fno-omit-frame-pointer
SANITIZE_CC  := $(firstword $(foreach cc,$(CC) clang gcc,$(if $(call probe,$(cc),$(SANITIZE),$(main)),$(cc))))
SANITIZE_OMP := $(if $(SANITIZE_CC),$(call probe,$(SANITIZE_CC),-fopenmp,$(HASH)include <omp.h>\n$(main)))
endif
export CC CPPFLAGS
export BUILD := $(B)

# ---- stb_ds ---------------------------------------------------------------------------------------

HAVE_STB := $(CC) $(CPPFLAGS) -E src/base/af_stb.c >/dev/null 2>&1

deps:
	@$(HAVE_STB) || { \
	  root=; [ "$$(id -u)" = 0 ] || root='sudo -n'; \
	  command -v apt-get >/dev/null && $$root true 2>/dev/null && \
	    { $$root apt-get install -y libstb-dev || \
	      { $$root apt-get update && $$root apt-get install -y libstb-dev; }; } >/dev/null 2>&1; \
	  $(HAVE_STB); } || { \
	  echo 'stb_ds.h is missing: install libstb-dev (Debian, Ubuntu), or put stb_ds.h of github.com/nothings/stb in a folder and give make CPPFLAGS=-I/that/folder'; \
	  exit 1; }

# ---- the headers: made in build/include, copied to the top by `make headers` ----------------------

PARTS   := $(wildcard src/*/*.h src/*/*.c)
HEADERS := $(B)/include/actionfinder.h $(B)/include/deeppotential.h

$(B)/amalgamate: tools/amalgamate.c
	@mkdir -p $(B)
	$(CC) -std=c99 -O1 $(WARN) $< -o $@

$(B)/include/actionfinder.h: $(filter-out src/dp/%,$(PARTS))
$(B)/include/deeppotential.h: $(filter src/dp/%,$(PARTS))
$(B)/include/%.h: src/%.in.h $(B)/amalgamate
	@mkdir -p $(B)/include
	$(B)/amalgamate $< $@

headers: $(HEADERS)
	@for h in $(HEADERS); do cmp -s $$h $$(basename $$h) || cp $$h $$(basename $$h); done

# ---- the tools and the examples -------------------------------------------------------------------

TOOL     := $(B)/actionfinder $(B)/deeppotential
COMMANDS := $(wildcard tools/actionfinder/*.c)
DEEP     := $(wildcard tools/deeppotential/*.c) $(addprefix tools/actionfinder/,cli.c sky.c svg.c)
MPICC    := $(shell command -v mpicc 2>/dev/null)
# those for which there is what they need
EXAMPLES := $(patsubst examples/%.c,$(B)/examples/%,$(filter-out \
              $(if $(MPICC),,examples/mpi_train.c) $(if $(CUDA),,examples/nccl_train.c) \
              $(if $(wildcard /usr/include/nccl.h /usr/local/include/nccl.h /usr/local/cuda/include/nccl.h),,examples/nccl_train.c),\
              $(wildcard examples/*.c)))
FAST      = -std=c99 -O2 $(OPENMP) -Wall -Wextra $(CPPFLAGS) -I$(B)/include $(CFLAGS)

# HDF5, where it is there: HDF5_LIBS are what follows the sources
HDF5_LIBS := $(or $(shell pkg-config --libs hdf5 2>/dev/null),-lhdf5)
HDF5_DIRS := $(shell pkg-config --cflags hdf5 2>/dev/null)
ifneq ($(MAKECMDGOALS),clean)
HDF5 := $(call probe,$(CC),-DAF_HDF5 $(HDF5_DIRS),$(HASH)include <hdf5.h>\nint main(void) { return H5open() < 0; },$(LDFLAGS) $(HDF5_LIBS))
endif
export HDF5
export HDF5_LIBS := $(if $(HDF5),$(HDF5_LIBS))

# nvcc, where it is there: CUDA_OBJECT is af_cuda.cu compiled, CUDA_LIBS what it needs
NVCC      ?= $(or $(shell command -v nvcc 2>/dev/null),$(wildcard /usr/local/cuda/bin/nvcc))
CUDA_ARCH ?= $(if $(filter test-cuda bench-cuda,$(MAKECMDGOALS)),native,all-major)
CUDA_ROOT  = $(patsubst %/bin/nvcc,%,$(realpath $(NVCC)))
# $(call cuda_dir,file,folders): the first of these folders under CUDA_ROOT that has the file
cuda_dir   = $(patsubst %/$(1),%,$(firstword $(wildcard $(foreach d,$(2),$(CUDA_ROOT)/$(d)/$(1)))))
CUDA_LIB   = $(call cuda_dir,libcudart.so,lib64 lib targets/*/lib lib/*-linux-gnu)
CUDA_LIBS  = $(if $(CUDA_LIB),-L$(CUDA_LIB) -Wl$(COMMA)-rpath$(COMMA)$(CUDA_LIB)) -lcudart -lcublas -lstdc++
CUDA_HEADERS = $(addprefix -I,$(filter-out /usr/include,$(call cuda_dir,cuda_runtime_api.h,include targets/*/include)))
CUDA_OBJECT := $(B)/af_cuda.o
need_nvcc  = $(if $(NVCC),,$(error there is no nvcc: install the CUDA toolkit, or give make NVCC=/its/folder/bin/nvcc))
WITH_CUDA  = $(if $(CUDA),-DAF_CUDA) # what compiles, and what links, a program for the device
LINK_CUDA  = $(if $(CUDA),$(CUDA_OBJECT) $(CUDA_LIBS))
DEVICE    := $(B)/device-$(if $(CUDA),cuda,cpu)

$(CUDA_OBJECT): af_cuda.cu $(HEADERS)
	$(need_nvcc)$(NVCC) -O2 -arch=$(CUDA_ARCH) $(CPPFLAGS) -include $(B)/include/actionfinder.h -c $< -o $@

$(DEVICE): # programs are made anew for another device
	@mkdir -p $(B)
	@rm -f $(B)/device-*
	@touch $@

tool: $(TOOL)
examples: $(EXAMPLES)

$(B)/actionfinder: tools/actionfinder.c $(COMMANDS) $(wildcard tools/actionfinder/*.h) $(HEADERS) $(DEVICE) $(if $(CUDA),$(CUDA_OBJECT)) | deps
	$(CC) $(FAST) $(WITH_CUDA) $< $(COMMANDS) -o $@ $(LDFLAGS) $(LINK_CUDA) -lm $(LDLIBS)

$(B)/deeppotential: tools/deeppotential.c $(DEEP) $(wildcard tools/deeppotential/*.h tools/actionfinder/*.h) $(HEADERS) $(DEVICE) $(if $(CUDA),$(CUDA_OBJECT)) | deps
	$(CC) $(FAST) $(WITH_CUDA) $(HDF5) -Itools/actionfinder $< $(DEEP) -o $@ $(LDFLAGS) $(LINK_CUDA) $(HDF5_LIBS) -lm $(LDLIBS)

$(EXAMPLES): $(B)/examples/%: examples/%.c $(wildcard examples/*.h) $(HEADERS) | deps
	@mkdir -p $(@D)
	$(or $(EXAMPLE_CC),$(CC)) $(FAST) $(EXAMPLE_FLAGS) $< -o $@ $(LDFLAGS) $(EXAMPLE_LIBS) -lm $(LDLIBS)

$(B)/examples/mpi_train: EXAMPLE_CC = $(MPICC)
$(B)/examples/cuda_train $(B)/examples/nccl_train: $(DEVICE) $(if $(CUDA),$(CUDA_OBJECT))
$(B)/examples/cuda_train: EXAMPLE_FLAGS = $(WITH_CUDA)
$(B)/examples/cuda_train: EXAMPLE_LIBS = $(LINK_CUDA)
$(B)/examples/nccl_train: EXAMPLE_FLAGS = $(CUDA_HEADERS)
$(B)/examples/nccl_train: EXAMPLE_LIBS = $(CUDA_OBJECT) $(CUDA_LIBS) -lnccl

# Mock orbits in a disc and a halo, a fit, its errors, a picture. DEMO_SECONDS is the time for the fit.
D := $(B)/demo
DEMO_SECONDS ?= 60
AF := $(B)/actionfinder

demo: export OMP_WAIT_POLICY ?= passive # other programs may want the cores
demo: tool
	@mkdir -p $(D)
	$(AF) mock -o $(D)/train.npy --streams 4096 --seed 1
	$(AF) mock -o $(D)/test.npy --streams 192 --seed 2 --truth $(D)/J.npy --truth-error $(D)/J_err.npy
	$(AF) mock -o $(D)/long.npy --streams 3 --stars 200 --span 1 --even --seed 29 --truth $(D)/long_J.npy
	$(AF) fit $(D)/train.npy -o $(D)/model.safetensors --extend no --seconds $(DEMO_SECONDS) --history $(D)/loss.csv
	$(AF) check $(D)/model.safetensors $(D)/test.npy --truth $(D)/J.npy --truth-error $(D)/J_err.npy --max-error 1
	$(AF) plot $(D)/model.safetensors $(D)/long.npy --truth $(D)/long_J.npy --span 1 \
	  --history $(D)/loss.csv --test $(D)/test.npy --test-truth $(D)/J.npy -o $(D)/demo.svg

# ---- the benchmarks: never part of the tests ---------------------------------------------------------

BENCH := $(wildcard tools/bench/*.c)

$(B)/bench: tools/bench.c $(BENCH) $(wildcard tools/bench/*.h) $(HEADERS) | deps
	$(CC) $(FAST) -DBENCH_FOLDER='"$(B)"' -Itools/bench $< $(BENCH) -o $@ $(LDFLAGS) -lm -ldl $(LDLIBS)

bench: $(B)/bench # OMP_WAIT_POLICY=passive make bench, where other programs use the cores
	$(B)/bench

bench-quick: $(B)/bench
	$(B)/bench --quick

$(B)/bench-cuda: tools/bench.c $(BENCH) $(wildcard tools/bench/*.h) $(HEADERS) $(CUDA_OBJECT) | deps
	$(CC) $(FAST) -DAF_CUDA $(CUDA_HEADERS) -DBENCH_FOLDER='"$(B)"' -Itools/bench $< $(BENCH) $(CUDA_OBJECT) -o $@ $(LDFLAGS) $(CUDA_LIBS) -lm -ldl $(LDLIBS)

bench-cuda: $(B)/bench-cuda
	$(B)/bench-cuda --device cuda $(if $(ROWS),--rows '$(ROWS)')

# ---- the papers' tests; tests/reproduce.sh and reproduce_dp.sh run them quickly ------------------------

REPRODUCE := $(wildcard tools/reproduce/*.c) $(addprefix tools/actionfinder/,cli.c mock_start.c sky.c svg.c)

$(B)/reproduce-actionfinder: $(REPRODUCE) $(wildcard tools/reproduce/*.h tools/actionfinder/*.h) $(HEADERS) | deps
	$(CC) $(FAST) -DREDO_FOLDER='"$(B)/reproduce"' -Itools/actionfinder $(REPRODUCE) -o $@ $(LDFLAGS) -lm $(LDLIBS)

reproduce-actionfinder: export OMP_WAIT_POLICY ?= passive # CPU seconds are counted
reproduce-actionfinder: $(B)/reproduce-actionfinder
	$< $(if $(DATA),--data $(DATA)) $(if $(ROWS),--rows $(ROWS))

REPRODUCE_DP := $(wildcard tools/reproduce_dp/*.c) $(addprefix tools/actionfinder/,cli.c sky.c svg.c) \
                $(addprefix tools/deeppotential/,data.c h5_file.c h5_stars.c models.c options.c)

$(B)/reproduce-deeppotential: $(REPRODUCE_DP) $(wildcard tools/reproduce_dp/*.h tools/*/deep.h tools/actionfinder/*.h) $(HEADERS) | deps
	$(CC) $(FAST) -DDPR_FOLDER='"$(B)/reproduce-dp"' -Itools/actionfinder -Itools/deeppotential $(REPRODUCE_DP) -o $@ $(LDFLAGS) -lm $(LDLIBS)

reproduce-deeppotential: export OMP_WAIT_POLICY ?= passive
reproduce-deeppotential: $(B)/reproduce-deeppotential
	$< $(if $(ROWS),--rows $(ROWS)) $(if $(SCALE),--scale $(SCALE))

# ---- formulas from noisy values: a table -------------------------------------------------------------

$(B)/formulas: tools/formulas.c $(HEADERS) | deps
	$(CC) $(FAST) $< -o $@ $(LDFLAGS) -lm $(LDLIBS)

formulas: export OMP_WAIT_POLICY ?= passive # CPU seconds are counted
formulas: $(B)/formulas
	$<

# ---- the Feynman set ------------------------------------------------------------------------------

FEYNMAN := tools/symbolic/run.c tools/symbolic/feynman.c
SECONDS ?= 60

$(B)/feynman: $(FEYNMAN) tools/symbolic/feynman.h $(HEADERS) | deps
	$(CC) $(FAST) $(FEYNMAN) -o $@ $(LDFLAGS) -lm $(LDLIBS)

feynman: export OMP_WAIT_POLICY ?= passive # CPU seconds are counted
feynman: $(B)/feynman
	$< --csv $(B)/feynman.csv --seconds $(SECONDS) $(if $(PROBLEMS),--problems $(PROBLEMS))

# ---- the tests ------------------------------------------------------------------------------------

TESTS   := $(patsubst tests/%.c,%,$(wildcard tests/test_*.c tests/fuzz_*.c))
PLAIN   := $(TESTS:%=$(B)/test/%)
CHECKED := $(if $(SANITIZE_CC),$(TESTS:%=$(B)/test/%.sanitized))
SCRIPTS := hygiene_compile hygiene_symbols cli_dp cli_symbolic cli_recover reproduce_dp reproduce cli \
           hygiene_stb cuda snippets floors parallel amalgamate
# the longest first, so that no processor idles at the end
LOGS    := $(addsuffix .log,$(SCRIPTS:%=$(B)/test/%) $(CHECKED) $(PLAIN))
# -Isrc: the tests compile the parts, not the generated headers; AF__WHITE_BOX: see af_stb_end.c
TEST     = -std=c99 $(WARN) -DAF__WHITE_BOX= $(CPPFLAGS) -Isrc -Itests -I$(B)/include -MMD -MP -MF $@.d -MT $@
OBJECT  := $(B)/test/library.o
CHECKED_OBJECT := $(B)/test/library.sanitized.o
OBJECTS := $(OBJECT) $(B)/test/library_dp.o

# Tests of private parts, and those of Deep Potential, include the implementation; all others are
# linked with one object of it. Compiling is most of the time of `make test`, so that what is included
# is private to the test: what the test does not call costs next to nothing. Sanitised, it has the
# kernels of all instruction sets only where it is them that are tested; the object has them all.
WHOLE := $(patsubst tests/%.c,%,$(shell grep -l 'define ACTIONFINDER_IMPLEMENTATION' tests/test_*.c tests/fuzz_*.c))
DEEP_TESTS := $(patsubst tests/%.c,%,$(shell grep -l 'define DEEPPOTENTIAL_IMPLEMENTATION' tests/test_*.c))
LINKED := $(filter-out $(WHOLE),$(TESTS))
KERNEL_TESTS := test_minimise_parts
# Where all is private, gcc guesses wrongly what may be uninitialised; it is asked in hygiene_compile.sh.
GUESSES := $(if $(call probe,$(CC),-Wno-maybe-uninitialized -Werror,$(main)),-Wno-maybe-uninitialized)
private = $(if $(filter $(1),$(WHOLE)),-DAF_STATIC $(GUESSES)) \
          $(if $(filter $(1),$(DEEP_TESTS)),-include dp_static.h $(GUESSES))

$(OBJECTS): $(B)/test/%.o: tests/%.c $(HEADERS) | deps
	@mkdir -p $(@D)
	$(CC) $(TEST) -O2 $(OPENMP) $(CFLAGS) -c $< -o $@

$(CHECKED_OBJECT): tests/library.c $(B)/include/actionfinder.h | deps
	@mkdir -p $(@D)
	$(SANITIZE_CC) $(TEST) -O1 $(SANITIZE) $(SANITIZE_OMP) -c $< -o $@

$(LINKED:%=$(B)/test/%): $(OBJECT)
$(LINKED:%=$(B)/test/%.sanitized): $(CHECKED_OBJECT)
$(DEEP_TESTS:%=$(B)/test/%) $(DEEP_TESTS:%=$(B)/test/%.sanitized): $(B)/include/deeppotential.h

$(PLAIN): $(B)/test/%: tests/%.c $(B)/include/actionfinder.h | deps
	@mkdir -p $(@D)
	$(CC) $(call private,$*) $(TEST) -O1 $(OPENMP) $(CFLAGS) $< $(filter %.o,$^) -o $@ $(LDFLAGS) -lm $(LDLIBS)

$(CHECKED): $(B)/test/%.sanitized: tests/%.c $(B)/include/actionfinder.h | deps
	@mkdir -p $(@D)
	$(SANITIZE_CC) $(call private,$*) $(TEST) -O1 $(if $(filter $*,$(LINKED) $(KERNEL_TESTS)),,-DAF_NO_AVX) $(SANITIZE) $(SANITIZE_OMP) $< $(filter %.o,$^) -o $@ $(LDFLAGS) -lm $(LDLIBS)

$(addsuffix .log,$(PLAIN) $(CHECKED)): %.log: % always
	@echo "$*"; sh tests/run.sh $@ $*

# Programs that scripts link with the objects, and what some scripts take from others
BUILDERS := cuda parallel cli cli_dp reproduce reproduce_dp
$(BUILDERS:%=$(B)/test/%.log): $(OBJECTS)
$(BUILDERS:%=$(B)/test/%.log): export OPENMP_FLAG = $(OPENMP)
$(B)/test/hygiene_symbols.log: $(B)/test/hygiene_compile.log
$(B)/test/cli_symbolic.log $(B)/test/cli_recover.log: $(B)/test/cli_dp.log
$(SCRIPTS:%=$(B)/test/%.log): $(B)/test/%.log: tests/%.sh $(HEADERS) always | deps
	@mkdir -p $(@D)
	@echo "$<"; sh tests/run.sh $@ sh $<

test: deps
	@rm -f $(B)/test/*.log
	@$(MAKE) --no-print-directory -k -j$(JOBS) $(LOGS) || true # what failed is counted below
	@$(if $(SANITIZE_CC),,echo 'no compiler with sanitisers: tests run plain only')
	@sh tests/summary.sh $(LOGS)

# On a device: what tests/cuda.sh does on the host.
test-cuda: $(CUDA_OBJECT) $(OBJECTS) | deps
	@NVCC='$(NVCC)' CUDA_OBJECT='$(CUDA_OBJECT)' CUDA_HEADERS='$(CUDA_HEADERS)' CUDA_LIBS='$(CUDA_LIBS)' OPENMP_FLAG='$(OPENMP)' sh tests/cuda_device.sh

floors: deps
	@mkdir -p $(B)
	@sh tests/floors.sh

check: headers
	@git diff --exit-code --stat -- actionfinder.h deeppotential.h || \
	  { echo 'the committed headers differ from what src/ gives: commit what `make headers` made'; exit 1; }
	@$(MAKE) --no-print-directory test

clean:
	rm -rf $(B)

-include $(wildcard $(B)/test/*.d)
.PHONY: all deps headers tool examples demo bench bench-quick bench-cuda test-cuda reproduce-actionfinder reproduce-deeppotential formulas feynman test floors check clean always
.DELETE_ON_ERROR:
