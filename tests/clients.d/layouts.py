"""Writes files of models with the libraries that people write them with, as small as they come: `layouts.py FOLDER`.

Where a file is the same each time, it is committed in `tests/fixtures/layouts`, too. Nothing here names a server.
"""

import collections
import datetime
import gzip
import pathlib
import pickle
import sys
import warnings

import joblib
import numpy as np

warnings.filterwarnings("ignore")
CHANCE = np.random.RandomState(0)
ROWS = CHANCE.rand(24, 3)
LABELS = np.arange(24) % 2
NAMES = np.array(["no", "yes"], dtype=object)[LABELS]


def numpy_files(place):
    for name in ("float16", "float32", "float64", "int8", "int64", "uint8", "bool", "complex64", "datetime64[s]", "U3", "S3"):
        np.save(place / f"numpy {name.replace('[s]', '')}.npy", np.zeros(5, dtype=name), allow_pickle=False)
    np.save(place / "numpy fortran.npy", np.asfortranarray(np.ones((3, 2))))
    np.save(place / "numpy fields.npy", np.zeros(2, dtype=[("weight", "<f4"), ("count", "<i8")]))
    np.save(place / "numpy long header.npy", np.zeros(1, dtype=[(f"field_{index}", "<f4") for index in range(4000)]))
    np.save(place / "numpy letters.npy", np.zeros(1, dtype=[("größe", "<f4")]))
    np.savez(place / "numpy.npz", mean=np.zeros(3), deviation=np.ones(3))
    np.savez_compressed(place / "numpy compressed.npz", mean=np.zeros(30), deviation=np.ones(30))


def pickles(place):
    weights = {"weight": np.ones((2, 2), dtype=np.float32), "bias": np.zeros(2)}
    for protocol in range(6):
        (place / f"pickle {protocol}.pkl").write_bytes(pickle.dumps(weights, protocol))
    words = {f"word{index}": index for index in range(300)}
    (place / "vocabulary.pkl").write_bytes(pickle.dumps(words))
    with gzip.open(place / "vocabulary.pkl.gz", "wb") as file:
        pickle.dump(words, file)
    kinds = [
        datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc), {1}, frozenset([2]), collections.Counter("aab"), collections.deque([1]),
        collections.defaultdict(list, a=[1]), collections.OrderedDict(a=1), 1j, bytearray(b"x"), range(3), slice(1, 2), pathlib.PurePosixPath("a"),
        10**30, -1, 1.5, None, True, b"bytes", "text", np.float64(1), np.random.RandomState(1), np.random.default_rng(1), np.ma.array([1, 2]),
    ]
    (place / "kinds.pkl").write_bytes(pickle.dumps(kinds))


def arrays(place):
    many = {
        "numbers": np.arange(7.0),
        "objects": np.array(["a", None, 3, "a"], dtype=object),
        "fortran": np.asfortranarray(CHANCE.rand(3, 2)),
        "fields": np.zeros(2, dtype=np.dtype([("a", "<i4"), ("b", "<f8")], align=True)),
        "texts": np.array(["abc", "de"]),
        "bytes": np.array([b"N" * 40]),
        "dates": np.array(["2026-01-01"], dtype="M8[D]"),
        "nothing": np.zeros((0, 3)),
        "one": np.array(5.0),
        "dtype": np.dtype("f8"),
    }
    joblib.dump(many, place / "arrays.joblib")
    for protocol in (2, 3, 4, 5):
        joblib.dump(many, place / f"arrays {protocol}.joblib", protocol=protocol)
    joblib.dump(many, place / "arrays zlib.joblib", compress=3)
    joblib.dump(many, place / "arrays gzip.joblib", compress=("gzip", 3))
    joblib.dump(np.arange(40, dtype=np.uint8).reshape(8, 5), place / "array.joblib")


def estimators():
    from sklearn.cluster import KMeans
    from sklearn.compose import ColumnTransformer
    from sklearn.decomposition import NMF, PCA
    from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingRegressor, IsolationForest, RandomForestClassifier
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, WhiteKernel
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDClassifier
    from sklearn.model_selection import GridSearchCV
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import LabelEncoder, OneHotEncoder, StandardScaler
    from sklearn.svm import SVC
    from sklearn.tree import DecisionTreeClassifier

    table = np.array([[1.0, "u"], [2.0, "v"], [3.0, "u"], [4.0, "w"]], dtype=object)
    columns = ColumnTransformer([("number", SimpleImputer(), [0]), ("kind", OneHotEncoder(), [1])])
    yield "linear", LinearRegression().fit(ROWS, ROWS[:, 0])
    yield "logistic", LogisticRegression().fit(ROWS, NAMES)
    yield "ridge", Ridge().fit(ROWS, ROWS[:, 0])
    yield "sgd", SGDClassifier().fit(ROWS, LABELS)
    yield "pipeline", make_pipeline(StandardScaler(), PCA(2), LogisticRegression()).fit(ROWS, LABELS)
    yield "columns", make_pipeline(columns, DecisionTreeClassifier()).fit(table, [0, 1, 0, 1])
    yield "forest", RandomForestClassifier(3, max_depth=2, random_state=0).fit(ROWS, NAMES)
    yield "boosting", GradientBoostingClassifier(n_estimators=2, max_depth=2, random_state=0).fit(ROWS, LABELS)
    yield "histograms", HistGradientBoostingRegressor(max_iter=2, random_state=0).fit(ROWS, ROWS[:, 0])
    yield "isolation", IsolationForest(n_estimators=3, max_samples=8, random_state=0).fit(ROWS)
    yield "means", KMeans(2, n_init=1, random_state=0).fit(ROWS)
    yield "parts", NMF(2, max_iter=500).fit(ROWS)
    yield "vectors", SVC().fit(ROWS, LABELS)
    yield "bayes", GaussianNB().fit(ROWS, NAMES)
    yield "neighbours", KNeighborsClassifier(algorithm="kd_tree").fit(ROWS, LABELS)
    yield "network", MLPClassifier((4,), max_iter=5, random_state=0).fit(ROWS, LABELS)
    yield "words", make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(["a model", "a file", "the model"], [0, 1, 0])
    yield "search", GridSearchCV(Ridge(), {"alpha": [1.0, 2.0]}, cv=2).fit(ROWS, ROWS[:, 0])
    yield "process", GaussianProcessRegressor(RBF() + WhiteKernel()).fit(ROWS, ROWS[:, 0])
    yield "labels", LabelEncoder().fit(NAMES)


def sklearn_files(place):
    for name, model in estimators():
        joblib.dump(model, place / f"sklearn {name}.joblib")
        (place / f"sklearn {name}.pkl").write_bytes(pickle.dumps(model))
    joblib.dump(model, place / "sklearn zlib.joblib", compress=True)


def tables(place):
    import pandas

    table = pandas.DataFrame({
        "number": [1, 2], "text": ["x", "y"], "float": [1.5, None], "kind": pandas.Categorical(["u", "v"]),
        "day": pandas.to_datetime(["2020-01-01", "2021-01-01"]), "whole": pandas.array([1, None], dtype="Int64"),
    })
    table.to_pickle(place / "pandas.pkl")
    table.to_pickle(place / "pandas.pkl.gz")
    table["number"].to_pickle(place / "pandas series.pkl")


def tensors(place):
    import gguf
    import h5py
    import lightgbm
    import onnx
    from safetensors.numpy import save_file

    kinds = ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"]
    save_file({kind: np.zeros((2, 3), dtype=kind) for kind in kinds}, place / "kinds.safetensors", {"format": "np", "note": "all kinds"})
    save_file({}, place / "nothing.safetensors")
    writer = gguf.GGUFWriter(place / "kinds.gguf", "llama")
    writer.add_name("kinds")
    writer.add_token_list(["<s>", "</s>", "a"])
    writer.add_token_scores([0.0, 0.0, -1.0])
    writer.add_chat_template("{% for message in messages %}{{ message['content'] }}{% endfor %}")
    for kind in ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "F16", "BF16", "TQ1_0", "TQ2_0"):
        encoding = gguf.GGMLQuantizationType[kind]
        rows = gguf.quants.quantize(np.ones((2, 256), dtype=np.float32), encoding)
        writer.add_tensor(f"blk.{kind}.weight", rows, raw_dtype=encoding)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with h5py.File(place / "keras.h5", "w") as file:
        file.attrs["keras_version"] = "2.15.0"
        file.create_dataset("model_weights/dense/kernel:0", data=np.zeros((3, 2)))
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])], "graph",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])], [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])],
    )
    onnx.save(onnx.helper.make_model(graph), place / "model.onnx")
    data = lightgbm.Dataset(ROWS, LABELS)
    lightgbm.train({"verbose": -1, "min_data_in_leaf": 1, "num_leaves": 3}, data, 2).save_model(place / "lightgbm.txt")


def main():
    place = pathlib.Path(sys.argv[1])
    place.mkdir(parents=True, exist_ok=True)
    for write in (numpy_files, pickles, arrays, sklearn_files, tables, tensors):
        write(place)


if __name__ == "__main__":
    main()
