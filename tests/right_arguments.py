"""For each public name of the package: arguments that are right, or why none are tried."""

import torch
from matplotlib.figure import Figure

import vit_teach as vt
from vit_teach.experiments import Experiment
from vit_teach.experiments.lab.cells import Cell
from vit_teach.train.config import TrainConfig

NO_FILE = "no-such-file"
NANO = vt.zoo.preset("CIFAR-ViT-Nano")
HYBRID = vt.zoo.preset("CIFAR-Hybrid-Nano")
RESNET = vt.zoo.preset("CIFAR-ResNet-Nano")
PAPER = vt.baselines.PaperHybridConfig(
    image_size=32, patch_size=8, units=(1, 1), embed_dim=16, depth=1, num_heads=2, num_classes=3
)
MODEL = vt.zoo.build(NANO).eval()
TRAINED = vt.zoo.build(NANO)  # one that a training may change
SMALL = vt.VisionTransformer(
    vt.ViTConfig(image_size=8, patch_size=4, embed_dim=8, depth=1, num_heads=2, num_classes=3)
)
STATE = MODEL.state_dict()
IMAGES = vt.data.shapes(20, seed=0)
CARD = vt.results.recorded("train")[0]
CARDS = [CARD]
SHORT = TrainConfig(steps=1, batch_size=4, threads=1, evaluations=1, precision="float32")
CELL = Cell({"model": "vit"}, "CIFAR-ViT-Nano", SHORT)
DEMO = Experiment("demo", "Does it run?", lambda quick: [])

PICTURE = torch.rand(3, 8, 8)
PIXELS = torch.zeros(3, 8, 8, dtype=torch.uint8)
BATCH = torch.rand(2, 3, 8, 8)
NORMAL = torch.rand(1, 3, 32, 32)
LABELS = torch.tensor([0, 1])
ROWS = torch.rand(5, 4)
EVEN = torch.full((5, 5), 0.2)
DRAW = torch.Generator()
MEAN_ROW = {"model": "vit", "images": 500, "mean": 0.4, "std": None, "n": 1, "seeds": [0]}
CURVE = {"step": [1], "epoch": [1.0], "train_accuracy": [0.3], "val_accuracy": [0.2]}
RUN = {
    "cell": "a", "curves": {name: [0.5] for name in (
        "step epoch seconds learning_rate train_accuracy val_accuracy train_loss val_loss"
    ).split()},
}  # fmt: skip
WINDOWS = {"linear": (4, 4, 0), "conv": (9, 4, -4)}
VECTORS = [[1.0, 0.0], [0.0, 1.0]]


def blur(images):
    return torch.nn.functional.avg_pool2d(images, 2)


MODELS = {
    "vit.patchify": {"images": BATCH, "patch_size": 4, "order": "cpp"},
    "vit.unpatchify": {"patches": torch.rand(2, 4, 48), "patch_size": 4, "image_size": 8,
                       "channels": 3, "order": "cpp"},
    "vit.sincos_1d": {"length": 6, "dim": 8},
    "vit.sincos_2d": {"grid": (2, 3), "dim": 8},
    "vit.resize_positions": {"table": torch.rand(1, 5, 4), "old_grid": 2, "new_grid": (3, 4),
                             "rule": "google", "prefix_tokens": 1},
    "vit.attention_weights": {"q": ROWS, "k": ROWS},
    "vit.attend": {"q": ROWS, "k": ROWS, "v": ROWS},
    "vit.rotary_angles": {"grid": (2, 3), "head_dim": 8, "base": 100.0},
    "vit.rotate": {"x": torch.rand(2, 6, 4), "angles": torch.rand(6, 2)},
    "vit.Rotary": {"grid": (2, 3), "head_dim": 8, "prefix_tokens": 1},
    "vit.RelativeBias": {"grid": (2, 3), "num_heads": 2, "prefix_tokens": 1},
    "vit.init_linear": {"module": torch.nn.Linear(2, 2), "scheme": "normal"},
    "vit.PatchEmbedding": {"image_size": 8, "patch_size": 4, "in_channels": 3, "embed_dim": 4},
    "vit.MultiHeadAttention": {"dim": 4, "num_heads": 2, "qkv_bias": True, "dropout": 0.1,
                               "fused": None},
    "vit.Mlp": {"dim": 4, "hidden_dim": 8, "dropout": 0.1},
    "vit.EncoderBlock": {"dim": 4, "num_heads": 2, "mlp_dim": 8, "dropout": 0.1},
    "vit.ViTConfig": vars(NANO),
    "vit.VisionTransformer": {"config": NANO},
    "baselines.HybridConfig": vars(HYBRID),
    "baselines.PaperHybridConfig": vars(PAPER),
    "baselines.ResNetConfig": vars(RESNET),
    "baselines.ConvStem": {"config": HYBRID},
    "baselines.Hybrid": {"config": HYBRID},
    "baselines.PaperHybrid": {"config": PAPER},
    "baselines.ResNet": {"config": RESNET},
    "baselines.BasicBlock": {"in_channels": 4, "out_channels": 8, "stride": 2},
    "zoo.preset": {"name": "CIFAR-ViT-Nano"},
    "zoo.config_from_dict": {"values": vt.zoo.config_to_dict(NANO)},
    "zoo.config_to_dict": {"config": NANO},
    "zoo.kind": {"config": NANO},
    "zoo.build": {"config": NANO},
    "cost.breakdown": {"config": NANO},
    "cost.parameters": {"config": RESNET},
    "cost.macs": {"config": HYBRID},
    "cost.training_flops": {"config": NANO, "images": 1000},
    "cost.exaflops": {"config": NANO, "epochs": 7, "images": 1000},
    "cost.attention_share": {"config": NANO},
    "cost.grouped": {"rows": vt.cost.breakdown(NANO), "quantity": "params"},
    "cost.samples": {"function": dict, "at_least": 0},
    "cost.seconds": {"function": dict, "at_least": 0},
}  # fmt: skip

PICTURES = {
    "augment.Augment": {"policy": "basic", "seed": 0},
    "augment.affine": {"images": BATCH, "rotate": 10.0, "shear_x": 0.1, "shear_y": 0.1,
                       "right": 1.0, "down": 1.0, "scale": 1.1, "fill": 0.5},
    "augment.autocontrast": {"images": BATCH},
    "augment.brightness": {"images": BATCH, "factor": 1.5},
    "augment.contrast": {"images": BATCH, "factor": 1.5},
    "augment.saturation": {"images": BATCH, "factor": 1.5},
    "augment.sharpness": {"images": BATCH, "factor": 1.5},
    "augment.solarize": {"images": BATCH, "threshold": 0.5},
    "augment.posterize": {"images": BATCH, "bits": 2},
    "augment.equalize": {"images": BATCH},
    "augment.random_colour": {"images": BATCH, "generator": DRAW, "strength": 0.3},
    "augment.crop": {"images": BATCH, "top": LABELS, "left": LABELS, "size": (4, 4)},
    "augment.random_crop": {"images": BATCH, "padding": 2, "generator": DRAW},
    "augment.flip": {"images": BATCH, "mask": LABELS.bool()},
    "augment.random_flip": {"images": BATCH, "generator": DRAW, "probability": 0.5},
    "augment.cutout": {"images": BATCH, "size": 2, "generator": DRAW, "fill": 0.0},
    "augment.random_affine": {"images": BATCH, "generator": DRAW, "degrees": 10.0, "shear": 0.1,
                              "shift": 0.05, "scale": 0.1},
    "augment.rectangles": {"top": LABELS, "left": LABELS, "bottom": LABELS + 2,
                           "right": LABELS + 2, "size": (4, 4)},
    "augment.one_hot": {"labels": LABELS, "num_classes": 3},
    "augment.mixup": {"images": BATCH, "targets": torch.eye(2), "alpha": 1.0, "generator": DRAW},
    "augment.cutmix": {"images": BATCH, "targets": torch.eye(2), "alpha": 1.0, "generator": DRAW},
    "augment.rand_augment": {"images": BATCH, "num_ops": 2, "magnitude": 5, "generator": DRAW},
    "data.load": {"name": "cifar10", "split": "test", "root": NO_FILE},
    "data.find": {"name": "cifar10", "root": NO_FILE},
    "data.folder": {"path": NO_FILE, "size": 8},
    "data.load_or_shapes": {"name": "cifar100", "split": "test"},
    "data.load_or_digits": {"name": "cifar100", "split": "test"},
    "data.digits": {"split": "test"},
    "data.stand_in": {"split": "test"},
    "data.normalise": {"images": IMAGES.images, "mean": vt.data.MEAN, "std": vt.data.STD},
    "data.photograph": {"size": 16},
    "data.shapes": {"n": 4, "seed": 0, "split": "train", "image_size": 16, "corner": None,
                    "kind": "shape", "colour_hint": 0.0},
    "data.ImageSet": {"images": IMAGES.images, "labels": IMAGES.labels, "classes": IMAGES.classes,
                      "source": "x", "split": "train"},
}  # fmt: skip

FILES = {
    "weights.load": {"source": NO_FILE, "num_classes": None, "image_size": None, "num_heads": None,
                     "rule": "google", "pool": None, "trained_size": None, "in_channels": None,
                     "key": None, "architecture": None},
    "weights.read_metadata": {"path": NO_FILE},
    "weights.recorded": {"name": "cifar-vit-20min"},
    "weights.load_strict": {"model": MODEL, "state": STATE, "source": "state"},
    "weights.adapt": {"state": STATE, "config": NANO, "num_classes": 3, "image_size": 64,
                      "rule": "google", "in_channels": 1},
    "weights.from_timm": {"state": STATE},
    "weights.from_torchvision": {"state": {}},
    "weights.from_huggingface": {"state": {}},
    "weights.from_google": {"arrays": vt.weights.to_google(SMALL), "head": True},
    "weights.to_timm": {"model": MODEL},
    "weights.to_google": {"model": STATE, "num_heads": 4},
    "weights.save": {"model": None, "path": NO_FILE, "half": True},
    "weights.remember": {"model": TRAINED, "normalisation": ((0.5,) * 3, (0.2,) * 3),
                         "classes": list("abcdefghij"), "preset": "tiny"},
    "weights.normalisation_of": {"model": MODEL},
    "weights.classes_of": {"model": MODEL},
    "results.read_card": {"path": NO_FILE},
    "results.read_cards": {"folder": NO_FILE, "experiment": None},
    "results.read_named_card": {"path": NO_FILE, "experiment": "train", "cell": "x"},
    "results.recorded": {"experiment": "train"},
    "results.validate": {"card": CARD},
    "results.write_card": {"card": {}, "path": NO_FILE},
    "results.new_card": {name: CARD[name] for name in (
        "experiment", "cell", "seed", "selection", "config", "data", "train", "cost", "metrics",
        "curves", "status")},
    "results.data_entry": {"image_set": IMAGES},
    "results.portable_command": {"module": "vit_teach.train", "arguments": ["--seed", "0"]},
    "results.labelled": {"card": CARD},
    "results.percent": {"row": MEAN_ROW},
    "results.summarise": {"cards": CARDS, "by": ("cell",), "metric": "val_accuracy"},
    "results.Table": {"heading": "model", "columns": ["a", "b"], "rows": [("vit", ["1", "2"])],
                      "caption": "Tokens"},
    "results.result_table": {"rows": [MEAN_ROW], "row": "model", "column": "images",
                             "caption": "Accuracy", "missing": "none"},
    "results.result_rows_table": {"rows": [MEAN_ROW], "labels": ["model", "images"],
                                  "caption": "Accuracy"},
}  # fmt: skip

TRAINING = {
    "train.TrainConfig": {**vars(TrainConfig(steps=2)), "epochs": None, "minutes": None},
    "train.batch_indices": {"step": 1, "batch_size": 4, "length": 10, "seed": 0},
    "train.evaluate": {"model": MODEL, "image_set": IMAGES, "batch_size": 10,
                       "precision": "float32"},
    "train.pick_device": {"name": "cpu"},
    "train.pick_precision": {"name": "float32", "device": torch.device("cpu")},
    "train.schedule": {"step": 1, "steps": 10, "warmup": 2, "shape": "cosine"},
    "train.split_parameters": {"model": MODEL},
    "train.make_optimizers": {"model": MODEL, "name": "muon", "learning_rate": 0.01,
                              "weight_decay": 0.1},
    "train.Muon": {"weights": [torch.nn.Parameter(torch.rand(2, 3))], "lr": 0.1,
                   "weight_decay": 0.1},
    "train.FilterMuon": {"weights": [torch.nn.Parameter(torch.rand(2, 3, 3, 3))], "lr": 0.1,
                         "weight_decay": 0.1},
    "train.Trainer": {"model": TRAINED, "train_set": IMAGES, "validation_set": IMAGES,
                      "config": SHORT},
    "train.train": {"model": TRAINED, "train_set": IMAGES, "validation_set": IMAGES,
                    "config": SHORT, "folder": None, "quiet": True},
    "experiments.Cell": vars(CELL),
    "experiments.Experiment": vars(DEMO),
    "experiments.Permuted": {"model": torch.nn.Identity(), "kind": "patches",
                             "image_size": (8, 8), "patch_size": 4, "seed": 0},
    "experiments.cell": {
        "model": "vit", "images": 12800, "models": vt.experiments.MODELS, "labels": {"a": 1},
        "seed": 0, "n": 500, "data": "cifar10", "permutation": "none", "init": "normal",
        "test": None, "tuned": True, "changes": None, "classes": None, "start": None,
        "rule": "google", "rate_factor": 1.0, "augment": "none",
    },
    "experiments.find": {"name": "shuffle"},
    "experiments.heads": {"card": {"curves": {"head": [1, 2], "distance": [4.0, 5.0]}},
                          "column": "distance"},
    "experiments.load_sets": {"cell": CELL},
    "experiments.of_classes": {"images": IMAGES, "labels": (1, 3)},
    "experiments.quick": {"name": "no such experiment", "folder": None},
    "experiments.report": {"experiment": DEMO, "quick": False, "folder": NO_FILE},
    "experiments.rows": {"cards": [], "metrics": None},
    "experiments.run_cell": {"experiment": DEMO, "cell": CELL, "work": None, "quiet": True,
                             "recorded": None},
    "experiments.run_here": {"experiment": DEMO, "folder": None},
    "experiments.so_far": {"name": "shuffle", "folder": NO_FILE},
}  # fmt: skip

GRID = {"weights": EVEN, "grid": (2, 2), "patch_size": 4}
PROBES = {
    "probe.attention_distance": GRID,
    "probe.query_distances": GRID,
    "probe.patches_only": {"weights": EVEN, "grid": (2, 2)},
    "probe.offset_map": {"weights": EVEN, "grid": (2, 2)},
    "probe.patch_distances": {"grid": (2, 2), "patch_size": 4},
    "probe.uniform_distance": {"grid": (2, 2), "patch_size": 4},
    "probe.collect": {"model": MODEL, "images": NORMAL},
    "probe.distances": {"model": MODEL, "images": NORMAL, "batch_size": 2},
    "probe.token_norms": {"model": MODEL, "images": NORMAL},
    "probe.outlier_tokens": {"norms": ROWS, "k": 10.0},
    "probe.entropy": {"weights": EVEN},
    "probe.reader": {"config": NANO},
    "probe.readout_map": {"weights": torch.rand(16, 16), "config": NANO},
    "probe.rollout": {"weights": torch.rand(2, 4, 5, 5), "residual": True},
    "probe.fit_picture": {"source": IMAGES.images[0], "config": NANO},
    "probe.examine": {"model": MODEL, "pictures": IMAGES.images[0], "mean": None, "std": None},
    "probe.untrained_twin": {"model": MODEL, "seed": 0},
    "probe.with_controls": {"name": "cifar-vit-20min", "shuffled": "cifar-vit-20min"},
    "probe.position_table": {"model": MODEL},
    "probe.colour_filters": {"model": MODEL},
    "probe.cosine_similarity": {"table": ROWS},
    "probe.principal_filters": {"weight": BATCH},
    "probe.tiles": {"values": torch.rand(6, 6), "grid": (2, 3)},
    "probe.receptive_field": {"layers": [(3, 1, 1), (3, 2, 1)]},
    "probe.gradient_energy": {"function": blur, "images": BATCH, "row": 2, "column": 1, "seed": 0},
    "probe.pixel_distance": {"image_size": (8, 8), "centre": (3, 3.5)},
    "probe.mean_distance": {"energy": ROWS, "centre": (0, 1)},
    "probe.feature_maps": {"model": MODEL, "images": NORMAL},
    "probe.last_map": {"model": MODEL, "images": NORMAL},
    "probe.shifted": {"x": BATCH, "down": 1, "right": 0.5},
    "probe.equivariance_error": {"function": blur, "images": BATCH, "down": 2, "right": 2},
    "probe.invariance_error": {"function": torch.nn.Flatten(), "images": BATCH, "down": 2,
                               "right": 2},
}  # fmt: skip

SPEED = {"name": "this book", "value": 0.6, "spread": 0.1}
PLOTS = {
    "plots.accuracy_against_compute": {"families": {"ViT": [(55, 80.7, "B/32")]},
                                       "xlabel": "exaFLOPs", "ylabel": "%", "lines": True,
                                       "width": 7.2},
    "plots.accuracy_bars": {"groups": {"vit": {"plain": 0.4, "cut": 0.3}}, "chance": 0.1},
    "plots.attention_cost": {"names": {64: "small", 256: "large", 1024: "far"},
                             "seconds": {64: 0.1, 256: 1.6}, "reach": 1024},
    "plots.attention_on_image": {"image": PICTURE, "weights": torch.eye(4), "patch_size": 4,
                                 "queries": [(1, 1)]},
    "plots.augmentation_grid": {"originals": BATCH, "altered": torch.rand(2, 2, 3, 8, 8),
                                "names": ("a", "b")},
    "plots.by_depth": {"panels": {"length": {"pre": [1.0, 2.0]}}, "xlabel": "block"},
    "plots.cell_maps": {"rows": {"CNN": {"layer 1": ROWS}}, "log": False, "label": "",
                        "outline": (0, 0, 1, 1), "width": 7.2},
    "plots.confusion_matrix": {"counts": torch.tensor([[8, 2], [1, 9]]), "classes": ("a", "b")},
    "plots.cosine_similarity": {"table": ROWS},
    "plots.cost_beside_formula": {"panels": {"tokens": [
        {"value": n, "facts": {"size": n, "macs": n, "kept_bytes": n}} for n in (1, 2)]}},
    "plots.cost_share": {"dim": 768, "marks": {197: "224 px"}, "mlp_ratio": 4.0},
    "plots.cut_image": {"image": PICTURE, "patch_size": 4, "gap": None, "numbers": True,
                        "inches": 4.0},
    "plots.distance_by_block": {"distances": {"trained": ROWS}, "uniform": 0.5, "ylabel": "far"},
    "plots.distance_shares": {"panels": {"small": {"trained": ROWS}}},
    "plots.figure": {"width": 7.2, "height": 3.6, "rows": 1, "columns": 1},
    "plots.filter_bank": {"banks": {"a": torch.rand(4, 3, 2, 2)}, "count": 4},
    "plots.filter_shares": {"banks": {"a": torch.rand(4, 3, 2, 2)}, "count": 4},
    "plots.flatten_orders": {"height": 2, "width": 2},
    "plots.image_row": {"images": [PICTURE], "titles": ["one"], "height": 2.4},
    "plots.learning_curves": {"runs": {"a run": CURVE}, "chance": 0.1},
    "plots.matrices": {"parts": {"q": torch.eye(3)}, "names": ["a", "b", "c"], "columns": 3},
    "plots.measured_growth": {"lengths": [1, 2], "samples": {"MLP": [[0.1, 0.2], [0.3]]},
                              "formulas": {"MLP": [5, 10]}},
    "plots.mistakes": {"images": BATCH, "titles": ["a", "b"], "per_row": 3},
    "plots.mixing_matrices": {"matrices": {"identity": torch.eye(4)}},
    "plots.offset_similarity": {"one": torch.rand(4, 8), "two": torch.rand(4, 8), "grid": (2, 2)},
    "plots.packing": {"dim": 12, "num_heads": 3},
    "plots.paper_pairs": {"pairs": [("B/16", 84.15, 224, 85.58, 274)]},
    "plots.patch_sequence": {"patches": torch.rand(4, 48), "patch_size": 4, "channels": 3,
                             "columns": 3},
    "plots.picture_and_maps": {"image": PICTURE, "maps": {"rollout": torch.rand(2, 2)},
                               "per_row": 4},
    "plots.plotly_figure": {"alt": "Tokens", "height": 400},
    "plots.principal_filters": {"weight": torch.rand(4, 3, 2, 2)},
    "plots.reach_by_depth": {"distances": {"ViT": [("embedding", 1.5), ("block", 4.0)]},
                             "uniform": 12.3, "ylabel": "far"},
    "plots.receptive_fields": {"maps": {"a": torch.eye(20)}, "windows": {"a": (6, 6, 9)},
                               "patch": (8, 8, 4), "margin": 7},
    "plots.recorded_curves": {"cards": [RUN]},
    "plots.resized_slice": {"table": torch.rand(1, 6, 8), "old_grid": (2, 3), "new_grid": (4, 5),
                            "column": 0, "prefix_tokens": 0},
    "plots.result_bars": {"rows": [MEAN_ROW], "x": "images", "by": "model", "xlabel": "",
                          "width": 7.2},
    "plots.result_lines": {"rows": [MEAN_ROW], "x": "images", "by": "model", "style": None,
                           "xlabel": "", "log": True, "width": 7.2, "ylabel": "%"},
    "plots.roadmap": {"image": torch.rand(3, 12, 12), "patch_size": 4},
    "plots.run_explorer": {"cards": [RUN]},
    "plots.schedule_curve": {"fractions": [0.5, 1.0, 0.6], "warmup": 2},
    "plots.score_scale": {"widths": [2], "plain": [(0.5, 0.2)], "divided": [(0.3, 0.2)]},
    "plots.shape_walk": {"image": PICTURE, "out": {"norm": torch.rand(1, 5, 12)},
                         "names": ["norm"]},
    "plots.shift_errors": {"panels": {"map": {"ViT": [0.0, 0.6]}}, "cell": 2, "ylabel": ""},
    "plots.show_pixels": {"axes": Figure().subplots(), "image": PICTURE, "title": ""},
    "plots.similarity_tiles": {"tables": {"a": torch.rand(4, 8)}, "grid": (2, 2)},
    "plots.singular_values": {"before": [3.0, 0.1], "after": [1.1, 0.9]},
    "plots.sliding_filter": {"image": PICTURE, "dense": torch.rand(5, 5), "patch_size": 4},
    "plots.small_run": {"losses": [2.0, 1.0], "chance": 2.08},
    "plots.speed_bars": {"panels": {"as used": [SPEED]}, "xlabel": "images a second"},
    "plots.stem_walk": {"image": PICTURE, "maps": {"first": torch.rand(4, 4, 4)}, "channels": 2},
    "plots.styled": {"function": len},
    "plots.table_image": {"table": ROWS, "title": ""},
    "plots.timings": {"lengths": [64, 128], "times": {"MLP": [0.001, 0.002]}},
    "plots.weight_paths": {"steps": [2.0, -1.0], "running_average": [2.0, 1.0]},
    "plots.where_it_looks": {"weights": torch.eye(4), "grid": (2, 2), "queries": [(0, 1)]},
    "plots.where_it_sits": {"models": {"ViT": vt.cost.breakdown(NANO)}},
    "plots.window_explorer": {"windows": WINDOWS, "pixels": 16},
}  # fmt: skip

WIDGETS = {
    "widgets.AttentionByHand": {"q": VECTORS, "k": VECTORS, "v": VECTORS, "names": ["a", "b"],
                                "factor": 1.0, "chosen": 0},
    "widgets.AttentionExplorer": {"weights": torch.full((2, 3, 4, 4), 0.25), "picture": PIXELS,
                                  "patch_size": 4, "query": None},
    "widgets.GridExplorer": {"cards": CARDS, "metric": None, "x": None},
    "widgets.PatchExplorer": {"images": {"black": PIXELS}, "patch_size": 4, "selected": None},
    "widgets.PositionExplorer": {"tables": {"a": torch.rand(4, 8)}, "grid": (2, 2), "rows": None,
                                 "row": None, "column": None},
    "widgets.ProjectionExplorer": {"images": {"black": PIXELS},
                                   "projections": {"a": vt.PatchEmbedding(8, 4, 3, 4)},
                                   "row": None, "column": None, "stride": None},
    "widgets.ShapeTracer": {"preset": "ViT-B/16", "selected": "", "image_size": 224},
    "widgets.TrainingLab": {"dataset": "digits", "preset": "CIFAR-ViT-Nano",
                            "learning_rate": 3e-3, "augment": "none", "seconds": 20},
    "widgets.XRay": {"name": "cifar-vit-20min"},
}  # fmt: skip

CHECKS = {
    f"check.{name}": {"answer": None, "seed": 0}
    for name in vt.check.__all__ if name not in ("NoAnswer", "Wrong", "answered")
}  # fmt: skip

CALLS = {
    **MODELS, **PICTURES, **FILES, **TRAINING, **PROBES, **PLOTS, **WIDGETS, **CHECKS
}  # fmt: skip

NOT_TRIED = {
    "check.Wrong": "an exception takes any words",
    "check.NoAnswer": "an exception takes any words",
    "check.answered": "takes anything: what is no stub counts as an answer",
    "data.DataError": "an exception takes any words",
    "probe.Findings": "a record that `examine` fills in",
    "train.History": "a record that `train` fills in",
    "widgets.BookWidget": "the base class: it shows nothing by itself",
}
