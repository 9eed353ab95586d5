//! Checkpoints as PyTorch, and what trains with it, write them.

use super::super::{bytes, global, long_text, pickle, state_dict, tar, text, torch, torch_legacy};

/// An object of a class, made as Python makes it: empty, and given its state.
fn object(class: &[u8], state: &[u8]) -> Vec<u8> {
    [class, b")\x81", state, b"b"].concat()
}

/// A dictionary of texts and whatever stands for their values.
fn dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut body = b"}(".to_vec();
    for (key, value) in entries {
        body.extend_from_slice(&long_text(key.as_bytes()));
        body.extend_from_slice(value);
    }
    body.push(b'u');
    body
}

/// What a call of `callee` with these arguments makes.
fn call(callee: &[u8], arguments: &[&[u8]]) -> Vec<u8> {
    [callee, b"(", &arguments.concat(), b"tR"].concat()
}

/// The numbers of a tensor, which lie elsewhere.
fn storage(class: &str) -> Vec<u8> {
    let class = match class.rsplit_once('.') {
        Some((module, name)) => global(module, name),
        None => global("torch", class),
    };
    let texts = |all: &[&str]| all.iter().flat_map(|one| long_text(one.as_bytes())).collect();
    let [kind, place]: [Vec<u8>; 2] = [texts(&["storage"]), texts(&["0", "cpu"])];
    [b"(".as_slice(), &kind, &class, &place, b"K\x04tQ"].concat()
}

fn ordered() -> Vec<u8> {
    [&global("collections", "OrderedDict")[..], b")R"].concat()
}

/// A tensor of four numbers.
fn tensor(class: &str) -> Vec<u8> {
    let rest = [b"K\0K\x04\x85K\x01\x85\x89".as_slice(), &ordered()].concat();
    call(&global("torch._utils", "_rebuild_tensor_v2"), &[&storage(class), &rest])
}

/// What `torch.save` writes of a value.
fn saved(value: &[u8]) -> Vec<u8> {
    torch(&[b"\x80\x02", value, b"."].concat(), 1, 64)
}

/// All of them.
pub fn all() -> Vec<(String, Vec<u8>)> {
    let storages = [
        "BFloat16",
        "Bool",
        "Byte",
        "Char",
        "ComplexDouble",
        "ComplexFloat",
        "Double",
        "Float",
        "Half",
        "Int",
        "Long",
        "Short",
    ];
    let of_kind = |kind: &&str| {
        let weights = dict(&[("weight", tensor(&format!("{kind}Storage")))]);
        (format!("torch {kind}"), saved(&weights))
    };
    let float = || tensor("FloatStorage");
    let rebuilt = |name: &str, arguments: &[&[u8]]| call(&global("torch._utils", name), arguments);
    let sides = b"K\0K\x02K\x02\x86K\x02K\x01\x86\x89".as_slice();
    let hooks = [b"\x89".as_slice(), &ordered()].concat();
    let per_tensor = [
        b"(".as_slice(),
        &global("torch", "per_tensor_affine"),
        b"G\x3f\xb9\x99\x99\x99\x99\x99\x9aK\x00t",
    ]
    .concat();
    let per_channel =
        [b"(".as_slice(), &global("torch", "per_channel_affine"), &float(), &float(), b"K\0t"]
            .concat();
    let float8 = rebuilt(
        "_rebuild_tensor_v3",
        &[
            &storage("torch.storage.UntypedStorage"),
            b"K\0K\x04\x85K\x01\x85\x89",
            &ordered(),
            &global("torch", "float8_e4m3fn"),
            b"}",
        ],
    );
    let parameter = rebuilt("_rebuild_parameter", &[&float(), &hooks]);
    let sparse = [
        b"(".as_slice(),
        &global("torch", "sparse_coo"),
        b"(",
        &tensor("LongStorage"),
        &float(),
        &call(&global("torch", "Size"), &[b"](K\x02K\x02e"]),
        b"tt",
    ]
    .concat();
    let sparse = [global("torch._utils", "_rebuild_sparse_tensor"), sparse, b"R".to_vec()].concat();
    let placement = |name: &str| {
        object(
            &global("torch.distributed.tensor.placement_types", name),
            &dict(&[("dim", b"K\0".to_vec())]),
        )
    };
    let spec = object(
        &global("torch.distributed.tensor._dtensor_spec", "DTensorSpec"),
        &dict(&[("placements", [placement("Shard"), b"\x85".to_vec()].concat())]),
    );
    let sharded = rebuilt(
        "_rebuild_wrapper_subclass",
        &[
            &global("torch.distributed.tensor", "DTensor"),
            &global("torch", "float32"),
            b"K\x04\x85K\x01\x85K\0",
            &global("torch", "strided"),
            &global("torch", "device"),
            b"X\x03\0\0\0cpu\x85R\x89",
        ],
    );
    let sharded =
        [sharded, dict(&[("_spec", spec), ("_local_tensor", float())]), b"b".to_vec()].concat();
    let group = dict(&[
        ("lr", b"G\x3f\x50\x62\x4d\xd2\xf1\xa9\xfc".to_vec()),
        (
            "betas",
            b"G\x3f\xec\xcc\xcc\xcc\xcc\xcc\xcdG\x3f\xef\xf7\xce\xd9\x16\x87\x2b\x86".to_vec(),
        ),
        ("params", b"](K\0K\x01e".to_vec()),
    ]);
    let moments = dict(&[("step", float()), ("exp_avg", float()), ("exp_avg_sq", float())]);
    let optimizer = dict(&[
        ("state", [b"}K\0".as_slice(), &moments, b"s"].concat()),
        ("param_groups", [b"]".as_slice(), &group, b"a"].concat()),
    ]);
    let linear = object(
        &global("torch.nn.modules.linear", "Linear"),
        &dict(&[
            ("training", b"\x89".to_vec()),
            ("_parameters", dict(&[("weight", parameter.clone())])),
            ("_buffers", ordered()),
        ]),
    );
    let module = object(
        &global("torch.nn.modules.container", "Sequential"),
        &dict(&[(
            "_modules",
            dict(&[
                ("0", linear),
                ("1", object(&global("torch.nn.modules.activation", "ReLU"), b"}")),
            ]),
        )]),
    );
    let arguments = object(
        &global("argparse", "Namespace"),
        &dict(&[("arch", text("transformer")), ("lr", b"](G\0\0\0\0\0\0\0\0e".to_vec())]),
    );
    let array = call(
        &global("numpy.core.multiarray", "_reconstruct"),
        &[&global("numpy", "ndarray"), b"K\0\x85", &bytes(b"b")],
    );
    let lightning = dict(&[
        ("epoch", b"K\x03".to_vec()),
        ("state_dict", dict(&[("model.weight", float())])),
        ("optimizer_states", [b"]".as_slice(), &optimizer, b"a"].concat()),
        (
            "callbacks",
            dict(&[("ModelCheckpoint", dict(&[("best_model_path", text("best.ckpt"))]))]),
        ),
        (
            "hyper_parameters",
            object(&global("lightning.fabric.utilities.data", "AttributeDict"), b"}"),
        ),
        ("pytorch-lightning_version", text("2.4.0")),
    ]);
    let random = dict(&[
        ("python", [b"(K\x03".as_slice(), b"(K\x01K\x02tNt"].concat()),
        (
            "numpy",
            [b"(".as_slice(), &text("MT19937"), &array, b"K\x01K\0G\0\0\0\0\0\0\0\0t"].concat(),
        ),
        ("cpu", tensor("ByteStorage")),
        ("cuda", tensor("ByteStorage")),
    ]);
    let settings = object(
        &global("transformers.training_args", "TrainingArguments"),
        &dict(&[
            ("output_dir", text("out")),
            (
                "save_strategy",
                call(&global("transformers.trainer_utils", "SaveStrategy"), &[&text("steps")]),
            ),
            (
                "optim",
                call(
                    &global("transformers.training_args", "OptimizerNames"),
                    &[&text("adamw_torch")],
                ),
            ),
            ("device", call(&global("torch", "device"), &[&text("cuda"), b"K\0"])),
        ]),
    );
    let speed = dict(&[
        ("module", dict(&[("weight", tensor("HalfStorage"))])),
        ("loss_scaler", object(&global("deepspeed.runtime.fp16.loss_scaler", "LossScaler"), b"}")),
        (
            "zero_stage",
            call(&global("deepspeed.runtime.zero.config", "ZeroStageEnum"), &[b"K\x02"]),
        ),
    ]);
    let voice = dict(&[
        (
            "config",
            object(
                &global("TTS.tts.configs.xtts_config", "XttsConfig"),
                &dict(&[(
                    "audio",
                    object(&global("TTS.tts.models.xtts", "XttsAudioConfig"), b"}"),
                )]),
            ),
        ),
        ("model", dict(&[("weight", float())])),
    ]);
    let segments = dict(&[
        ("state_dict", dict(&[("weight", float())])),
        (
            "pyannote.audio",
            dict(&[(
                "specifications",
                object(
                    &global("pyannote.audio.core.task", "Specifications"),
                    &dict(&[(
                        "problem",
                        call(&global("pyannote.audio.core.task", "Problem"), &[b"K\x01"]),
                    )]),
                ),
            )]),
        ),
    ]);
    let metadata =
        [dict(&[("weight", float())]), dict(&[("_metadata", ordered())]), b"b".to_vec()].concat();
    let quantised = |how: &[u8]| {
        rebuilt("_rebuild_qtensor", &[&storage("QInt8Storage"), sides, how, &ordered()])
    };
    let mut files: Vec<(String, Vec<u8>)> = storages.iter().map(of_kind).collect();
    for (name, value) in [
        ("torch float8", dict(&[("weight", float8)])),
        ("torch parameters", dict(&[("weight", parameter)])),
        (
            "torch parameter with state",
            rebuilt("_rebuild_parameter_with_state", &[&float(), &hooks, b"}"]),
        ),
        ("torch quantised", dict(&[("weight", quantised(&per_tensor))])),
        ("torch quantised by channel", dict(&[("weight", quantised(&per_channel))])),
        ("torch sparse", sparse),
        ("torch sharded by DTensor", dict(&[("weight", sharded)])),
        ("torch state with metadata", metadata),
        ("torch optimizer", optimizer),
        (
            "torch averaged weights",
            dict(&[
                ("ema", dict(&[("weight", float())])),
                ("decay", b"G\x3f\xef\xf7\xce\xd9\x16\x87\x2b".to_vec()),
            ]),
        ),
        ("torch whole module", module),
        (
            "torch namespace of fairseq",
            dict(&[("args", arguments), ("model", dict(&[("weight", float())]))]),
        ),
        ("torch arrays of NumPy", dict(&[("mean", array.clone())])),
        (
            "torch scaler",
            dict(&[
                ("scale", b"G\x40\xf0\0\0\0\0\0\0".to_vec()),
                ("growth_interval", b"M\xd0\x07".to_vec()),
            ]),
        ),
        ("torch random states of a trainer", random),
        ("lightning", lightning),
        ("training_args.bin", settings),
        ("deepspeed", speed),
        ("voice", voice),
        ("diarisation", segments),
        ("textual inversion", dict(&[("<style>", float())])),
        (
            "adapter_model.bin",
            dict(&[("base_model.model.q.lora_A.weight", tensor("BFloat16Storage"))]),
        ),
        (
            "scheduler.pt",
            dict(&[
                ("base_lrs", b"](G\0\0\0\0\0\0\0\0e".to_vec()),
                ("_step_count", b"K\x05".to_vec()),
            ]),
        ),
    ] {
        files.push((name.to_owned(), saved(&value)));
    }
    files.push((
        "detectron".to_owned(),
        pickle(&[&dict(&[("model", dict(&[("weight", array)])), ("__author__", text("x"))])]),
    ));
    files.push(("torch shard".to_owned(), torch(&state_dict(40), 40, 512)));
    files.push((
        "torch before containers, parameters".to_owned(),
        torch_legacy(&state_dict(3), 700),
    ));
    files.push((
        "NeMo".to_owned(),
        tar(&[
            ("./model_config.yaml", b"a: 1\n"),
            ("./model_weights.ckpt", &torch(&state_dict(2), 2, 64)),
            ("./tokenizer.model", b"\n\x0b\n\x05<unk>\x15\0\0\0\0"),
        ]),
    ));
    files
}
