/* The 120 problems of the Feynman database: values by hand, the table, sampling. */
#include "feynman.h"

#include <math.h>
#include <string.h>

#include "actionfinder.h"

/* ---- values -------------------------------------------------------------------------------------
 *
 * Written from the physics, apart from the table's texts, as a check on them. x is in the order of
 * the table's variables. */

static const double PI = 3.14159265358979323846;

static double square(double a) {
    return a * a;
}

static double cube(double a) {
    return a * a * a;
}

/* The Lorentz factor of speed v. */
static double lorentz(double v, double c) {
    return 1.0 / sqrt((1.0 - v / c) * (1.0 + v / c));
}

/* Coulomb's 1/(4 pi epsilon). */
static double coulomb(double epsilon) {
    return 0.25 / (PI * epsilon);
}

/* h bar. */
static double reduced(double h) {
    return 0.5 * h / PI;
}

/* The Gaussian of unit spread. */
static double gaussian(double a) {
    return exp(-0.5 * a * a) / sqrt(2.0 * PI);
}

/* A triangle's third side. */
static double side(double a, double b, double angle) {
    return sqrt(square(a) + square(b) - 2.0 * a * b * cos(angle));
}

/* Planck's mean number of quanta of energy e at k T = heat. */
static double quanta(double e, double heat) {
    return 1.0 / expm1(e / heat);
}

#define VALUE(name, expression) \
    static double name(const double *x) { \
        return expression; \
    }

VALUE(I_6_20a, gaussian(x[0]))
VALUE(I_6_20, gaussian(x[1] / x[0]) / x[0])
VALUE(I_6_20b, gaussian((x[1] - x[2]) / x[0]) / x[0])
VALUE(I_8_14, hypot(x[1] - x[0], x[3] - x[2]))
VALUE(I_9_18, x[2] * x[0] * x[1] /
                  (square(x[4] - x[3]) + square(x[6] - x[5]) + square(x[8] - x[7])))
VALUE(I_10_7, x[0] * lorentz(x[1], x[2]))
VALUE(I_11_19, x[0] * x[3] + x[1] * x[4] + x[2] * x[5])
VALUE(I_12_1, x[0] * x[1])
VALUE(I_12_2, coulomb(x[2]) * x[0] * x[1] / square(x[3]))
VALUE(I_12_4, coulomb(x[1]) * x[0] / square(x[2]))
VALUE(I_12_5, x[0] * x[1])
VALUE(I_12_11, x[0] * (x[1] + x[3] * x[2] * sin(x[4])))
VALUE(I_13_4, 0.5 * x[0] * (square(x[1]) + square(x[2]) + square(x[3])))
VALUE(I_13_12, x[4] * x[0] * x[1] * (1.0 / x[3] - 1.0 / x[2]))
VALUE(I_14_3, x[0] * x[1] * x[2])
VALUE(I_14_4, 0.5 * x[0] * square(x[1]))
VALUE(I_15_3x, lorentz(x[1], x[2]) * (x[0] - x[1] * x[3]))
VALUE(I_15_3t, lorentz(x[2], x[1]) * (x[3] - x[2] * x[0] / square(x[1])))
VALUE(I_15_10, x[0] * x[1] * lorentz(x[1], x[2]))
VALUE(I_16_6, (x[1] + x[2]) / (1.0 + (x[1] / x[0]) * (x[2] / x[0])))
VALUE(I_18_4, (x[0] * x[2] + x[1] * x[3]) / (x[0] + x[1]))
VALUE(I_18_12, x[0] * x[1] * sin(x[2]))
VALUE(I_18_14, x[0] * x[1] * x[2] * sin(x[3]))
VALUE(I_24_6, 0.25 * x[0] * (square(x[1]) + square(x[2])) * square(x[3]))
VALUE(I_25_13, x[0] / x[1])
VALUE(I_26_2, asin(x[0] * sin(x[1])))
VALUE(I_27_6, x[0] * x[1] / (x[1] + x[2] * x[0]))
VALUE(I_29_4, x[0] / x[1])
VALUE(I_29_16, side(x[0], x[1], x[2] - x[3]))
VALUE(I_30_3, x[0] * square(sin(0.5 * x[2] * x[1]) / sin(0.5 * x[1])))
VALUE(I_30_5, asin(x[0] / x[2] / x[1]))
VALUE(I_32_5, square(x[0] * x[1]) / (6.0 * PI * x[2] * cube(x[3])))
VALUE(I_32_17, 0.5 * x[0] * x[1] * square(x[2]) * 8.0 * PI * square(x[3]) / 3.0 *
                   square(square(x[4]) / (square(x[4]) - square(x[5]))))
VALUE(I_34_8, x[0] * x[1] * x[2] / x[3])
VALUE(I_34_10, x[2] / (1.0 - x[1] / x[0]))
VALUE(I_34_14, x[2] * (1.0 + x[1] / x[0]) * lorentz(x[1], x[0]))
VALUE(I_34_27, reduced(x[1]) * x[0])
VALUE(I_37_4, x[0] + x[1] + 2.0 * sqrt(x[0]) * sqrt(x[1]) * cos(x[2]))
VALUE(I_38_12, square(reduced(x[2])) / (coulomb(x[3]) * x[0] * square(x[1])))
VALUE(I_39_10, 1.5 * x[0] * x[1])
VALUE(I_39_11, x[1] * x[2] / (x[0] - 1.0))
VALUE(I_39_22, x[0] * x[3] * x[1] / x[2])
VALUE(I_40_1, x[0] * exp(-x[1] * x[4] * x[2] / (x[5] * x[3])))
VALUE(I_41_16, reduced(x[2]) * cube(x[0]) / square(PI * x[4]) *
                   quanta(reduced(x[2]) * x[0], x[3] * x[1]))
VALUE(I_43_16, x[0] * x[1] * x[2] / x[3])
VALUE(I_43_31, x[0] * x[2] * x[1])
VALUE(I_43_43, x[1] * x[3] / (x[0] - 1.0) / x[2])
VALUE(I_44_4, x[0] * x[1] * x[2] * log(x[4] / x[3]))
VALUE(I_47_23, sqrt(x[0] * x[1] / x[2]))
VALUE(I_48_20, x[0] * square(x[2]) * lorentz(x[1], x[2]))
VALUE(I_50_26, x[0] * (cos(x[1] * x[2]) + x[3] * square(cos(x[1] * x[2]))))

VALUE(II_2_42, x[0] * x[3] * (x[2] - x[1]) / x[4])
VALUE(II_3_24, x[0] / (4.0 * PI * square(x[1])))
VALUE(II_4_23, coulomb(x[1]) * x[0] / x[2])
VALUE(II_6_11, coulomb(x[0]) * x[1] * cos(x[2]) / square(x[3]))
VALUE(II_6_15a, coulomb(x[0]) * 3.0 * x[1] * x[5] * hypot(x[3], x[4]) / pow(x[2], 5.0))
VALUE(II_6_15b, coulomb(x[0]) * 3.0 * x[1] * cos(x[2]) * sin(x[2]) / cube(x[3]))
VALUE(II_8_7, 0.6 * coulomb(x[1]) * square(x[0]) / x[2])
VALUE(II_8_31, 0.5 * x[0] * square(x[1]))
VALUE(II_10_9, x[0] / x[1] / (1.0 + x[2]))
VALUE(II_11_3, x[0] * x[1] / x[2] / (square(x[3]) - square(x[4])))
VALUE(II_11_17, x[0] * (1.0 + x[4] * x[5] * cos(x[3]) / (x[1] * x[2])))
VALUE(II_11_20, x[0] * square(x[1]) * x[2] / (3.0 * x[3] * x[4]))
VALUE(II_11_27, x[0] * x[1] * x[2] * x[3] / (1.0 - x[0] * x[1] / 3.0))
VALUE(II_11_28, 1.0 + x[0] * x[1] / (1.0 - x[0] * x[1] / 3.0))
VALUE(II_13_17, coulomb(x[0]) * 2.0 * x[2] / (square(x[1]) * x[3]))
VALUE(II_13_23, x[0] * lorentz(x[1], x[2]))
VALUE(II_13_34, x[0] * x[1] * lorentz(x[1], x[2]))
VALUE(II_15_4, -x[0] * x[1] * cos(x[2]))
VALUE(II_15_5, -x[0] * x[1] * cos(x[2]))
VALUE(II_21_32, coulomb(x[1]) * x[0] / (x[2] * (1.0 - x[3] / x[4])))
VALUE(II_24_17, sqrt(square(x[0] / x[1]) - square(PI / x[2])))
VALUE(II_27_16, x[0] * x[1] * square(x[2]))
VALUE(II_27_18, x[0] * square(x[1]))
VALUE(II_34_2a, x[0] * x[1] / (2.0 * PI * x[2]))
VALUE(II_34_2, 0.5 * x[0] * x[1] * x[2])
VALUE(II_34_11, 0.5 * x[0] * x[1] * x[2] / x[3])
VALUE(II_34_29a, x[0] * reduced(x[1]) / (2.0 * x[2]))
VALUE(II_34_29b, x[0] * x[3] * x[4] * x[2] / reduced(x[1]))
VALUE(II_35_18, 0.5 * x[0] / cosh(x[3] * x[4] / (x[1] * x[2])))
VALUE(II_35_21, x[0] * x[1] * tanh(x[1] * x[2] / (x[3] * x[4])))
VALUE(II_36_38, x[0] / (x[2] * x[3]) * (x[1] + x[4] * x[7] / (x[5] * square(x[6]))))
VALUE(II_37_1, x[0] * x[1] * (1.0 + x[2]))
VALUE(II_38_3, x[0] * x[1] * x[3] / x[2])
VALUE(II_38_14, 0.5 * x[0] / (1.0 + x[1]))

VALUE(III_4_32, quanta(reduced(x[0]) * x[1], x[2] * x[3]))
VALUE(III_4_33, reduced(x[0]) * x[1] * quanta(reduced(x[0]) * x[1], x[2] * x[3]))
VALUE(III_7_38, 2.0 * x[0] * x[1] / reduced(x[2]))
VALUE(III_8_54, square(sin(x[0] * x[1] / reduced(x[2]))))
VALUE(III_9_52, x[0] * x[1] * x[2] / reduced(x[3]) *
                    square(sin(0.5 * (x[4] - x[5]) * x[2]) / (0.5 * (x[4] - x[5]) * x[2])))
VALUE(III_10_19, x[0] * hypot(hypot(x[1], x[2]), x[3]))
VALUE(III_12_43, x[0] * reduced(x[1]))
VALUE(III_13_18, 2.0 * x[0] * square(x[1]) * x[2] / reduced(x[3]))
VALUE(III_14_14, x[0] * expm1(x[1] * x[2] / (x[3] * x[4])))
VALUE(III_15_12, 2.0 * x[0] * (1.0 - cos(x[1] * x[2])))
VALUE(III_15_14, square(reduced(x[0]) / x[2]) / (2.0 * x[1]))
VALUE(III_15_27, 2.0 * PI * x[0] / (x[1] * x[2]))
VALUE(III_17_37, x[0] * (1.0 + x[1] * cos(x[2])))
VALUE(III_19_51, -0.5 * x[0] * square(coulomb(x[4]) * square(x[1]) / (reduced(x[2]) * x[3])))
VALUE(III_21_20, -x[0] * x[1] * x[2] / x[3])

VALUE(test_1, square(0.25 * x[0] * x[1] * x[2] * x[3] * x[4] / (x[5] * square(sin(0.5 * x[6])))))
VALUE(test_2, x[0] * x[1] / square(x[2]) *
                  (1.0 + sqrt(1.0 + 2.0 * x[3] / x[0] * square(x[2] / x[1])) * cos(x[4] - x[5])))
VALUE(test_3, x[0] * (1.0 - x[1]) * (1.0 + x[1]) / (1.0 + x[1] * cos(x[2] - x[3])))
VALUE(test_4, sqrt(2.0 * (x[1] - x[2]) / x[0] - square(x[3] / (x[0] * x[4]))))
VALUE(test_5, 2.0 * PI * sqrt(cube(x[0]) / (x[1] * (x[2] + x[3]))))
VALUE(test_6, sqrt(1.0 + 2.0 * x[6] / x[2] * square(x[0] * x[1] / (x[3] * x[4] * square(x[5])))))
VALUE(test_7, sqrt(8.0 / 3.0 * PI * x[0] * x[1] - x[2] * square(x[3] / x[4])))
VALUE(test_8, 1.0 / (1.0 / x[0] + (1.0 - cos(x[3])) / (x[1] * square(x[2]))))
VALUE(test_9, -6.4 * square(x[2] * x[3]) * (x[2] + x[3]) * pow(x[0] / x[4], 4.0) /
                  (x[4] * pow(x[1], 5.0)))
VALUE(test_10, acos((x[0] * cos(x[2]) - x[1]) / (x[0] - x[1] * cos(x[2]))))
VALUE(test_11, x[0] * square(2.0 * sin(0.5 * x[1]) / x[1]) *
                   square(sin(0.5 * x[3] * x[2]) / sin(0.5 * x[2])))
VALUE(test_12, x[0] / square(x[1]) *
                   (x[2] * x[3] - coulomb(x[4]) * x[0] * x[3] * cube(x[1]) /
                                      square(square(x[1]) - square(x[3]))))
VALUE(test_13, coulomb(x[4]) * x[0] / side(x[1], x[2], x[3]))
VALUE(test_14, x[0] * cos(x[1]) * (cube(x[3]) / square(x[2]) * (x[4] - 1.0) / (x[4] + 2.0) - x[2]))
VALUE(test_15, x[2] / (lorentz(x[1], x[0]) * (1.0 + x[1] / x[0] * cos(x[3]))))
VALUE(test_16, x[1] * hypot(x[2] - x[3] * x[4], x[0] * x[1]) + x[3] * x[5])
VALUE(test_17, 0.5 * square(x[2]) / x[0] +
                   0.5 * x[0] * square(x[1] * x[4]) * (1.0 + x[5] * x[4] / x[3]))
VALUE(test_18, 3.0 / (8.0 * PI * x[0]) * (square(x[4] / x[2]) * x[1] + square(x[3])))
VALUE(test_19, -square(x[5]) / (8.0 * PI * x[0]) *
                   (square(x[5] / x[2]) * x[1] + square(x[3]) * (1.0 - 2.0 * x[4])))
VALUE(test_20, 0.25 / PI * square(x[2] * x[3] / (x[4] * x[5]) * x[1] / x[0]) *
                   (x[1] / x[0] + x[0] / x[1] - square(sin(x[6]))))

#undef VALUE

/* ---- the table ----------------------------------------------------------------------------------
 *
 * Formulas, ranges: the tables of Udrescu & Tegmark, factors that cancel cancelled. Units: those of
 * each quantity in SI with V in place of A, with which every formula is consistent; n of a gas is a
 * number, n and alpha of II.11.27 have no units, as there. */

#define NONE "1"
#define LENGTH "m"
#define AREA "m^2"
#define VOLUME "m^3"
#define PER_LENGTH "m^-1"
#define PER_VOLUME "m^-3"
#define TIME "s"
#define RATE "s^-1"
#define SPEED "m s^-1"
#define ACCELERATION "m s^-2"
#define MASS "kg"
#define DENSITY "m^-3 kg"
#define MOMENTUM "m s^-1 kg"
#define ACTION "m^2 s^-1 kg" /* and angular momentum */
#define FORCE "m s^-2 kg"
#define SPRING "s^-2 kg" /* and spectral radiance */
#define PRESSURE "m^-1 s^-2 kg" /* and density of energy, Young's modulus */
#define ENERGY "m^2 s^-2 kg" /* and torque */
#define POWER "m^2 s^-3 kg"
#define FLUX "s^-3 kg" /* of energy; intensity of light */
#define GRAVITY "m^3 s^-2 kg^-1"
#define COUPLING "m^3 s^-2 kg" /* G m1 m2 */
#define KELVIN "K"
#define BOLTZMANN "m^2 s^-2 kg K^-1"
#define CONDUCTIVITY "m s^-3 kg K^-1"
#define DIFFUSION "m^2 s^-1"
#define MOBILITY "s kg^-1"
#define VOLTAGE "V"
#define FIELD "m^-1 V"
#define CHARGE "m^2 s^-2 kg V^-1"
#define CURRENT "m^2 s^-3 kg V^-1"
#define CAPACITANCE "m^2 s^-2 kg V^-2"
#define PERMITTIVITY "m s^-2 kg V^-2"
#define DIPOLE "m^3 s^-2 kg V^-1"
#define SURFACE_CHARGE "s^-2 kg V^-1" /* and polarization */
#define CHARGE_DENSITY "m^-1 s^-2 kg V^-1"
#define CURRENT_DENSITY "s^-3 kg V^-1"
#define MAGNETIC "m^-2 s V" /* B, and H in II.36.38 */
#define MOMENT "m^4 s^-3 kg V^-1" /* magnetic */
#define MAGNETIZATION "m s^-3 kg V^-1"
#define VECTOR_POTENTIAL "m^-1 s V"

enum { BONUS = FEYNMAN_BONUS, LEFT_OUT = FEYNMAN_LEFT_OUT };

static const feynman_problem TABLE[FEYNMAN_PROBLEMS] = {
    {"I.6.20a", "exp(-theta^2/2)/sqrt(2*pi)", "f", NONE, 'h', 0, 1, I_6_20a,
     {{"theta", NONE, 1, 3}}},
    {"I.6.20", "exp(-(theta/sigma)^2/2)/(sqrt(2*pi)*sigma)", "f", NONE, 'h', 0, 2, I_6_20,
     {{"sigma", NONE, 1, 3}, {"theta", NONE, 1, 3}}},
    {"I.6.20b", "exp(-((theta - theta1)/sigma)^2/2)/(sqrt(2*pi)*sigma)", "f", NONE, 'h', 0, 3,
     I_6_20b,
     {{"sigma", NONE, 1, 3}, {"theta", NONE, 1, 3}, {"theta1", NONE, 1, 3}}},
    {"I.8.14", "sqrt((x2 - x1)^2 + (y2 - y1)^2)", "d", LENGTH, 'm', 0, 4, I_8_14,
     {{"x1", LENGTH, 1, 5}, {"x2", LENGTH, 1, 5}, {"y1", LENGTH, 1, 5}, {"y2", LENGTH, 1, 5}}},
    {"I.9.18", "G*m1*m2/((x2 - x1)^2 + (y2 - y1)^2 + (z2 - z1)^2)", "F", FORCE, 'h', 0, 9, I_9_18,
     {{"m1", MASS, 1, 2}, {"m2", MASS, 1, 2}, {"G", GRAVITY, 1, 2}, {"x1", LENGTH, 3, 4},
      {"x2", LENGTH, 1, 2}, {"y1", LENGTH, 3, 4}, {"y2", LENGTH, 1, 2}, {"z1", LENGTH, 3, 4},
      {"z2", LENGTH, 1, 2}}},
    {"I.10.7", "m_0/sqrt(1 - v^2/c^2)", "m", MASS, 'm', 0, 3, I_10_7,
     {{"m_0", MASS, 1, 5}, {"v", SPEED, 1, 2}, {"c", SPEED, 3, 10}}},
    {"I.11.19", "x1*y1 + x2*y2 + x3*y3", "A", AREA, 'm', 0, 6, I_11_19,
     {{"x1", LENGTH, 1, 5}, {"x2", LENGTH, 1, 5}, {"x3", LENGTH, 1, 5}, {"y1", LENGTH, 1, 5},
      {"y2", LENGTH, 1, 5}, {"y3", LENGTH, 1, 5}}},
    {"I.12.1", "mu*Nn", "F", FORCE, 'e', 0, 2, I_12_1,
     {{"mu", NONE, 1, 5}, {"Nn", FORCE, 1, 5}}},
    {"I.12.2", "q1*q2/(4*pi*epsilon*r^2)", "F", FORCE, 'm', 0, 4, I_12_2,
     {{"q1", CHARGE, 1, 5}, {"q2", CHARGE, 1, 5}, {"epsilon", PERMITTIVITY, 1, 5},
      {"r", LENGTH, 1, 5}}},
    {"I.12.4", "q1/(4*pi*epsilon*r^2)", "Ef", FIELD, 'e', 0, 3, I_12_4,
     {{"q1", CHARGE, 1, 5}, {"epsilon", PERMITTIVITY, 1, 5}, {"r", LENGTH, 1, 5}}},
    {"I.12.5", "q2*Ef", "F", FORCE, 'e', 0, 2, I_12_5,
     {{"q2", CHARGE, 1, 5}, {"Ef", FIELD, 1, 5}}},
    {"I.12.11", "q*(Ef + B*v*sin(theta))", "F", FORCE, 'm', 0, 5, I_12_11,
     {{"q", CHARGE, 1, 5}, {"Ef", FIELD, 1, 5}, {"B", MAGNETIC, 1, 5}, {"v", SPEED, 1, 5},
      {"theta", NONE, 1, 5}}},
    {"I.13.4", "m*(v^2 + u^2 + w^2)/2", "K", ENERGY, 'm', 0, 4, I_13_4,
     {{"m", MASS, 1, 5}, {"v", SPEED, 1, 5}, {"u", SPEED, 1, 5}, {"w", SPEED, 1, 5}}},
    {"I.13.12", "G*m1*m2*(1/r2 - 1/r1)", "U", ENERGY, 'm', 0, 5, I_13_12,
     {{"m1", MASS, 1, 5}, {"m2", MASS, 1, 5}, {"r1", LENGTH, 1, 5}, {"r2", LENGTH, 1, 5},
      {"G", GRAVITY, 1, 5}}},
    {"I.14.3", "m*g*z", "U", ENERGY, 'e', 0, 3, I_14_3,
     {{"m", MASS, 1, 5}, {"g", ACCELERATION, 1, 5}, {"z", LENGTH, 1, 5}}},
    {"I.14.4", "k_spring*x^2/2", "U", ENERGY, 'e', 0, 2, I_14_4,
     {{"k_spring", SPRING, 1, 5}, {"x", LENGTH, 1, 5}}},
    {"I.15.3x", "(x - u*t)/sqrt(1 - u^2/c^2)", "x1", LENGTH, 'h', 0, 4, I_15_3x,
     {{"x", LENGTH, 5, 10}, {"u", SPEED, 1, 2}, {"c", SPEED, 3, 20}, {"t", TIME, 1, 2}}},
    {"I.15.3t", "(t - u*x/c^2)/sqrt(1 - u^2/c^2)", "t1", TIME, 'h', 0, 4, I_15_3t,
     {{"x", LENGTH, 1, 5}, {"c", SPEED, 3, 10}, {"u", SPEED, 1, 2}, {"t", TIME, 1, 5}}},
    {"I.15.10", "m_0*v/sqrt(1 - v^2/c^2)", "p", MOMENTUM, 'm', 0, 3, I_15_10,
     {{"m_0", MASS, 1, 5}, {"v", SPEED, 1, 2}, {"c", SPEED, 3, 10}}},
    {"I.16.6", "(u + v)/(1 + u*v/c^2)", "v1", SPEED, 'm', 0, 3, I_16_6,
     {{"c", SPEED, 1, 5}, {"v", SPEED, 1, 5}, {"u", SPEED, 1, 5}}},
    {"I.18.4", "(m1*r1 + m2*r2)/(m1 + m2)", "r", LENGTH, 'm', 0, 4, I_18_4,
     {{"m1", MASS, 1, 5}, {"m2", MASS, 1, 5}, {"r1", LENGTH, 1, 5}, {"r2", LENGTH, 1, 5}}},
    {"I.18.12", "r*F*sin(theta)", "tau", ENERGY, 'e', 0, 3, I_18_12,
     {{"r", LENGTH, 1, 5}, {"F", FORCE, 1, 5}, {"theta", NONE, 0, 5}}},
    {"I.18.14", "m*r*v*sin(theta)", "L", ACTION, 'e', 0, 4, I_18_14,
     {{"m", MASS, 1, 5}, {"r", LENGTH, 1, 5}, {"v", SPEED, 1, 5}, {"theta", NONE, 1, 5}}},
    {"I.24.6", "m*(omega^2 + omega_0^2)*x^2/4", "E_n", ENERGY, 'm', 0, 4, I_24_6,
     {{"m", MASS, 1, 3}, {"omega", RATE, 1, 3}, {"omega_0", RATE, 1, 3}, {"x", LENGTH, 1, 3}}},
    {"I.25.13", "q/C", "Volt", VOLTAGE, 'e', 0, 2, I_25_13,
     {{"q", CHARGE, 1, 5}, {"C", CAPACITANCE, 1, 5}}},
    {"I.26.2", "asin(n*sin(theta2))", "theta1", NONE, 'e', LEFT_OUT, 2, I_26_2,
     {{"n", NONE, 0, 1}, {"theta2", NONE, 1, 5}}},
    {"I.27.6", "1/(1/d1 + n/d2)", "foc", LENGTH, 'e', 0, 3, I_27_6,
     {{"d1", LENGTH, 1, 5}, {"d2", LENGTH, 1, 5}, {"n", NONE, 1, 5}}},
    {"I.29.4", "omega/c", "k", PER_LENGTH, 'm', 0, 2, I_29_4,
     {{"omega", RATE, 1, 10}, {"c", SPEED, 1, 10}}},
    {"I.29.16", "sqrt(x1^2 + x2^2 - 2*x1*x2*cos(theta1 - theta2))", "x", LENGTH, 'h', 0, 4, I_29_16,
     {{"x1", LENGTH, 1, 5}, {"x2", LENGTH, 1, 5}, {"theta1", NONE, 1, 5}, {"theta2", NONE, 1, 5}}},
    {"I.30.3", "Int_0*sin(n*theta/2)^2/sin(theta/2)^2", "Int", FLUX, 'h', 0, 3, I_30_3,
     {{"Int_0", FLUX, 1, 5}, {"theta", NONE, 1, 5}, {"n", NONE, 1, 5}}},
    {"I.30.5", "asin(lambd/(n*d))", "theta", NONE, 'e', LEFT_OUT, 3, I_30_5,
     {{"lambd", LENGTH, 1, 2}, {"d", LENGTH, 2, 5}, {"n", NONE, 1, 5}}},
    {"I.32.5", "q^2*a^2/(6*pi*epsilon*c^3)", "Pwr", POWER, 'm', 0, 4, I_32_5,
     {{"q", CHARGE, 1, 5}, {"a", ACCELERATION, 1, 5}, {"epsilon", PERMITTIVITY, 1, 5},
      {"c", SPEED, 1, 5}}},
    {"I.32.17", "(epsilon*c*Ef^2/2)*(8*pi*r^2/3)*(omega^4/(omega^2 - omega_0^2)^2)", "Pwr", POWER,
     'h', 0, 6, I_32_17,
     {{"epsilon", PERMITTIVITY, 1, 2}, {"c", SPEED, 1, 2}, {"Ef", FIELD, 1, 2}, {"r", LENGTH, 1, 2},
      {"omega", RATE, 1, 2}, {"omega_0", RATE, 3, 5}}},
    {"I.34.8", "q*v*B/p", "omega", RATE, 'm', 0, 4, I_34_8,
     {{"q", CHARGE, 1, 5}, {"v", SPEED, 1, 5}, {"B", MAGNETIC, 1, 5}, {"p", MOMENTUM, 1, 5}}},
    {"I.34.10", "omega_0/(1 - v/c)", "omega", RATE, 'm', 0, 3, I_34_10,
     {{"c", SPEED, 3, 10}, {"v", SPEED, 1, 2}, {"omega_0", RATE, 1, 5}}},
    {"I.34.14", "(1 + v/c)/sqrt(1 - v^2/c^2)*omega_0", "omega", RATE, 'h', 0, 3, I_34_14,
     {{"c", SPEED, 3, 10}, {"v", SPEED, 1, 2}, {"omega_0", RATE, 1, 5}}},
    {"I.34.27", "h*omega/(2*pi)", "E_n", ENERGY, 'm', 0, 2, I_34_27,
     {{"omega", RATE, 1, 5}, {"h", ACTION, 1, 5}}},
    {"I.37.4", "I1 + I2 + 2*sqrt(I1*I2)*cos(delta)", "Int", FLUX, 'h', 0, 3, I_37_4,
     {{"I1", FLUX, 1, 5}, {"I2", FLUX, 1, 5}, {"delta", NONE, 1, 5}}},
    {"I.38.12", "4*pi*epsilon*(h/(2*pi))^2/(m*q^2)", "r", LENGTH, 'm', 0, 4, I_38_12,
     {{"m", MASS, 1, 5}, {"q", CHARGE, 1, 5}, {"h", ACTION, 1, 5},
      {"epsilon", PERMITTIVITY, 1, 5}}},
    {"I.39.10", "3/2*pr*V", "E_n", ENERGY, 'm', 0, 2, I_39_10,
     {{"pr", PRESSURE, 1, 5}, {"V", VOLUME, 1, 5}}},
    {"I.39.11", "pr*V/(gamma - 1)", "E_n", ENERGY, 'm', 0, 3, I_39_11,
     {{"gamma", NONE, 2, 5}, {"pr", PRESSURE, 1, 5}, {"V", VOLUME, 1, 5}}},
    {"I.39.22", "n*kb*T/V", "pr", PRESSURE, 'h', 0, 4, I_39_22,
     {{"n", NONE, 1, 5}, {"T", KELVIN, 1, 5}, {"V", VOLUME, 1, 5}, {"kb", BOLTZMANN, 1, 5}}},
    {"I.40.1", "n_0*exp(-m*g*x/(kb*T))", "n", NONE, 'h', 0, 6, I_40_1,
     {{"n_0", NONE, 1, 5}, {"m", MASS, 1, 5}, {"x", LENGTH, 1, 5}, {"T", KELVIN, 1, 5},
      {"g", ACCELERATION, 1, 5}, {"kb", BOLTZMANN, 1, 5}}},
    {"I.41.16", "h/(2*pi)*omega^3/(pi^2*c^2*(exp(h/(2*pi)*omega/(kb*T)) - 1))", "L_rad", SPRING,
     'h', 0, 5, I_41_16,
     {{"omega", RATE, 1, 5}, {"T", KELVIN, 1, 5}, {"h", ACTION, 1, 5}, {"kb", BOLTZMANN, 1, 5},
      {"c", SPEED, 1, 5}}},
    {"I.43.16", "mu_drift*q*Volt/d", "v", SPEED, 'e', 0, 4, I_43_16,
     {{"mu_drift", MOBILITY, 1, 5}, {"q", CHARGE, 1, 5}, {"Volt", VOLTAGE, 1, 5},
      {"d", LENGTH, 1, 5}}},
    {"I.43.31", "mob*kb*T", "D", DIFFUSION, 'm', 0, 3, I_43_31,
     {{"mob", MOBILITY, 1, 5}, {"T", KELVIN, 1, 5}, {"kb", BOLTZMANN, 1, 5}}},
    {"I.43.43", "kb*v/((gamma - 1)*A)", "kappa", CONDUCTIVITY, 'm', 0, 4, I_43_43,
     {{"gamma", NONE, 2, 5}, {"kb", BOLTZMANN, 1, 5}, {"A", AREA, 1, 5}, {"v", SPEED, 1, 5}}},
    {"I.44.4", "n*kb*T*log(V2/V1)", "E_n", ENERGY, 'h', 0, 5, I_44_4,
     {{"n", NONE, 1, 5}, {"kb", BOLTZMANN, 1, 5}, {"T", KELVIN, 1, 5}, {"V1", VOLUME, 1, 5},
      {"V2", VOLUME, 1, 5}}},
    {"I.47.23", "sqrt(gamma*pr/rho)", "c", SPEED, 'e', 0, 3, I_47_23,
     {{"gamma", NONE, 1, 5}, {"pr", PRESSURE, 1, 5}, {"rho", DENSITY, 1, 5}}},
    {"I.48.20", "m*c^2/sqrt(1 - v^2/c^2)", "E_n", ENERGY, 'm', 0, 3, I_48_20,
     {{"m", MASS, 1, 5}, {"v", SPEED, 1, 2}, {"c", SPEED, 3, 10}}},
    {"I.50.26", "x1*(cos(omega*t) + alpha*cos(omega*t)^2)", "x", LENGTH, 'h', 0, 4, I_50_26,
     {{"x1", LENGTH, 1, 3}, {"omega", RATE, 1, 3}, {"t", TIME, 1, 3}, {"alpha", NONE, 1, 3}}},
    {"II.2.42", "kappa*(T2 - T1)*A/d", "Pwr", POWER, 'e', 0, 5, II_2_42,
     {{"kappa", CONDUCTIVITY, 1, 5}, {"T1", KELVIN, 1, 5}, {"T2", KELVIN, 1, 5}, {"A", AREA, 1, 5},
      {"d", LENGTH, 1, 5}}},
    {"II.3.24", "Pwr/(4*pi*r^2)", "flux", FLUX, 'e', 0, 2, II_3_24,
     {{"Pwr", POWER, 1, 5}, {"r", LENGTH, 1, 5}}},
    {"II.4.23", "q/(4*pi*epsilon*r)", "Volt", VOLTAGE, 'e', 0, 3, II_4_23,
     {{"q", CHARGE, 1, 5}, {"epsilon", PERMITTIVITY, 1, 5}, {"r", LENGTH, 1, 5}}},
    {"II.6.11", "p_d*cos(theta)/(4*pi*epsilon*r^2)", "Volt", VOLTAGE, 'm', 0, 4, II_6_11,
     {{"epsilon", PERMITTIVITY, 1, 3}, {"p_d", DIPOLE, 1, 3}, {"theta", NONE, 1, 3},
      {"r", LENGTH, 1, 3}}},
    {"II.6.15a", "3*p_d*z*sqrt(x^2 + y^2)/(4*pi*epsilon*r^5)", "Ef", FIELD, 'h', 0, 6, II_6_15a,
     {{"epsilon", PERMITTIVITY, 1, 3}, {"p_d", DIPOLE, 1, 3}, {"r", LENGTH, 1, 3},
      {"x", LENGTH, 1, 3}, {"y", LENGTH, 1, 3}, {"z", LENGTH, 1, 3}}},
    {"II.6.15b", "3*p_d*cos(theta)*sin(theta)/(4*pi*epsilon*r^3)", "Ef", FIELD, 'h', 0, 4, II_6_15b,
     {{"epsilon", PERMITTIVITY, 1, 3}, {"p_d", DIPOLE, 1, 3}, {"theta", NONE, 1, 3},
      {"r", LENGTH, 1, 3}}},
    {"II.8.7", "3/5*q^2/(4*pi*epsilon*d)", "E_n", ENERGY, 'm', 0, 3, II_8_7,
     {{"q", CHARGE, 1, 5}, {"epsilon", PERMITTIVITY, 1, 5}, {"d", LENGTH, 1, 5}}},
    {"II.8.31", "epsilon*Ef^2/2", "E_den", PRESSURE, 'e', 0, 2, II_8_31,
     {{"epsilon", PERMITTIVITY, 1, 5}, {"Ef", FIELD, 1, 5}}},
    {"II.10.9", "sigma_den/(epsilon*(1 + chi))", "Ef", FIELD, 'e', 0, 3, II_10_9,
     {{"sigma_den", SURFACE_CHARGE, 1, 5}, {"epsilon", PERMITTIVITY, 1, 5}, {"chi", NONE, 1, 5}}},
    {"II.11.3", "q*Ef/(m*(omega_0^2 - omega^2))", "x", LENGTH, 'm', 0, 5, II_11_3,
     {{"q", CHARGE, 1, 3}, {"Ef", FIELD, 1, 3}, {"m", MASS, 1, 3}, {"omega_0", RATE, 3, 5},
      {"omega", RATE, 1, 2}}},
    {"II.11.17", "n_0*(1 + p_d*Ef*cos(theta)/(kb*T))", "n", NONE, 'h', LEFT_OUT, 6, II_11_17,
     {{"n_0", NONE, 1, 3}, {"kb", BOLTZMANN, 1, 3}, {"T", KELVIN, 1, 3}, {"theta", NONE, 1, 3},
      {"p_d", DIPOLE, 1, 3}, {"Ef", FIELD, 1, 3}}},
    {"II.11.20", "n_rho*p_d^2*Ef/(3*kb*T)", "Pol", SURFACE_CHARGE, 'h', 0, 5, II_11_20,
     {{"n_rho", PER_VOLUME, 1, 5}, {"p_d", DIPOLE, 1, 5}, {"Ef", FIELD, 1, 5},
      {"kb", BOLTZMANN, 1, 5}, {"T", KELVIN, 1, 5}}},
    {"II.11.27", "n*alpha/(1 - n*alpha/3)*epsilon*Ef", "Pol", SURFACE_CHARGE, 'h', 0, 4, II_11_27,
     {{"n", NONE, 0, 1}, {"alpha", NONE, 0, 1}, {"epsilon", PERMITTIVITY, 1, 2},
      {"Ef", FIELD, 1, 2}}},
    {"II.11.28", "1 + n*alpha/(1 - n*alpha/3)", "theta", NONE, 'h', 0, 2, II_11_28,
     {{"n", NONE, 0, 1}, {"alpha", NONE, 0, 1}}},
    {"II.13.17", "2*I/(4*pi*epsilon*c^2*r)", "B", MAGNETIC, 'e', 0, 4, II_13_17,
     {{"epsilon", PERMITTIVITY, 1, 5}, {"c", SPEED, 1, 5}, {"I", CURRENT, 1, 5},
      {"r", LENGTH, 1, 5}}},
    {"II.13.23", "rho_c_0/sqrt(1 - v^2/c^2)", "rho_c", CHARGE_DENSITY, 'h', 0, 3, II_13_23,
     {{"rho_c_0", CHARGE_DENSITY, 1, 5}, {"v", SPEED, 1, 2}, {"c", SPEED, 3, 10}}},
    {"II.13.34", "rho_c_0*v/sqrt(1 - v^2/c^2)", "j", CURRENT_DENSITY, 'h', 0, 3, II_13_34,
     {{"rho_c_0", CHARGE_DENSITY, 1, 5}, {"v", SPEED, 1, 2}, {"c", SPEED, 3, 10}}},
    {"II.15.4", "-mom*B*cos(theta)", "E_n", ENERGY, 'e', 0, 3, II_15_4,
     {{"mom", MOMENT, 1, 5}, {"B", MAGNETIC, 1, 5}, {"theta", NONE, 1, 5}}},
    {"II.15.5", "-p_d*Ef*cos(theta)", "E_n", ENERGY, 'e', 0, 3, II_15_5,
     {{"p_d", DIPOLE, 1, 5}, {"Ef", FIELD, 1, 5}, {"theta", NONE, 1, 5}}},
    {"II.21.32", "q/(4*pi*epsilon*r*(1 - v/c))", "Volt", VOLTAGE, 'm', 0, 5, II_21_32,
     {{"q", CHARGE, 1, 5}, {"epsilon", PERMITTIVITY, 1, 5}, {"r", LENGTH, 1, 5}, {"v", SPEED, 1, 2},
      {"c", SPEED, 3, 10}}},
    {"II.24.17", "sqrt(omega^2/c^2 - pi^2/d^2)", "k", PER_LENGTH, 'h', 0, 3, II_24_17,
     {{"omega", RATE, 4, 6}, {"c", SPEED, 1, 2}, {"d", LENGTH, 2, 4}}},
    {"II.27.16", "epsilon*c*Ef^2", "flux", FLUX, 'e', 0, 3, II_27_16,
     {{"epsilon", PERMITTIVITY, 1, 5}, {"c", SPEED, 1, 5}, {"Ef", FIELD, 1, 5}}},
    {"II.27.18", "epsilon*Ef^2", "E_den", PRESSURE, 'e', 0, 2, II_27_18,
     {{"epsilon", PERMITTIVITY, 1, 5}, {"Ef", FIELD, 1, 5}}},
    {"II.34.2a", "q*v/(2*pi*r)", "I", CURRENT, 'm', 0, 3, II_34_2a,
     {{"q", CHARGE, 1, 5}, {"v", SPEED, 1, 5}, {"r", LENGTH, 1, 5}}},
    {"II.34.2", "q*v*r/2", "mom", MOMENT, 'm', 0, 3, II_34_2,
     {{"q", CHARGE, 1, 5}, {"v", SPEED, 1, 5}, {"r", LENGTH, 1, 5}}},
    {"II.34.11", "g_*q*B/(2*m)", "omega", RATE, 'e', 0, 4, II_34_11,
     {{"g_", NONE, 1, 5}, {"q", CHARGE, 1, 5}, {"B", MAGNETIC, 1, 5}, {"m", MASS, 1, 5}}},
    {"II.34.29a", "q*h/(4*pi*m)", "mom", MOMENT, 'm', 0, 3, II_34_29a,
     {{"q", CHARGE, 1, 5}, {"h", ACTION, 1, 5}, {"m", MASS, 1, 5}}},
    {"II.34.29b", "g_*mom*B*Jz/(h/(2*pi))", "E_n", ENERGY, 'e', 0, 5, II_34_29b,
     {{"g_", NONE, 1, 5}, {"h", ACTION, 1, 5}, {"Jz", ACTION, 1, 5}, {"mom", MOMENT, 1, 5},
      {"B", MAGNETIC, 1, 5}}},
    {"II.35.18", "n_0/(exp(mom*B/(kb*T)) + exp(-mom*B/(kb*T)))", "n", NONE, 'h', 0, 5, II_35_18,
     {{"n_0", NONE, 1, 3}, {"kb", BOLTZMANN, 1, 3}, {"T", KELVIN, 1, 3}, {"mom", MOMENT, 1, 3},
      {"B", MAGNETIC, 1, 3}}},
    {"II.35.21", "n_rho*mom*tanh(mom*B/(kb*T))", "M", MAGNETIZATION, 'h', 0, 5, II_35_21,
     {{"n_rho", PER_VOLUME, 1, 5}, {"mom", MOMENT, 1, 5}, {"B", MAGNETIC, 1, 5},
      {"kb", BOLTZMANN, 1, 5}, {"T", KELVIN, 1, 5}}},
    {"II.36.38", "mom*H/(kb*T) + mom*alpha*M/(epsilon*c^2*kb*T)", "f", NONE, 'h', 0, 8, II_36_38,
     {{"mom", MOMENT, 1, 3}, {"H", MAGNETIC, 1, 3}, {"kb", BOLTZMANN, 1, 3}, {"T", KELVIN, 1, 3},
      {"alpha", NONE, 1, 3}, {"epsilon", PERMITTIVITY, 1, 3}, {"c", SPEED, 1, 3},
      {"M", MAGNETIZATION, 1, 3}}},
    {"II.37.1", "mom*(1 + chi)*B", "E_n", ENERGY, 'm', 0, 3, II_37_1,
     {{"mom", MOMENT, 1, 5}, {"B", MAGNETIC, 1, 5}, {"chi", NONE, 1, 5}}},
    {"II.38.3", "Y*A*x/d", "F", FORCE, 'e', 0, 4, II_38_3,
     {{"Y", PRESSURE, 1, 5}, {"A", AREA, 1, 5}, {"d", LENGTH, 1, 5}, {"x", LENGTH, 1, 5}}},
    {"II.38.14", "Y/(2*(1 + sigma))", "mu_S", PRESSURE, 'e', 0, 2, II_38_14,
     {{"Y", PRESSURE, 1, 5}, {"sigma", NONE, 1, 5}}},
    {"III.4.32", "1/(exp(h/(2*pi)*omega/(kb*T)) - 1)", "n", NONE, 'm', 0, 4, III_4_32,
     {{"h", ACTION, 1, 5}, {"omega", RATE, 1, 5}, {"kb", BOLTZMANN, 1, 5}, {"T", KELVIN, 1, 5}}},
    {"III.4.33", "h/(2*pi)*omega/(exp(h/(2*pi)*omega/(kb*T)) - 1)", "E_n", ENERGY, 'h', 0, 4,
     III_4_33,
     {{"h", ACTION, 1, 5}, {"omega", RATE, 1, 5}, {"kb", BOLTZMANN, 1, 5}, {"T", KELVIN, 1, 5}}},
    {"III.7.38", "2*mom*B/(h/(2*pi))", "omega", RATE, 'e', 0, 3, III_7_38,
     {{"mom", MOMENT, 1, 5}, {"B", MAGNETIC, 1, 5}, {"h", ACTION, 1, 5}}},
    {"III.8.54", "sin(E_n*t/(h/(2*pi)))^2", "prob", NONE, 'm', 0, 3, III_8_54,
     {{"E_n", ENERGY, 1, 2}, {"t", TIME, 1, 2}, {"h", ACTION, 1, 4}}},
    {"III.9.52", "p_d*Ef*t/(h/(2*pi))*sin((omega - omega_0)*t/2)^2/((omega - omega_0)*t/2)^2",
     "prob", NONE, 'h', 0, 6, III_9_52,
     {{"p_d", DIPOLE, 1, 3}, {"Ef", FIELD, 1, 3}, {"t", TIME, 1, 3}, {"h", ACTION, 1, 3},
      {"omega", RATE, 1, 5}, {"omega_0", RATE, 1, 5}}},
    {"III.10.19", "mom*sqrt(Bx^2 + By^2 + Bz^2)", "E_n", ENERGY, 'h', 0, 4, III_10_19,
     {{"mom", MOMENT, 1, 5}, {"Bx", MAGNETIC, 1, 5}, {"By", MAGNETIC, 1, 5},
      {"Bz", MAGNETIC, 1, 5}}},
    {"III.12.43", "n*h/(2*pi)", "L", ACTION, 'e', 0, 2, III_12_43,
     {{"n", NONE, 1, 5}, {"h", ACTION, 1, 5}}},
    {"III.13.18", "2*E_n*d^2*k/(h/(2*pi))", "v", SPEED, 'm', 0, 4, III_13_18,
     {{"E_n", ENERGY, 1, 5}, {"d", LENGTH, 1, 5}, {"k", PER_LENGTH, 1, 5}, {"h", ACTION, 1, 5}}},
    {"III.14.14", "I_0*(exp(q*Volt/(kb*T)) - 1)", "I", CURRENT, 'm', 0, 5, III_14_14,
     {{"I_0", CURRENT, 1, 5}, {"q", CHARGE, 1, 2}, {"Volt", VOLTAGE, 1, 2}, {"kb", BOLTZMANN, 1, 2},
      {"T", KELVIN, 1, 2}}},
    {"III.15.12", "2*U*(1 - cos(k*d))", "E_n", ENERGY, 'm', 0, 3, III_15_12,
     {{"U", ENERGY, 1, 5}, {"k", PER_LENGTH, 1, 5}, {"d", LENGTH, 1, 5}}},
    {"III.15.14", "(h/(2*pi))^2/(2*E_n*d^2)", "m", MASS, 'm', 0, 3, III_15_14,
     {{"h", ACTION, 1, 5}, {"E_n", ENERGY, 1, 5}, {"d", LENGTH, 1, 5}}},
    {"III.15.27", "2*pi*alpha/(n*d)", "k", PER_LENGTH, 'e', 0, 3, III_15_27,
     {{"alpha", NONE, 1, 5}, {"n", NONE, 1, 5}, {"d", LENGTH, 1, 5}}},
    {"III.17.37", "beta*(1 + alpha*cos(theta))", "f", NONE, 'm', 0, 3, III_17_37,
     {{"beta", NONE, 1, 5}, {"alpha", NONE, 1, 5}, {"theta", NONE, 1, 5}}},
    {"III.19.51", "-m*q^4/(2*(4*pi*epsilon)^2*(h/(2*pi))^2*n^2)", "E_n", ENERGY, 'm', 0, 5,
     III_19_51,
     {{"m", MASS, 1, 5}, {"q", CHARGE, 1, 5}, {"h", ACTION, 1, 5}, {"n", NONE, 1, 5},
      {"epsilon", PERMITTIVITY, 1, 5}}},
    {"III.21.20", "-rho_c_0*q*A_vec/m", "j", CURRENT_DENSITY, 'h', 0, 4, III_21_20,
     {{"rho_c_0", CHARGE_DENSITY, 1, 5}, {"q", CHARGE, 1, 5}, {"A_vec", VECTOR_POTENTIAL, 1, 5},
      {"m", MASS, 1, 5}}},
    {"test_1", "(Z_1*Z_2*alpha*hbar*c/(4*E_n*sin(theta/2)^2))^2", "A", AREA, 'h', BONUS, 7, test_1,
     {{"Z_1", NONE, 1, 2}, {"Z_2", NONE, 1, 2}, {"alpha", NONE, 1, 2}, {"hbar", ACTION, 1, 2},
      {"c", SPEED, 1, 2}, {"E_n", ENERGY, 1, 3}, {"theta", NONE, 1, 3}}},
    {"test_2", "m*k_G/L^2*(1 + sqrt(1 + 2*E_n*L^2/(m*k_G^2))*cos(theta1 - theta2))", "k",
     PER_LENGTH, 'h', BONUS, 6, test_2,
     {{"m", MASS, 1, 3}, {"k_G", COUPLING, 1, 3}, {"L", ACTION, 1, 3}, {"E_n", ENERGY, 1, 3},
      {"theta1", NONE, 0, 6}, {"theta2", NONE, 0, 6}}},
    {"test_3", "d*(1 - alpha^2)/(1 + alpha*cos(theta1 - theta2))", "r", LENGTH, 'h', BONUS, 4,
     test_3,
     {{"d", LENGTH, 1, 3}, {"alpha", NONE, 2, 4}, {"theta1", NONE, 4, 5}, {"theta2", NONE, 4, 5}}},
    {"test_4", "sqrt(2/m*(E_n - U - L^2/(2*m*r^2)))", "v", SPEED, 'h', BONUS, 5, test_4,
     {{"m", MASS, 1, 3}, {"E_n", ENERGY, 8, 12}, {"U", ENERGY, 1, 3}, {"L", ACTION, 1, 3},
      {"r", LENGTH, 1, 3}}},
    {"test_5", "2*pi*d^(3/2)/sqrt(G*(m1 + m2))", "t", TIME, 'h', BONUS, 4, test_5,
     {{"d", LENGTH, 1, 3}, {"G", GRAVITY, 1, 3}, {"m1", MASS, 1, 3}, {"m2", MASS, 1, 3}}},
    {"test_6", "sqrt(1 + 2*epsilon^2*E_n*L^2/(m*(Z_1*Z_2*q^2)^2))", "alpha", NONE, 'h', BONUS, 7,
     test_6,
     {{"epsilon", PERMITTIVITY, 1, 3}, {"L", ACTION, 1, 3}, {"m", MASS, 1, 3}, {"Z_1", NONE, 1, 3},
      {"Z_2", NONE, 1, 3}, {"q", CHARGE, 1, 3}, {"E_n", ENERGY, 1, 3}}},
    {"test_7", "sqrt(8*pi*G*rho/3 - alpha*c^2/d^2)", "H_G", RATE, 'h', BONUS, 5, test_7,
     {{"G", GRAVITY, 1, 3}, {"rho", DENSITY, 1, 3}, {"alpha", NONE, 1, 2}, {"c", SPEED, 1, 2},
      {"d", LENGTH, 1, 3}}},
    {"test_8", "E_n/(1 + E_n/(m*c^2)*(1 - cos(theta)))", "K", ENERGY, 'm', BONUS, 4, test_8,
     {{"E_n", ENERGY, 1, 3}, {"m", MASS, 1, 3}, {"c", SPEED, 1, 3}, {"theta", NONE, 1, 3}}},
    {"test_9", "-32/5*G^4/c^5*(m1*m2)^2*(m1 + m2)/r^5", "Pwr", POWER, 'h', BONUS, 5, test_9,
     {{"G", GRAVITY, 1, 2}, {"c", SPEED, 1, 2}, {"m1", MASS, 1, 5}, {"m2", MASS, 1, 5},
      {"r", LENGTH, 1, 2}}},
    {"test_10", "acos((cos(theta2) - v/c)/(1 - v/c*cos(theta2)))", "theta1", NONE, 'h',
     BONUS | LEFT_OUT, 3, test_10,
     {{"c", SPEED, 4, 6}, {"v", SPEED, 1, 3}, {"theta2", NONE, 1, 3}}},
    {"test_11", "I_0*(sin(alpha/2)*sin(n*delta/2)/(alpha/2*sin(delta/2)))^2", "I", FLUX, 'h', BONUS,
     4, test_11,
     {{"I_0", FLUX, 1, 3}, {"alpha", NONE, 1, 3}, {"delta", NONE, 1, 3}, {"n", NONE, 1, 2}}},
    {"test_12", "q/(4*pi*epsilon*y^2)*(4*pi*epsilon*Volt*d - q*d*y^3/(y^2 - d^2)^2)", "F", FORCE,
     'h', BONUS, 5, test_12,
     {{"q", CHARGE, 1, 5}, {"y", LENGTH, 1, 3}, {"Volt", VOLTAGE, 1, 5}, {"d", LENGTH, 4, 6},
      {"epsilon", PERMITTIVITY, 1, 5}}},
    {"test_13", "q/(4*pi*epsilon*sqrt(r^2 + d^2 - 2*r*d*cos(alpha)))", "Volt", VOLTAGE, 'h', BONUS,
     5, test_13,
     {{"q", CHARGE, 1, 5}, {"r", LENGTH, 1, 3}, {"d", LENGTH, 4, 6}, {"alpha", NONE, 0, 6},
      {"epsilon", PERMITTIVITY, 1, 5}}},
    {"test_14", "Ef*cos(theta)*(d^3/r^2*(alpha - 1)/(alpha + 2) - r)", "Volt", VOLTAGE, 'h', BONUS,
     5, test_14,
     {{"Ef", FIELD, 1, 5}, {"theta", NONE, 0, 6}, {"r", LENGTH, 1, 5}, {"d", LENGTH, 1, 5},
      {"alpha", NONE, 1, 5}}},
    {"test_15", "sqrt(1 - v^2/c^2)*omega/(1 + v/c*cos(theta))", "omega_0", RATE, 'h', BONUS, 4,
     test_15,
     {{"c", SPEED, 5, 20}, {"v", SPEED, 1, 3}, {"omega", RATE, 1, 5}, {"theta", NONE, 0, 6}}},
    {"test_16", "sqrt((p - q*A_vec)^2*c^2 + m^2*c^4) + q*Volt", "E_n", ENERGY, 'h', BONUS, 6,
     test_16,
     {{"m", MASS, 1, 5}, {"c", SPEED, 1, 5}, {"p", MOMENTUM, 1, 5}, {"q", CHARGE, 1, 5},
      {"A_vec", VECTOR_POTENTIAL, 1, 5}, {"Volt", VOLTAGE, 1, 5}}},
    {"test_17", "(p^2 + m^2*omega^2*x^2*(1 + alpha*x/y))/(2*m)", "E_n", ENERGY, 'h', BONUS, 6,
     test_17,
     {{"m", MASS, 1, 5}, {"omega", RATE, 1, 5}, {"p", MOMENTUM, 1, 5}, {"y", LENGTH, 1, 5},
      {"x", LENGTH, 1, 5}, {"alpha", NONE, 1, 5}}},
    {"test_18", "3/(8*pi*G)*(c^2*k_f/r^2 + H_G^2)", "rho_0", DENSITY, 'm', BONUS, 5, test_18,
     {{"G", GRAVITY, 1, 5}, {"k_f", NONE, 1, 5}, {"r", LENGTH, 1, 5}, {"H_G", RATE, 1, 5},
      {"c", SPEED, 1, 5}}},
    {"test_19", "-(c^4*k_f/r^2 + H_G^2*c^2*(1 - 2*alpha))/(8*pi*G)", "pr", PRESSURE, 'h', BONUS, 6,
     test_19,
     {{"G", GRAVITY, 1, 5}, {"k_f", NONE, 1, 5}, {"r", LENGTH, 1, 5}, {"H_G", RATE, 1, 5},
      {"alpha", NONE, 1, 5}, {"c", SPEED, 1, 5}}},
    {"test_20",
     "alpha^2*h^2/(4*pi*m^2*c^2)*(omega_0/omega)^2*(omega_0/omega + omega/omega_0 - sin(beta)^2)",
     "A", AREA, 'h', BONUS, 7, test_20,
     {{"omega", RATE, 1, 5}, {"omega_0", RATE, 1, 5}, {"alpha", NONE, 1, 5}, {"h", ACTION, 1, 5},
      {"m", MASS, 1, 5}, {"c", SPEED, 1, 5}, {"beta", NONE, 0, 6}}},
};

/* ---- access ---- */

const feynman_problem *feynman_get(size_t i) {
    return i < FEYNMAN_PROBLEMS ? TABLE + i : NULL;
}

/* Equation numbers of the files that lost a zero at their end. */
static const char *const LOST[][2] = {
    {"I.6.2a", "I.6.20a"}, {"I.6.2", "I.6.20"},   {"I.6.2b", "I.6.20b"}, {"I.15.1", "I.15.10"},
    {"I.34.1", "I.34.10"}, {"I.39.1", "I.39.10"}, {"I.48.2", "I.48.20"},
};

const feynman_problem *feynman_find(const char *name) {
    size_t i;
    if (!name) return NULL;
    for (i = 0; i < sizeof LOST / sizeof *LOST; i++)
        if (strcmp(name, LOST[i][0]) == 0) name = LOST[i][1];
    for (i = 0; i < FEYNMAN_PROBLEMS; i++)
        if (strcmp(name, TABLE[i].name) == 0) return TABLE + i;
    return NULL;
}

int feynman_value(const feynman_problem *p, const double *variables, double *result) {
    *result = p->value(variables);
    return isfinite(*result) ? 1 : 0;
}

int feynman_sample(const feynman_problem *p, uint64_t seed, size_t n, double *const *columns,
                   double *y) {
    double x[FEYNMAN_VARIABLES] = {0.0};
    int finite = 1;
    size_t i, k;
    for (k = 0; k < n; k++) {
        for (i = 0; i < p->count; i++) {
            const feynman_variable *v = p->variable + i;
            x[i] = v->low + (v->high - v->low) * af_random_uniform(seed, i, k);
            columns[i][k] = x[i];
        }
        finite &= feynman_value(p, x, y + k);
    }
    return finite;
}
