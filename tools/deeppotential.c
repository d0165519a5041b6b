/* deeppotential: gravitational potentials from snapshots of stars, on the command line. The
 * commands are in tools/deeppotential/. */
#define _POSIX_C_SOURCE 200809L /* fsync, for the library */
#define ACTIONFINDER_IMPLEMENTATION
#define DEEPPOTENTIAL_IMPLEMENTATION
#include "deeppotential.h"

#include "deeppotential/deep.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#define PARTS_MANUAL                                                                             \
    "SUM is plummer:mass,b, isochrone:mass,b, miyamoto-nagai:mass,a,b, nfw:mass,rs (the mass\n"  \
    "4 pi rho rs^3) or logarithmic:speed,core,p,q, or several with + between them; masses in\n"  \
    "Msun, lengths in kpc. 1/G as a mass is that of G M = 1.\n"

static const char MOCK_MANUAL[] =
    "Systems:\n"
    "  plummer         an isotropic Plummer sphere inside --reach\n"
    "  miyamoto-nagai  near-circular orbits in a Miyamoto-Nagai disc, followed in time until they\n"
    "                  are mixed; with --times 8 they are not yet\n"
    "  bar             a turning logarithmic potential, phase-mixed, with net rotation\n"
    "\n"
    "--errors x,y,z puts an observer there, who measures distances to min(0.1 r, 0.1) r, and\n"
    "velocities to VLOS along and VTAN r across the line of sight; without these numbers 0.0015\n"
    "and 0.00015 sqrt(G M/scale). CSV and HDF5 hold the errors; NPY does not.\n"
    "\n"
    "--truth-gradients writes what `deeppotential gradients` would of a perfect model, so that\n"
    "`fit-potential` can be tried on the truth, and `plot` shows how good gradients are.\n"
    "\n" DEEP_VOLUME_MANUAL "\n"
    "Examples:\n"
    "  deeppotential mock plummer -o stars.npy --truth-gradients truth.npy\n"
    "  deeppotential mock miyamoto-nagai -n 524288 -o disc.h5 --volume sphere:1,0,0,0.5\n"
    "  deeppotential mock bar -o bar.csv\n";

static const char CONVERT_MANUAL[] =
    DEEP_STARS_MANUAL DEEP_VOLUME_MANUAL
    "\n"
    "--observed: the table has ra, dec or l, b [deg], distance [kpc] or parallax [mas], pmra,\n"
    "pmdec or pml, pmb [mas/yr, those of longitude with the cosine] and radial_velocity [km/s],\n"
    "every star complete; other usual names of columns are known too. A line says where the Sun\n"
    "was taken to be; x points from the Sun to the centre. Stars then have the centre of the\n"
    "galaxy as origin: a sphere about the Sun is sphere:-8.275,0,0,1.\n"
    "\n"
    "Examples:\n"
    "  deeppotential convert gaia.csv --observed -o stars.h5 --volume sphere:-8.275,0,0,1\n"
    "  deeppotential convert stars.h5 -o stars.csv\n";

static const char FIT_FLOW_MANUAL[] =
    DEEP_STARS_MANUAL DEEP_VOLUME_MANUAL
    "\n"
    "Kinds:\n"
    "  score     a network for ln f, by denoising score matching: the best gradients a minute;\n"
    "            no draws, and ln f up to a constant (--normalise)\n"
    "  matching  a flow, by conditional flow matching: draws and an absolute ln f\n"
    "  spline    a flow of rational-quadratic splines (Green & Ting 2020)\n"
    "  ffjord    a continuous flow, by its likelihood (Green, Ting & Kamdar 2023): slow\n"
    "\n"
    "The model of the best loss on stars held out is kept; Ctrl-C stops and keeps it. The line of\n"
    "progress:\n"
    "\n"
    "    epoch   12  loss 4.912  validation 4.902  best 4.903 (epoch 11)  rate 4e-03  0:41 left\n"
    "\n"
    "The losses of kinds cannot be compared; those of flows are -mean ln f. Without --seconds the\n"
    "model is the same to the byte on any number of threads, and after --resume too. Where other\n"
    "programs use the cores, OMP_WAIT_POLICY=passive in the environment is much faster.\n"
    "\n"
    "Examples:\n"
    "  deeppotential fit-flow stars.csv -o df.safetensors --seconds 300\n"
    "  deeppotential fit-flow stars.h5 -o flow.safetensors --kind matching --seconds 300\n"
    "  deeppotential fit-flow stars.csv -o df.safetensors --ensemble 4 --bootstrap\n";

static const char SAMPLE_MANUAL[] =
    "FLOW is of the kind matching, spline or ffjord.\n" DEEP_VOLUME_MANUAL
    "\n"
    "Example:\n"
    "  deeppotential sample flow.safetensors -n 100000 -o draws.npy\n";

static const char GRADIENTS_MANUAL[] =
    DEEP_STARS_MANUAL DEEP_VOLUME_MANUAL
    "\n"
    "GRADS has for each point x, y, z, vx, vy, vz, the six components of d ln f/d(x,v), ln f and,\n"
    "if stars have them, the weight: columns of a table (x ... vz, dlnf_dx ... dlnf_dvz, ln_f,\n"
    "weight) or of NPY, or in HDF5 eta, dlnf_deta, lnf, weights. Several models are taken as one,\n"
    "the mean of their f.\n"
    "\n"
    "Examples:\n"
    "  deeppotential gradients df.safetensors stars.csv -o grads.npy\n"
    "  deeppotential gradients df-*.safetensors stars.csv -o grads.npy --robust\n"
    "  deeppotential gradients df.safetensors --draw flow.safetensors -n 200000 -o grads.h5\n";

static const char FIT_POTENTIAL_MANUAL[] =
    "GRADS is what `deeppotential gradients` writes; or DF... STARS (or --draw FLOW) take the\n"
    "gradients at once. df_deta and f of the authors' HDF5 files are known too.\n"
    DEEP_VOLUME_MANUAL
    "\n" PARTS_MANUAL
    "A number with a ! behind it is not fitted: miyamoto-nagai:1e11,3!,0.3!. All others are.\n"
    "\n"
    "The loss is that of Green, Ting & Kamdar (2023, eqs. 9 to 13), of d ln f/dt, which makes all\n"
    "regions count alike, or of df/dt as theirs (--loss df --log-loss --l2 0.1). It says how far\n"
    "from stationary f is in the potential, and lambda times how negative the density.\n"
    "\n"
    "--frame: f is stationary in a frame that turns with omega [velocity/length] about the z axis\n"
    "through (x, y), and moves with (ux, uy, uz); --free omega fits the pattern speed, beginning\n"
    "at the --frame's.\n"
    "\n"
    "Close to the edge of the sample's volume few stars tell the gradients: --cut to one a little smaller.\n"
    "\n"
    "Examples:\n"
    "  deeppotential fit-potential grads.npy -o phi.safetensors --seconds 120\n"
    "  deeppotential fit-potential df.safetensors stars.csv -o phi.safetensors --inputs rz\n"
    "  deeppotential fit-potential grads.npy -o phi.safetensors --analytic \\\n"
    "      miyamoto-nagai:1/G,1.2,0.2\n"
    "  deeppotential fit-potential grads.npy -o phi.safetensors --frame omega=25 --free omega\n";

static const char EVAL_MANUAL[] =
    "POINTS is a table with columns x, y, z, NPY whose rows begin with them, or HDF5 with eta.\n"
    "\n"
    "The table has x, y, z [kpc], phi [(km/s)^2] (its constant has no meaning), ax, ay, az\n"
    "[(km/s)^2/kpc], density [Msun/kpc^3]; several potentials, as `fit-potential --ensemble`\n"
    "makes them, give the mean and, in columns ..._error, the standard deviation of one.\n"
    "\n" PARTS_MANUAL
    "--check prints the median and 90 per cent of the relative errors of potential (the offset\n"
    "taken out), force and density beside those of a constant potential, and FIGURE lines for\n"
    "programs. Where no star is, nothing is known: --within R.\n"
    "\n"
    "Examples:\n"
    "  deeppotential eval phi.safetensors points.csv -o table.csv --surface-density 1.1\n"
    "  deeppotential eval phi.safetensors --rotation-curve v.csv --radii 0.5:12:50\n"
    "  deeppotential eval phi.safetensors stars.npy --check plummer:1/G,1 --within 2\n";

static const char LOCAL_MANUAL[] =
    "At each place the acceleration that keeps f stationary for the velocities of the stars\n"
    "nearest to it, by least squares: a check of `fit-potential` without a potential. The table\n"
    "has x, y, z, ax, ay, az, their errors from the scatter, and leftover, the rms d ln f/dt that\n"
    "remains.\n"
    "POINTS as in `deeppotential eval --help`.\n\n" DEEP_STARS_MANUAL DEEP_VOLUME_MANUAL
    "\n"
    "Example:\n"
    "  deeppotential local df.safetensors stars.csv --at points.csv -o local.csv\n";

static const char PLOT_MANUAL[] =
    "Panels: the density in the planes z = 0 and y = 0, the potential, density and circular\n"
    "velocity over the radius; with --gradients the mean of d ln f/dt over the points (figure 12\n"
    "of the paper), red where stars gather; with --truth how good the gradients are; with\n"
    "--history and --flow-history how the training went. White in the maps of the density is\n"
    "where the learned one is zero or negative: too few stars are there to tell it.\n"
    "\n" PARTS_MANUAL
    "\n"
    "Example:\n"
    "  deeppotential plot phi.safetensors -o picture.svg --gradients grads.npy \\\n"
    "      --check plummer:1/G,1\n";

static const char SYMBOLIC_MANUAL[] =
    DEEP_FORMULAS_MANUAL
    "\n"
    "--affine is amplitude unless it is given.\n"
    "\n"
    "With --group each of its data sets has its own --specific constants: one law, many curves.\n"
    "\n"
    "Examples:\n"
    "  deeppotential symbolic curve.csv -y phi:kpc^2/Myr^2 -x r:kpc \\\n"
    "      --constants GM:kpc^3/Myr^2,b:kpc -o front.csv -c formula.c\n"
    "  deeppotential symbolic disc.csv -y phi:km^2/s^2 -x R:kpc,z:kpc --sigma error \\\n"
    "      --constants GM:kpc*km^2/s^2,a:kpc,b:kpc --filter zero-at-infinity --time 60\n"
    "  deeppotential symbolic decay.csv -y N -x t:s --group sample --specific N0,tau:s\n";

static const char DISTILL_MANUAL[] =
    "PHI is what `deeppotential fit-potential` writes, or `recover` with --model; of several the\n"
    "mean is taken, and their scatter for its error. Whether it is spherical (r) or axisymmetric\n"
    "(R and z) is found. At each r, or R and z, it is averaged over directions, about the centre\n"
    "of its frame; --at takes it at places as they are, of r unless --inputs rz. Units are kpc\n"
    "and km/s; by default the constants are GM and b, of R and z GM, a and b, and (--affine\n"
    "offset) a C that has no meaning. Of R and z formulas of + - * / sqrt are tried first, then\n"
    "those with log.\n"
    "The one with a * is the shortest description: the errors of a network are smooth, so that\n"
    "they count as fewer points than there are. The column `of force` is the rms error of the\n"
    "formula's gradient over the rms acceleration: it was not fitted.\n"
    "\n" DEEP_FORMULAS_MANUAL
    "\n"
    "Examples:\n"
    "  deeppotential distill phi.safetensors --radii 0.1:10:60 -c formula.c --latex formula.tex\n"
    "  deeppotential distill phi.safetensors --inputs rz --radii 1:12:20 --heights -3:3:15 \\\n"
    "      --time 60\n"
    "  deeppotential distill phi-*.safetensors --at stars.npy -n 2000 --filter density\n";

static const char RECOVER_MANUAL[] =
    DEEP_STARS_MANUAL
    "\n"
    "The stars' phases must be mixed, the potential a sphere's or, with --axisymmetric, a disc's.\n"
    "Its force, and its potential less the mean over the stars, are such that the actions of the\n"
    "stars are as likely as can be, with a free density of actions; the error bars allow for\n"
    "that. The table has r [kpc], or R and z, phi [(km/s)^2], force [(km/s)^2/kpc], density\n"
    "[Msun/kpc^3], each with its standard error, and phi and force of the potential that the fit\n"
    "began with. Ctrl-C ends the fit and keeps the best.\n"
    "\n"
    "A sphere is free in form, a disc the sum of --parts, all of whose numbers are learned but\n"
    "those with a !, or else two Miyamoto-Nagai discs and a sphere. `deeppotential distill` takes\n"
    "--model.\n"
    "\n"
    "Do not cut the stars in space, since orbits cross the cut; cut in energy, or not at all.\n"
    "Measurement errors are not taken into account. Stars of one stream nearly share their\n"
    "actions: --streams tells which they are, and makes a sphere's potential much better.\n"
    "\n" PARTS_MANUAL
    "\n"
    "Examples:\n"
    "  deeppotential mock plummer -n 20000 --reach 1000 -o stars.csv\n"
    "  deeppotential recover stars.csv -o potential.csv --check plummer:1/G,1\n"
    "  deeppotential recover halo.csv -o potential.csv --streams stream\n"
    "  deeppotential recover disc.csv -o potential.csv --axisymmetric \\\n"
    "      --parts miyamoto-nagai:1e11,3,0.3+nfw:5e11,15!\n";

static const char RUN_MANUAL[] =
    "OPTIONS.txt has lines `key = value`; # begins a comment. Keys:\n"
    "\n"
    "  stars = FILE       the stars; or mock = plummer|miyamoto-nagai|bar\n"
    "  folder = FOLDER    where the products go; it is made if need be\n"
    "  points = FILE      where `eval` evaluates; default: at the stars\n"
    "  volume, check, threads, quiet (yes or no): for all stages that know them\n"
    "  STAGE.OPTION       an option of a command, the stages being mock, fit-flow, gradients,\n"
    "                     fit-potential, eval and plot; flags are yes or no\n"
    "\n"
    "The folder then holds options.txt, df.safetensors, df-loss.csv, gradients.npy,\n"
    "phi.safetensors, phi-loss.csv, table.csv, picture.svg and, with eval.radii, rotation.csv.\n"
    "\n"
    "Example of OPTIONS.txt, two minutes:\n"
    "  mock = plummer\n"
    "  folder = plummer\n"
    "  check = plummer:1/G,1\n"
    "  fit-flow.seconds = 60\n"
    "  fit-potential.seconds = 30\n"
    "  eval.within = 2\n";

static const cli_command COMMANDS[] = {
    {"run", "OPTIONS.txt [options]", "All stages by one file of options.", RUN_MANUAL, deep_run},
    {"mock", "SYSTEM -o STARS [options]", "Makes stars in a known potential.", MOCK_MANUAL,
     deep_mock},
    {"convert", "STARS -o STARS [options]",
     "Stars from one kind of file to another, cut to a volume, or as observed.", CONVERT_MANUAL,
     deep_convert},
    {"fit-flow", "STARS -o DF.safetensors [options]", "Trains a distribution function on stars.",
     FIT_FLOW_MANUAL, deep_fit_flow},
    {"sample", "FLOW -o STARS [options]", "Draws stars from a flow.", SAMPLE_MANUAL, deep_sample},
    {"gradients", "DF... STARS -o GRADS [options]", "Computes ln f and its gradients.",
     GRADIENTS_MANUAL, deep_gradients},
    {"fit-potential", "GRADS -o PHI.safetensors [options]",
     "Finds the potential in which f is stationary.", FIT_POTENTIAL_MANUAL, deep_fit_potential},
    {"eval", "PHI... POINTS -o TABLE.csv [options]",
     "Potential, acceleration, density, circular velocity, surface density.", EVAL_MANUAL,
     deep_eval},
    {"local", "DF STARS --at POINTS -o TABLE.csv [options]",
     "Accelerations from f alone, without a potential.", LOCAL_MANUAL, deep_local},
    {"plot", "PHI -o FILE.svg [options]", "Draws density, potential, how stationary f is.",
     PLOT_MANUAL, deep_plot},
    {"recover", "STARS -o TABLE.csv [options]",
     "Finds a spherical or axisymmetric potential through actions, with error bars.",
     RECOVER_MANUAL, deep_recover},
    {"distill", "PHI... [options]", "Finds formulas for a potential, with units.",
     DISTILL_MANUAL, deep_distill},
    {"symbolic", "TABLE -y COLUMN:UNITS -x COLUMN:UNITS,... [options]",
     "Finds formulas for a column of a table, with units.", SYMBOLIC_MANUAL, deep_symbolic},
};
enum { COMMAND_COUNT = sizeof COMMANDS / sizeof *COMMANDS };

const cli_command *deep_command(const char *name) {
    size_t i;
    for (i = 0; i < (size_t)COMMAND_COUNT; i++)
        if (strcmp(COMMANDS[i].name, name) == 0) return &COMMANDS[i];
    return NULL;
}

static void help(FILE *to) {
    fputs("deeppotential: gravitational potentials from snapshots of stars (after Green & Ting\n"
          "2020 and Green, Ting & Kamdar 2023, ApJ 942, 26)\n\n"
          "Commands:\n",
          to);
    cli_list(to, COMMANDS, COMMAND_COUNT, 13);
    fputs("  deeppotential COMMAND --help      tells more, with examples\n"
          "  deeppotential --version\n\n"
          "Units are kpc, km/s, solar masses. Exit codes: 0 all went well, 1 something failed\n"
          "(one sentence on stderr says what), 2 the command line is wrong. Files are written\n"
          "whole or not at all.\n\n"
          "A first try, two minutes:\n"
          "  deeppotential mock plummer -n 32768 -o stars.npy\n"
          "  deeppotential fit-flow stars.npy -o df.safetensors --seconds 60\n"
          "  deeppotential fit-potential df.safetensors stars.npy -o phi.safetensors --seconds 30\n"
          "  deeppotential eval phi.safetensors stars.npy --check plummer:1/G,1 --within 2\n"
          "  deeppotential plot phi.safetensors -o picture.svg --reach 3 --check plummer:1/G,1\n",
          to);
}

static int dispatch(int count, char **words) {
    if (count < 2) {
        help(stderr);
        return CLI_USAGE;
    }
    if (strcmp(words[1], "--help") == 0 || strcmp(words[1], "-h") == 0 ||
        strcmp(words[1], "help") == 0) {
        help(stdout);
        return CLI_OK;
    }
    if (strcmp(words[1], "--version") == 0) {
        printf("deeppotential %s\n", dp_version());
        return CLI_OK;
    }
    return cli_dispatch("deeppotential", COMMANDS, COMMAND_COUNT, count - 1, words + 1);
}

int main(int count, char **words) {
    int code;
    cli_program = "deeppotential";
#ifdef SIGXFSZ
    signal(SIGXFSZ,
           SIG_IGN); /* a file that may not grow is an error of the write, with a sentence */
#endif
    code = dispatch(count, words);
    errno = 0;
    if ((fflush(stdout) != 0 || ferror(stdout)) && code == CLI_OK)
        code = cli_fail("cannot write to the standard output: %s", strerror(errno ? errno : EIO));
    return code;
}
