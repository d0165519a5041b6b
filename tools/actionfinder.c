/* actionfinder: actions and angles of stars from orbits, on the command line. The commands are in
 * tools/actionfinder/. */
#define _POSIX_C_SOURCE 200809L /* fsync, for the library */
#define ACTIONFINDER_IMPLEMENTATION
#include "actionfinder.h"

#include "actionfinder/cli.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

static const char FIT_MANUAL[] =
    "ORBITS is an NPY file of shape (S,N,6), S streams of N stars, or a table (CSV, ECSV)\n"
    "with a header and the columns stream, x, y, z, vx, vy, vz: Galactocentric kpc and\n"
    "km/s, the z axis being that of the galaxy. The stars of a stream lie on one orbit,\n"
    "anywhere along it; at least two a stream. Stars close together teach little: what\n"
    "matters is that orbits differ in phase.\n"
    "\n"
    "Or a table of stars as observed, with the columns stream (numbers or names; without\n"
    "it each row is a stream), ra, dec or l, b [deg], distance [kpc] or parallax [mas],\n"
    "pmra, pmdec or pml, pmb [mas/yr, those of longitude with the cosine] and\n"
    "radial_velocity [km/s, heliocentric], every star complete; other usual names of\n"
    "columns are known too. A line says where the Sun was taken to be and how it moves:\n"
    "--sun-... tell otherwise, the velocity in the coordinates that result. x points from\n"
    "the Sun to the centre and the disc has J_phi < 0, unless --left-handed. A model\n"
    "should be used with the same Sun as it was trained with.\n"
    "\n"
    "The model begins as a toy, an isochrone whose actions scatter within a stream, and\n"
    "learns a canonical transformation that makes them agree. The potential is never\n"
    "told. But the stars of a stream have one energy, and where those of all streams agree\n"
    "in one axisymmetric field, which is then found at once, longer orbits are made in it\n"
    "and trained on: a better model of halo orbits than arcs alone give (--extend no: as\n"
    "the paper does). Data with errors do not agree so well. The line of progress:\n"
    "\n"
    "    epoch 120  loss 1.91  validation 2.02  best 2.01 (epoch 115)  rate 2.4e-03  0:41 left\n"
    "\n"
    "loss is the mean over the training streams of sqrt(sqrt((spread/softening)^2 + 1)),\n"
    "validation the same of streams not trained on; the model of the best validation is\n"
    "kept. Ctrl-C stops and keeps it.\n"
    "\n"
    "More passes make the training streams agree better, but soon no others: 1000 were\n"
    "found to be enough for 1000 arcs, and --seconds only shortens them. Without it the\n"
    "model is the same to the byte on any number of threads, and after --resume too; with\n"
    "it the model depends on the speed of the machine. Where other programs use the cores,\n"
    "OMP_WAIT_POLICY=passive in the environment is much faster.\n"
    "\n"
    "--ensemble N trains N models that differ by their seeds alone, one after the other\n"
    "(--seconds is the time of all), into model-1.safetensors, model-2.safetensors ...\n"
    "`actionfinder eval model-*.safetensors` takes their mean, and their scatter as errors.\n"
    "Checkpoints and histories are numbered in the same way. They tend to agree more than\n"
    "they are right; with --bootstrap less so, and the mean is a little worse.\n"
    "\n"
    "Examples:\n"
    "  actionfinder fit stars.csv -o model.safetensors\n"
    "  actionfinder fit gaia.csv -o model.safetensors --sun-radius 8.122 \\\n"
    "      --sun-velocity 12.9,245.6,7.78\n"
    "  actionfinder fit xv.npy -o model.safetensors --streams 1024 --seconds 300\n"
    "  actionfinder fit xv.npy -o model.safetensors --epochs 500 --checkpoint state --resume\n";

static const char EVAL_MANUAL[] =
    "ORBITS: as in `actionfinder fit --help`, stars as observed too, with the Sun (--sun-...,\n"
    "--left-handed) that the model was trained with. In a table without the column stream\n"
    "each row is a star of its own.\n"
    "\n"
    "OUT.npy is (S,N,6), 8-byte floating point: J_phi, J_z, J_r [km/s kpc], theta_phi,\n"
    "theta_z, theta_r [rad]. OUT.csv has the columns stream, J_phi, ..., theta_r and the\n"
    "rows of the input in their order; streams that have names are numbered from 0, in the\n"
    "order of the file.\n"
    "\n"
    "J_phi = x vy - y vx has a sign; J_z, J_r >= 0 but for errors of the model. Angles\n"
    "are in [0, 2 pi): theta_r = 0 at pericentre, theta_z = 0 where z = 0 is crossed\n"
    "upwards, theta = 0 is pericentre on the +x axis moving up. Where J_phi < 0,\n"
    "theta_phi decreases with time.\n"
    "\n"
    "A star that is not bound in the model's toy has no angles there: an error that names\n"
    "it, and nothing is written, unless --skip-unbound. Stars unlike any that the model\n"
    "was trained on get an answer too, but do not believe it.\n"
    "\n"
    "Several models, as `fit --ensemble` makes them, give the mean of their answers, and six\n"
    "more columns: J_phi_error ... theta_r_error, the standard deviation of one answer; so\n"
    "does --dropout. --draws N of a table of stars as observed, with columns such as\n"
    "pmra_error, adds the standard deviation over N draws of each star from its errors, in\n"
    "quadrature. OUT.npy is (S,N,12) then. Models that make the same mistake agree about\n"
    "it: true errors are larger.\n"
    "\n"
    "--frequencies adds Omega_phi, Omega_z, Omega_r [km/s/kpc], the rates of the angles, as\n"
    "three columns more, the last ones: dH/dJ at these J, the mean of the models'. Omega_phi\n"
    "has the sign of J_phi.\n"
    "\n"
    "Examples:\n"
    "  actionfinder eval model.safetensors stars.csv -o actions.csv\n"
    "  actionfinder eval model-*.safetensors gaia.csv -o actions.csv --draws 30\n"
    "  actionfinder eval model.safetensors xv.npy -o actions.npy --per-stream\n";

static const char INVERT_MANUAL[] =
    "ACTIONS is what `actionfinder eval` writes: an NPY file whose last length is 6 (J_phi,\n"
    "J_z, J_r [km/s kpc], theta_phi, theta_z, theta_r [rad]), or a table with columns of\n"
    "these names and, if there is one, stream. Angles may have any number of turns.\n"
    "\n"
    "XV.npy has the same shape with x, y, z [kpc], vx, vy, vz [km/s], Galactocentric;\n"
    "XV.csv the columns stream, x, ..., vz: both are ORBITS for the other commands.\n"
    "\n"
    "The model's map is undone exactly, not by a second network: what eval made of stars\n"
    "one by one comes back to rounding, and what its --per-stream made does not, since\n"
    "there the actions within a stream differ from the one J' that the angles go with.\n"
    "Where the map is folded, as it may be on orbits unlike those it was trained on, two\n"
    "stars have the same actions and angles, and either may come back.\n"
    "\n"
    "Stars without an answer are NaN and counted: no actions (NaN), actions of no orbit\n"
    "(J_z or J_r below 0), no convergence.\n"
    "\n"
    "Examples:\n"
    "  actionfinder invert model.safetensors actions.npy -o xv.npy\n"
    "  actionfinder invert model.safetensors actions.csv -o stars.csv\n";

static const char CHECK_MANUAL[] =
    "ORBITS: as in `actionfinder fit --help`, stars as observed too, with the Sun (--sun-...,\n"
    "--left-handed) that the model was trained with.\n"
    "\n"
    "For each kind of error three figures are printed, for J_phi, J_z, J_r and the mean\n"
    "of the three: the mean, the median, and the mean without the largest 2 % (98 %). The\n"
    "kinds are\n"
    "\n"
    "  mean of the stars     |mean over the stars of J - truth|, each solved on its own\n"
    "  median of the stars   the same with the median\n"
    "  each star             |J - truth|\n"
    "  one J' a stream       |mean - truth|, the stars sharing one J', as the paper does\n"
    "  spread                mean of |J - mean J| within a stream: needs no truth\n"
    "\n"
    "each beside that of the untrained toy. Last come lines `FIGURE name value` for\n"
    "programs, with the names\n"
    "  {toy,test}_{stream_mean,stream_median,star,spread}_{mean,median,trimmed}[_j_phi|_j_z|_j_r]\n"
    "  test_shared_..., test_shared_spread_... in the same way, and for angles [degrees]\n"
    "  {toy,test}_angle_{mean,median,trimmed}[_theta_phi|_theta_z|_theta_r]\n"
    "\n"
    "--by-energy and --by-action print errors (mean of the three actions) for each fifth of\n"
    "the streams, sorted by energy in the toy [(km/s)^2] or by the model's actions: FIGURE\n"
    "lines {energy,action}_{1..5}_{toy_stream_mean,test_stream_mean,test_spread}_... then.\n"
    "\n"
    "Streams whose truth is NaN never count.\n"
    "\n"
    "Examples:\n"
    "  actionfinder check model.safetensors xv.npy --truth J.npy --skip 1024\n"
    "  actionfinder check m.safetensors xv.npy --truth J.npy --truth-error E.npy --max-error 1\n";

static const char JUDGE_MANUAL[] =
    "ORBITS and those of --train: as in `actionfinder fit --help`. Each star is solved on its\n"
    "own. For each stream:\n"
    "\n"
    "  spread           mean |J - median J| of its stars; relative: over |J_phi| + J_z + J_r\n"
    "  typical          the median relative spread of the streams of --train with the most\n"
    "                   similar actions; ratio: relative / typical\n"
    "  rank             the fraction of streams with so large a ratio, among those of --train\n"
    "                   that were held back from training (validation)\n"
    "  distance         in action space, from the four nearest streams of --train, over what\n"
    "                   is usual there; distance_rank: the fraction with so large a one\n"
    "  toy_typical      the median spread of the neighbours in the toy\n"
    "\n"
    "A stream whose rank is --false-alarm or less is a misfit: chaotic, resonant, of another\n"
    "family than those around it, or not one orbit. One whose distance_rank is that small is\n"
    "outside: unlike anything trained on. The same for stars: apart from their stream (not a\n"
    "member, or the model fails there), or outside. Of a sample like that of --train each\n"
    "flag hits about the fraction --false-alarm, of the streams trained on fewer.\n"
    "\n"
    "--labels tells what is known of the streams, to see which of the scores knows it too.\n"
    "The area under the ROC curve is 0.5 for a score that knows nothing, 1 for one that is\n"
    "always right. Scores of the untrained toy stand beside.\n"
    "\n"
    "--chaos PERIODS follows the first star of each stream in a field, --field or the mass\n"
    "model of the energies of the streams trained on (triaxial ones too), and sees whether\n"
    "others near it drift away exponentially (megno: about 2 on regular orbits, more on\n"
    "chaotic ones; lyapunov: the largest exponent, a period) and how much its frequencies\n"
    "change between the halves of that time (drift, turns a period). chaos, made of the two,\n"
    "is the best score; above 4 a stream is called chaotic, which happens to fewer than one\n"
    "in a hundred regular orbits. 100 periods are a good start; chaos that sets in later is\n"
    "not seen.\n"
    "A misfit of the field above 1e-3 makes chaos of its own, and so may the centre, where\n"
    "orbits come nearer to it (nearest) than stars have been.\n"
    "\n"
    "The columns of -o are stream, J_phi, J_z, J_r, spread, relative, typical, ratio, rank,\n"
    "distance, distance_rank, toy_spread, toy_typical, stars, unbound, unconverged, misfit,\n"
    "outside (1 or 0), and with --chaos: chaos, megno, drift, lyapunov, period [Gyr],\n"
    "nearest [kpc], chaotic (1 or 0). Last come lines `FIGURE name value` for programs.\n"
    "\n"
    "Examples:\n"
    "  actionfinder judge model.safetensors xv.npy -o quality.csv\n"
    "  actionfinder judge model.safetensors new.npy --train xv.npy --stars stars.csv\n"
    "  actionfinder judge m.safetensors new.npy --train xv.npy --labels chaos.npy\n"
    "  actionfinder judge model.safetensors xv.npy --chaos 100 -o quality.csv\n";

static const char MOCK_MANUAL[] =
    "disc-halo: Miyamoto-Nagai discs (4.6e10 Msun, a = 3 kpc, b = 0.28) and (1.1e10, 2.5,\n"
    "0.9), a Plummer bulge (9e9, 0.4) and a Navarro-Frenk-White halo (4 pi rho rs^3 =\n"
    "6.6e11, rs = 17 kpc); v_c(8 kpc) = 229 km/s.\n"
    "isochrone: 3.334e11 Msun, b = 5 kpc, where the truth is exact.\n"
    "db98: model 1 of Dehnen & Binney (1998), pjm14: Piffl et al. (2014): thin, thick and\n"
    "gas discs, bulge and halo of the Milky Way.\n"
    "plummer: 5e5 Msun, b = 0.02 kpc, a globular cluster, where the truth is exact.\n"
    "triaxial: v0^2/2 ln(rc^2 + x^2 + (y/0.9)^2 + (z/0.8)^2), v0 = 220 km/s, rc = 1 kpc,\n"
    "where there is no truth.\n"
    "\n"
    "halo: radius uniform in 6 to 16 kpc in a random direction, speed |N(0, 150 km/s)| in\n"
    "a random direction, bound (section 6.1 of the paper).\n"
    "disc: R uniform in 5 to 13 kpc in the plane, the circular speed and normal\n"
    "velocities of 35, 25, 20 km/s in R, phi, z on top.\n"
    "cold-disc: J_r and J_z uniform in 0 to 50, J_phi in 0 to 3000 km/s kpc, pericentre\n"
    "beyond 5 kpc, stars at random times in 30 radial periods (section 6.3).\n"
    "snapshot: particles of the Plummer sphere's own distribution, one star each 0.01 Gyr\n"
    "(section 6.5; the sphere is held fixed). It goes with --potential plummer.\n"
    "\n"
    "The truth in disc-halo, db98 and pjm14 is the generating function from the orbit itself\n"
    "(Sanders & Binney 2014), over 40 radial periods; --truth-error is the difference from\n"
    "the next 40. About half of the halo orbits are good to 0.1 km/s kpc; resonant and\n"
    "chaotic ones have no smooth action at that precision, a few get NaN.\n"
    "\n"
    "Examples:\n"
    "  actionfinder mock -o xv.npy --streams 256 --truth J.npy --truth-error E.npy\n"
    "  actionfinder mock -o disc.npy --potential db98 --kind disc --streams 64 --truth J.npy\n"
    "  actionfinder mock -o cluster.npy --potential plummer --truth J.npy --angles T.npy\n";

static const char FILL_MANUAL[] =
    "STARS is a table of stars as observed (see `actionfinder fit --help`) where some lack\n"
    "the distance, the line-of-sight velocity or both: the field is empty or NaN. What\n"
    "brings a star's actions nearest to those of its stream, the median of the complete\n"
    "stars in units of their scatter, is filled in. The model was trained with the same\n"
    "Sun, on other streams or on these without such stars (fit --skip-incomplete); fitting\n"
    "to what was filled in, and filling in anew from STARS, may take turns.\n"
    "\n"
    "OUT.csv has a row a star in the order of STARS: stream (its number, or its place where\n"
    "streams have names), ra, dec, distance, pmra, pmdec, radial_velocity, which the other\n"
    "commands read; missing (0, or 1 the distance, 2 the velocity, 3 both were not there),\n"
    "misfit (about 1 to 2 for a member), and the best other answer with its misfit. Where\n"
    "misfits are alike, actions do not tell the two apart. A star whose stream has no\n"
    "complete star stays as it is.\n"
    "\n"
    "Examples:\n"
    "  actionfinder fit stars.csv -o model.safetensors --skip-incomplete\n"
    "  actionfinder fill model.safetensors stars.csv -o filled.csv\n"
    "  actionfinder eval model.safetensors filled.csv -o actions.csv\n";

static const char PLOT_MANUAL[] =
    "Draws J_r and J_z of the stars of each stream, in the order of the file: of the toy,\n"
    "of the model (each star solved on its own) and the truth. A few streams of many\n"
    "stars, evenly along the orbit, look best; the first eight are drawn unless --streams\n"
    "says how many. ORBITS: as in `actionfinder fit --help`.\n"
    "\n"
    "Example:\n"
    "  actionfinder mock -o long.npy --streams 4 --stars 200 --span 1 --even --truth J.npy\n"
    "  actionfinder plot model.safetensors long.npy -o picture.svg --span 1 --truth J.npy\n";

static const cli_command COMMANDS[] = {
    {"fit", "ORBITS -o MODEL.safetensors [options]", "Trains a model on orbits.", FIT_MANUAL,
     cli_fit},
    {"eval", "MODEL... ORBITS -o OUT.npy|OUT.csv [options]",
     "Computes actions, angles and frequencies of stars.", EVAL_MANUAL, cli_eval},
    {"invert", "MODEL ACTIONS -o XV.npy|XV.csv", "Computes stars from actions and angles.",
     INVERT_MANUAL, cli_invert},
    {"fill", "MODEL STARS -o OUT.csv [options]",
     "Finds distances and velocities that were not measured.", FILL_MANUAL, cli_fill},
    {"check", "MODEL ORBITS --truth J.npy [options]", "Compares a model with true actions.",
     CHECK_MANUAL, cli_check},
    {"judge", "MODEL ORBITS [options]", "Finds what a model does not fit, without the truth.",
     JUDGE_MANUAL, cli_judge},
    {"mock", "-o XV.npy|XV.csv [options]",
     "Makes orbits in a known potential, and their true actions.", MOCK_MANUAL, cli_mock},
    {"plot", "MODEL ORBITS -o FILE.svg [options]", "Draws actions along orbits.", PLOT_MANUAL,
     cli_plot},
    {"field", "fit|eval|check|plot|actions ...",
     "The acceleration field in which the orbits are, and actions in it.", NULL, cli_field},
    {"koopman", "fit|eval|rollout|plot|mock ...",
     "The same from trajectories of any system: the Koopman symplectic autoencoder.", NULL,
     cli_koopman},
};
enum { COMMAND_COUNT = sizeof COMMANDS / sizeof *COMMANDS };

static void help(FILE *to) {
    fputs("actionfinder: actions and angles of stars, learned from orbits without being told\n"
          "the potential (after Ibata et al. 2021, ApJ 915, 5)\n\n"
          "Commands:\n",
          to);
    cli_list(to, COMMANDS, COMMAND_COUNT, 7);
    fputs(
        "  actionfinder COMMAND --help       tells more, with examples\n"
        "  actionfinder --version\n\n"
        "Units are kpc, km/s, solar masses, Gyr, rad; actions are in km/s kpc, in the order\n"
        "J_phi, J_z, J_r. Exit codes: 0 all went well, 1 something failed (one sentence on\n"
        "stderr says what), 2 the command line is wrong. Files are written whole or not at all.\n\n"
        "A first try, half a minute:\n"
        "  actionfinder mock -o xv.npy --streams 512 --potential isochrone --truth J.npy\n"
        "  actionfinder fit xv.npy -o model.safetensors --seconds 20\n"
        "  actionfinder check model.safetensors xv.npy --truth J.npy\n"
        "  actionfinder eval model.safetensors xv.npy -o actions.csv\n\n"
        "The same for trajectories, whatever their units; see `actionfinder koopman --help`:\n"
        "  actionfinder koopman mock slab -o orbits.csv\n"
        "  actionfinder koopman fit orbits.csv -o koopman.safetensors\n"
        "  actionfinder koopman eval koopman.safetensors orbits.csv -o actions.csv\n",
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
        printf("actionfinder %s\n", af_version());
        return CLI_OK;
    }
    return cli_dispatch("actionfinder", COMMANDS, COMMAND_COUNT, count - 1, words + 1);
}

int main(int count, char **words) {
    int code;
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
