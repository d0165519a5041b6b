"""The PyTorch side of tools/bench.c:  python bench_torch.py ROW --data FOLDER ...

Reads the parameters and the data that the C program wrote to FOLDER/ROW.safetensors, does the same
work, and prints lines `name value`: seconds (of a call), loss (of the first step), memory (bytes
above what was there after the import and the data), note. Where PyTorch has several ways to do
the work, each runs in a process of its own, and the fastest that gives the same result counts.
"""
import argparse
import json
import os
import signal
import sys
import time
import traceback

if "cuda" not in sys.argv:
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")  # the processor is measured
import numpy as np
import torch

TWO_PI = 6.283185307179586


def read(path, dtype):
    """The arrays of a safetensors file, and its texts."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = file.read()
    texts = header.pop("__metadata__", {})
    arrays = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        flat = np.frombuffer(data[first:last], "<f8").reshape(entry["shape"])
        arrays[name] = torch.tensor(flat, dtype=dtype)
    return arrays, texts


def measure(call, seconds, warm=False):
    """The minimum over repeats, as bench_time in tools/bench/core.c. warm: it was called before."""
    def group(calls):
        start = time.perf_counter()
        for _ in range(calls):
            call()
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()  # the device runs behind
        return (time.perf_counter() - start) / calls
    if not warm:
        call()
    once = group(1)
    calls = int(1e-3 / max(once, 1e-9)) + 1 if once < 1e-3 else 1
    best, spent, repeats = once, once, 1
    while repeats < 3 or spent < seconds:
        one = group(calls)
        best = min(best, one)
        spent += one * calls
        repeats += 1
    return best


def peak_memory():
    """The largest resident set so far [bytes]; nan where the system does not tell."""
    try:
        with open("/proc/self/status") as file:
            for line in file:
                if line.startswith("VmHWM"):
                    return 1024.0 * float(line.split()[1])
    except OSError:
        pass
    return float("nan")


def too_long(*_):
    raise TimeoutError("torch.compile took too long")


def compiled(function):
    """torch.compile, which may take a minute."""
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, too_long)
        signal.alarm(60)
    return torch.compile(function, dynamic=False)


def compiling_is_over():
    if hasattr(signal, "SIGALRM"):
        signal.alarm(0)


def count_operations(step):
    """Prints the operations of the matrix products of a step, where this PyTorch counts them."""
    try:
        from torch.utils.flop_counter import FlopCounterMode
        with FlopCounterMode(display=False) as counter:
            step()
        print("flops %.9g" % counter.get_total_flops())
    except Exception:  # a convenience alone
        pass


def free_memory():
    """What the system could give [bytes]; infinite where it does not tell."""
    try:
        with open("/proc/meminfo") as file:
            for line in file:
                if line.startswith("MemAvailable"):
                    return 1024.0 * float(line.split()[1])
    except OSError:
        pass
    return float("inf")


def optimiser(parameters, rate, graph=False):
    """graph: its steps can be captured."""
    try:
        return torch.optim.Adam(parameters, lr=rate, fused=True, capturable=graph)
    except RuntimeError:
        return torch.optim.Adam(parameters, lr=rate, capturable=graph)


def captured(step):
    """The step as a CUDA graph, after some that fill the caches: one launch does it all."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def train(parameters, loss, arguments, method, rate=1e-4):
    """Prints loss, seconds and memory of a step: loss, gradient, Adam. Methods compiled, graph and
    compiled_graph: torch.compile, a CUDA graph, both."""
    memory = peak_memory()
    graph = method.endswith("graph")
    adam = optimiser(parameters, rate, graph)
    if method.startswith("compiled"):
        loss = compiled(loss)

    def step():
        adam.zero_grad(set_to_none=True)
        value = loss()
        value.backward()
        adam.step()
    print("loss %.17g" % loss().item())
    step()
    compiling_is_over()
    timed = captured(step) if graph else step
    print("seconds %.9g" % measure(timed, arguments.seconds, warm=True))
    print("memory %.9g" % (peak_memory() - memory))
    if not graph:
        count_operations(step)


def layers(arrays):
    """[(W (in,out), b)] of an MLP named net."""
    count = sum(name.startswith("net.") and name.endswith("weight") for name in arrays)
    net = [(arrays["net.%d.weight" % i], arrays["net.%d.bias" % i]) for i in range(count)]
    for weight, bias in net:
        weight.requires_grad_()
        bias.requires_grad_()
    return net, [p for pair in net for p in pair]


def mlp(net, x):
    for weight, bias in net[:-1]:
        x = torch.tanh(torch.addmm(bias, x, weight))
    return torch.addmm(net[-1][1], x, net[-1][0])


# ---- potential: gradient and Laplacian in the loss ----


def laplacian_nested(net, x):
    """Reverse over reverse: three second derivatives, each by another grad."""
    x = x.requires_grad_()
    gradient, = torch.autograd.grad(mlp(net, x).sum(), x, create_graph=True)
    total = 0.0
    for d in range(3):
        total = total + torch.autograd.grad(gradient[:, d].sum(), x, create_graph=True)[0][:, d]
    return gradient.T, total


def laplacian_streams(net, x):
    """Value, three tangents and Laplacian carried from layer to layer."""
    weight, bias = net[0]
    h = torch.tanh(torch.addmm(bias, x, weight))
    slope = 1.0 - h * h
    tangent = weight[:, None, :]  # (3,1,w): broadcast in the next line
    lap = -2.0 * h * slope * (weight * weight).sum(0)
    tangent = slope * tangent
    for weight, bias in net[1:-1]:
        h = torch.tanh(torch.addmm(bias, h, weight))
        slope = 1.0 - h * h
        tangent = tangent @ weight
        lap = slope * (lap @ weight - 2.0 * h * (tangent * tangent).sum(0))
        tangent = slope * tangent
    weight = net[-1][0]
    return (tangent @ weight)[:, :, 0], (lap @ weight)[:, 0]


def potential(arguments, method, dtype):
    arrays, _ = read(arguments.file, dtype)
    net, parameters = layers(arrays)
    x, b, c = arrays["x"], arrays["b"][:, :, 0], arrays["c"][:, 0]
    way = laplacian_nested if method == "nested" else laplacian_streams

    def loss():
        gradient, lap = way(net, x)
        residual = c + (b * gradient).sum(0)
        return (residual ** 2).mean() + 0.1 * (torch.relu(-lap) ** 2).mean()
    train(parameters, loss, arguments, method)


# ---- a small network: nothing but launches ----


def small(arguments, method, dtype):
    arrays, _ = read(arguments.file, dtype)
    net, parameters = layers(arrays)
    x, y = arrays["x"], arrays["y"]

    def loss():
        return ((mlp(net, x) - y) ** 2).mean()
    train(parameters, loss, arguments, method)


# ---- flow: the exact divergence of a velocity network, one step of Runge and Kutta ----


def velocity_streams(net, t, x):
    """v(t,x) and its divergence, six tangents carried forward."""
    n, dims = x.shape
    weight, bias = net[0]
    h = torch.tanh(torch.addmm(bias + t * weight[0], x, weight[1:]))
    tangent = (1.0 - h * h) * weight[1:, None, :]
    for weight, bias in net[1:-1]:
        h = torch.tanh(torch.addmm(bias, h, weight))
        tangent = (1.0 - h * h) * (tangent @ weight)
    weight, bias = net[-1]
    divergence = (tangent * weight.T[:, None, :]).sum((0, 2))  # the diagonal alone
    return torch.addmm(bias, h, weight), divergence


def velocity_nested(net, t, x):
    """The same by six vector-Jacobian products."""
    if not x.requires_grad:
        x = x.requires_grad_()
    time_column = torch.full_like(x[:, :1], t)
    v = mlp(net, torch.cat([time_column, x], 1))
    divergence = 0.0
    for d in range(x.shape[1]):
        slope, = torch.autograd.grad(v[:, d].sum(), x, create_graph=True)
        divergence = divergence + slope[:, d]
    return v, divergence


def flow(arguments, method, dtype):
    arrays, _ = read(arguments.file, dtype)
    net, parameters = layers(arrays)
    x = arrays["x"]
    velocity = velocity_nested if method == "nested" else velocity_streams

    def loss():
        v1, d1 = velocity(net, 0.0, x)
        v2, d2 = velocity(net, 0.5, x + 0.5 * v1)
        v3, d3 = velocity(net, 0.5, x + 0.5 * v2)
        v4, d4 = velocity(net, 1.0, x + v3)
        end = x + (v1 + 2.0 * v2 + 2.0 * v3 + v4) / 6.0
        growth = (d1 + 2.0 * d2 + 2.0 * d3 + d4) / 6.0
        normal = -0.5 * (end ** 2).sum(1) - 3.0 * float(np.log(TWO_PI))
        return -(normal + growth).mean()
    train(parameters, loss, arguments, method)


# ---- evaluation of a potential and its gradient ----


def evaluate_autograd(net, x):
    x = x.requires_grad_()
    phi = mlp(net, x)
    return phi.detach(), torch.autograd.grad(phi.sum(), x)[0]


def evaluate_by_hand(net, x):
    """The chain rule written out: no graph is recorded."""
    with torch.no_grad():
        kept = []
        for weight, bias in net[:-1]:
            x = torch.tanh(torch.addmm(bias, x, weight))
            kept.append(x)
        phi = torch.addmm(net[-1][1], x, net[-1][0])
        back = net[-1][0].T
        for i in range(len(net) - 2, -1, -1):
            back = torch.ops.aten.tanh_backward(back.expand_as(kept[i]), kept[i]) @ net[i][0].T
        return phi, back


def evaluate(arguments, method, dtype):
    """Seconds for all stars, and the mean over stars of Phi + the components of its gradient."""
    arrays, _ = read(arguments.file, dtype)
    net, _ = layers(arrays)
    x = arrays["x"].repeat(int(arrays["copies"]), 1)
    way = evaluate_autograd if method == "autograd" else evaluate_by_hand
    if method == "compiled":
        way = compiled(way)
    way(net, x[:min(len(x), 8192)])
    compiling_is_over()
    best, total, size = float("inf"), 0.0, 0
    for chunk in sorted({min(len(x), n) for n in (8192, 65536, len(x))}):
        parts = x.split(chunk)
        if method == "compiled" and chunk != min(len(x), 8192):
            break  # it compiles anew for each shape

        def call():
            for part in parts:
                way(net, part)
        seconds = measure(call, arguments.seconds)
        if seconds < best:
            best, size = seconds, chunk
    for part in x.split(8192):
        phi, gradient = way(net, part)
        total += float(phi.sum() + gradient.sum())
    print("seconds %.9g" % best)
    print("sum %.17g" % (total / len(x)))
    if len(x) > 1:
        print("note chunks of %d" % size)


# ---- ActionFinder: see finder.c for what is compared ----


class Finder:
    """The maps of eqs. 5 to 8 with a network G(theta, J') and a point transformation. Rows are
    stars, N after each other for a stream."""

    def __init__(self, path, data):
        arrays, texts = read(path, torch.float64)
        self.stars = int(data["stars"])
        self.scale = float(texts["action_scale_kms_kpc"])
        self.center, self.width = arrays["whitening"][0, :3], arrays["whitening"][1, :3]
        self.parameters = []
        self.g = self.network(arrays, "generator")
        self.p = self.network(arrays, "point")
        # published tolerances, 5e-5 and 1e-6, are of actions over 4000 kpc^2/Gyr
        self.unit = 4000.0 * 0.97779222 / self.scale

    def network(self, arrays, name):
        """[(weight, gain or None, bias or None)] in the order of use."""
        found = []
        while "%s.%d.weight" % (name, len(found)) in arrays:
            one = tuple(arrays.get("%s.%d.%s" % (name, len(found), what))
                        for what in ("weight", "gain", "bias"))
            found.append(one)
            self.parameters += [p.requires_grad_() for p in one if p is not None]
        return found

    @staticmethod
    def normalised(net):
        """Weight normalisation, once a step: [(W, b)]."""
        return [(v if g is None else torch._weight_norm(v, g[None, :], 1), b) for v, g, b in net]

    def apply(self, net, x, tangent=None, twice=False):
        """The network of figure 2. `net` holds (W, b); with `twice` it holds (v, g, b), each dense
        layer is applied twice and normalised each time, as the published code does. `tangent`
        (3, rows, inputs) is carried along."""
        def dense(layer, h):
            if twice:
                v, g, b = layer
                for _ in range(2):
                    h = h @ torch._weight_norm(v, g[None, :], 1)
                    h = h if b is None else h + b
                return h
            return h @ layer[0] if layer[1] is None else torch.addmm(layer[1], h, layer[0])

        def linear(layer, h):
            return torch.addmm(layer[-1], h, layer[0])
        at = 0
        while at + 1 < len(net):
            if net[at][-1] is not None:  # D1 has no bias: this is where the width changes
                x = linear(net[at], x)
                tangent = None if tangent is None else tangent @ net[at][0]
                at += 1
            h = torch.relu(x)
            inner = dense(net[at], h)
            outer = torch.relu(inner)
            if tangent is not None:
                t = (tangent * (x > 0)) @ net[at][0]
                tangent = tangent + (t * (inner > 0)) @ net[at + 1][0]
            x = x + dense(net[at + 1], outer)
            at += 2
        return linear(net[at], x), None if tangent is None else tangent @ net[at][0]

    def value(self, net, theta, jp, twice=False):
        """G of each star; jp (rows,3) in units of the action scale."""
        x = torch.cat([theta.cos(), theta.sin(), (jp - self.center) / self.width], 1)
        return self.apply(net, x, twice=twice)[0]

    def mean(self, x):
        """Over the stars of a stream: (B,3)."""
        return x.reshape(-1, self.stars, 3).mean(1)

    def spread_out(self, jp):
        """(B,3) for each star: (B N,3)."""
        return jp.repeat_interleave(self.stars, 0)

    def solve(self, net, theta, j, jp, most, twice=False, graph=False, least=1):
        """J' <- mean of J - dG/dtheta until it settles, at most `most` times."""
        theta = theta.detach().requires_grad_()
        for steps in range(1, most + 1):
            u = self.value(net, theta, self.spread_out(jp), twice)
            slope, = torch.autograd.grad(u.sum(), theta, create_graph=graph)
            new = self.mean(j - slope.detach())
            change = (new - jp).abs() / self.unit
            jp = new
            if steps >= least and change.max() < 5e-5 and change.mean() < 1e-6:
                break
        return jp, steps

    @staticmethod
    def cramer(rows, right):
        """Solves A x = right for each star; rows: the three rows of A, each (stars,3)."""
        c0 = torch.linalg.cross(rows[1], rows[2])
        c1 = torch.linalg.cross(rows[2], rows[0])
        c2 = torch.linalg.cross(rows[0], rows[1])
        det = (rows[0] * c0).sum(1, keepdim=True)
        return (c0 * right[:, 0:1] + c1 * right[:, 1:2] + c2 * right[:, 2:3]) / det

    def point(self, net, angle, action):
        """eqs. 7 and 8: theta'' and J'', or theta'' alone where action is None."""
        x = torch.cat([angle.cos(), angle.sin()], 1)
        if action is None:
            return angle + self.apply(net, x)[0], None
        unit = torch.eye(3, dtype=x.dtype)[:, None, :]
        tangent = torch.cat([-angle.sin() * unit, angle.cos() * unit], 2)
        turn, slope = self.apply(net, x, tangent)
        return angle + turn, self.cramer(unit + slope, action)

    def losses(self, action, angle_at_zero):
        """eqs. 12 and 13: the spread alone, and the total."""
        deep = action.reshape(-1, self.stars, 3)
        spread = (deep - deep.mean(1, keepdim=True)).abs().mean()
        two = deep[:, :, 1:]
        total = spread + 2.0 * (two.abs() - two).mean()
        wrapped = torch.remainder(angle_at_zero + 0.5 * TWO_PI, TWO_PI) - 0.5 * TWO_PI
        return spread, total + 0.1 * wrapped.abs().mean()

    def forward(self, g, p, theta, j, jp):
        """The losses at J' (B,3), and dG/dtheta."""
        theta = theta.detach().requires_grad_()
        wide = self.spread_out(jp).requires_grad_()
        u = self.value(g, theta, wide)
        slope, shift = torch.autograd.grad(u.sum(), (theta, wide), create_graph=True)
        _, action = self.point(p, theta.detach() + shift, j - slope)
        jp = jp.detach().requires_grad_()
        u = self.value(g, torch.zeros_like(jp), jp)
        shift, = torch.autograd.grad(u.sum(), jp, create_graph=True)
        zero, _ = self.point(p, shift, None)
        return self.losses(action, zero) + (slope,)

    def forward_published(self, theta, j, jp, least):
        """As the published code: dense layers twice, G three times, the Jacobian of the point
        transformation by three reverse passes and inverted, theta = 0 for each star."""
        theta = theta.detach().requires_grad_()
        jp, steps = self.solve(self.g, theta, j, jp, 10, twice=True, graph=True, least=least)
        u = self.value(self.g, theta, self.spread_out(jp), True)
        slope, = torch.autograd.grad(u.sum(), theta, create_graph=True)
        each = j - slope
        wide = self.spread_out(self.mean(each))
        u = self.value(self.g, theta, wide, True)
        shift, = torch.autograd.grad(u.sum(), wide, create_graph=True)

        def point(angle):
            x = torch.cat([angle.cos(), angle.sin()], 1)
            return angle + self.apply(self.p, x, twice=True)[0]
        angle = theta + shift
        turned = point(angle)
        rows = [torch.autograd.grad(turned[:, k].sum(), angle, create_graph=True)[0]
                for k in range(3)]
        inverse = torch.inverse(torch.stack(rows, 1))  # d theta'_i / d theta''_k
        action = (each[:, :, None] * inverse).sum(1)
        u = self.value(self.g, torch.zeros_like(theta), each, True)
        shift, = torch.autograd.grad(u.sum(), each, create_graph=True)
        return self.losses(action, point(shift))[1], steps


def finder(arguments, method, dtype):
    data, _ = read(arguments.file, dtype)
    f = Finder(arguments.file.replace(".safetensors", "_model.safetensors"), data)
    theta, j = data["theta"], data["J"] / f.scale
    state = {"jp": f.mean(j), "steps": 0}

    def same():
        """Our step: J' is held, and moved by half of what it lacks, once a step."""
        spread, total, slope = f.forward(f.normalised(f.g), f.normalised(f.p), theta, j,
                                         state["jp"])
        state["next"] = state["jp"] + 0.5 * (f.mean(j - slope.detach()) - state["jp"])
        return total

    def loop(least=1):
        """J' solved for at each step, without a graph."""
        g, p = f.normalised(f.g), f.normalised(f.p)
        constant = [(w.detach(), None if b is None else b.detach()) for w, b in g]
        jp, state["steps"] = f.solve(constant, theta, j, f.mean(j), 10, least=least)
        return f.forward(g, p, theta, j, jp)[1]

    def published(least=1):
        total, state["steps"] = f.forward_published(theta, j, f.mean(j), least)
        return total
    ways = {"same": same, "graph": same, "loop": loop, "loop_ten": lambda: loop(10),
            "published": published, "published_ten": lambda: published(10)}
    if method == "same":  # the losses are compared here
        held, scaled = data["held_theta"], data["held_J"] / f.scale
        g, p = f.normalised(f.g), f.normalised(f.p)
        constant = [(w.detach(), None if b is None else b.detach()) for w, b in g]
        jp, steps = f.solve(constant, held, scaled, f.mean(scaled), 100)
        print("held_loss %.17g" % f.forward(g, p, held, scaled, jp)[0].item())
        print("held_steps %d" % steps)
        first = same().item()
    adam = optimiser(f.parameters, 1e-5, method == "graph")
    memory = peak_memory()

    def step():
        adam.zero_grad(set_to_none=True)
        ways[method]().backward()
        adam.step()
        if "next" in state:
            state["jp"].copy_(state["next"])  # in its place: a graph knows no other
    seconds = measure(captured(step) if method == "graph" else step, arguments.seconds)
    if method == "same":
        print("loss %.17g" % first)
    print("seconds %.9g" % seconds)
    print("steps %d" % state["steps"])
    print("memory %.9g" % (peak_memory() - memory))
    if method != "graph":
        count_operations(step)


# ---- rows and methods ----


def version(arguments, method, dtype):
    print("threads %d" % torch.get_num_threads())
    config = torch.__config__.show()
    blas = "MKL" if "BLAS_INFO=mkl" in config else "no MKL"
    capability = torch.backends.cpu.get_cpu_capability()
    reduced = ", TF32" if torch.backends.cuda.matmul.allow_tf32 else ""
    print("note %s, %s, %s, Python %s%s" % (torch.__version__, blas, capability,
                                            sys.version.split()[0], reduced))


NETWORK = ["streams", "nested", "graph", "compiled", "compiled_graph"]
ROWS = {  # name: (function, type, methods)
    "version": (version, torch.float64, [""]),
    "potential_f64": (potential, torch.float64, NETWORK),
    "potential_f32": (potential, torch.float32, NETWORK),
    "small_f64": (small, torch.float64, ["eager", "graph", "compiled", "compiled_graph"]),
    "flow_f32": (flow, torch.float32, NETWORK),
    "evaluate_one": (evaluate, torch.float64, ["by_hand", "autograd", "compiled"]),
    "evaluate_many": (evaluate, torch.float64, ["by_hand", "autograd", "compiled"]),
    "finder_same": (finder, torch.float64, ["same"]),
    "finder_graph": (finder, torch.float64, ["graph"]),
    "finder_loop": (finder, torch.float64, ["loop"]),
    "finder_loop_ten": (finder, torch.float64, ["loop_ten"]),
    "finder_published": (finder, torch.float64, ["published"]),
    "finder_published_ten": (finder, torch.float64, ["published_ten"]),
}


def begin(arguments):
    """In the process that does the work: a device would not survive a fork."""
    torch.set_num_threads(arguments.threads)
    if arguments.device == "cuda":
        torch.set_default_device("cuda")


def ask(arguments, method):
    """The answers of a child process that runs one method; empty when it failed."""
    function, dtype, _ = ROWS[arguments.row]
    back, to = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(to, 1)
        try:
            begin(arguments)
            function(arguments, method, dtype)
            sys.stdout.flush()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    os.close(to)
    with os.fdopen(back) as out:
        lines = [line.rstrip().split(" ", 1) for line in out if " " in line]
    status = os.waitpid(child, 0)[1]
    return dict(lines) if status == 0 else {}


def fastest(arguments, methods):
    """Runs every method, and prints the answers of the fastest that agrees with the first."""
    best, notes, memory = None, [], 0.0
    for method in methods:
        if 2.0 * memory > free_memory():  # nested takes half as much again as streams
            notes.append("%s left out for want of memory" % method)
            continue
        answers = ask(arguments, method)
        if "seconds" not in answers:
            notes.append("%s failed" % method)
            continue
        notes.append("%s %.3g s" % (method, float(answers["seconds"])))
        memory = max(memory, float(answers.get("memory", 0.0)))
        key = "loss" if "loss" in answers else "sum"
        if best and abs(float(answers[key]) - float(best[key])) > 1e-4 * abs(float(best[key])):
            notes[-1] += " (another result)"
        elif not best or float(answers["seconds"]) < float(best["seconds"]):
            best = answers
    if not best:
        sys.exit("no method worked")
    best["note"] = ", ".join(notes + ([best["note"]] if "note" in best else []))
    for name, value in best.items():
        print(name, value)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("row", choices=ROWS)
    parser.add_argument("--method")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--data", default=".")
    parser.add_argument("--file", default=None)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--quick", action="store_true", help="torch.compile is not tried")
    arguments = parser.parse_args()
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", os.path.join(arguments.data, "inductor"))
    name = "finder" if arguments.row.startswith("finder_") else arguments.row
    arguments.file = arguments.file or os.path.join(arguments.data, name + ".safetensors")
    function, dtype, methods = ROWS[arguments.row]
    if arguments.quick:
        methods = [m for m in methods if not m.startswith("compiled")]
    if arguments.device == "cpu":
        methods = [m for m in methods if not m.endswith("graph")]
    if arguments.method is None and len(methods) > 1:
        fastest(arguments, methods)
        return
    begin(arguments)
    function(arguments, arguments.method or methods[0], dtype)


if __name__ == "__main__":
    main()
