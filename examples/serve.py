"""A SavedModel behind HTTP, with the REST interface of TensorFlow Serving: for trials.

    pip install flask
    python examples/serve.py model --name style --port 8501

    POST /v1/models/style:predict   {"signature_name": …, "inputs": {…}}  ->  {"outputs": {…}}
                                    {"instances": [{…}, …]}               ->  {"predictions": […]}
    GET  /v1/models/style           whether it is there
    GET  /v1/models/style/metadata  signatures, inputs and outputs

Bytes are {"b64": "…"} both ways; outputs that are bytes end in `_bytes`. Inputs that have a default
may be left out. One call is worked on at a time, since it takes all cores. Needs TensorFlow and
Flask, nothing else.
"""

from __future__ import annotations

import argparse
import base64
import threading
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from flask import Flask, Response, jsonify, request
from tensorflow.core.protobuf import saved_model_pb2
from werkzeug.exceptions import BadRequest, HTTPException, NotFound

# As of TensorFlow Serving: what a request that names none means.
DEFAULT = "serving_default"


class Model:
    """A SavedModel, loaded."""

    def __init__(self, folder: Path) -> None:
        self.loaded = tf.saved_model.load(str(folder))
        proto = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
        self.definitions = proto.meta_graphs[0].signature_def
        self.lock = threading.Lock()

    def predict(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        """Call a signature with plain data; the outputs as arrays.

        Raises:
            BadRequest: inputs that it does not take, or cannot work with.
        """
        if name not in self.loaded.signatures:
            raise BadRequest(f"signature_name: expected one of {self.names}, got {name!r}")
        definition = self.definitions[name]
        inputs = {}
        for key, default in definition.defaults.items():
            inputs[key] = tf.constant(tf.make_ndarray(default))
        for key, value in given.items():
            if key not in definition.inputs:
                raise BadRequest(
                    f"inputs of {name}: expected {sorted(definition.inputs)}, got {key!r}"
                )
            inputs[key] = _tensor(key, value, definition.inputs[key].dtype)
        missing = sorted(set(definition.inputs) - set(inputs))
        if missing:
            raise BadRequest(f"inputs of {name}: missing {missing}")
        try:
            with self.lock:
                outputs = self.loaded.signatures[name](**inputs)
        except (tf.errors.OpError, ValueError, TypeError) as error:
            raise BadRequest(str(getattr(error, "message", error))) from error
        return {key: value.numpy() for key, value in outputs.items()}

    @property
    def names(self) -> list[str]:
        """Of the signatures."""
        return sorted(self.loaded.signatures)

    def described(self) -> dict[str, Any]:
        """Types and shapes of each signature's inputs and outputs."""

        def tensors(infos: Any) -> dict[str, Any]:
            return {
                key: {
                    "dtype": tf.as_dtype(info.dtype).name,
                    "shape": [side.size for side in info.tensor_shape.dim],
                }
                for key, info in infos.items()
            }

        return {
            name: {
                "inputs": tensors(self.definitions[name].inputs),
                "outputs": tensors(self.definitions[name].outputs),
            }
            for name in self.names
        }


def _tensor(key: str, value: Any, dtype: int) -> tf.Tensor:
    try:
        return tf.constant(_decoded(value), tf.as_dtype(dtype))
    except (ValueError, TypeError) as error:
        raise BadRequest(f"{key}: expected {tf.as_dtype(dtype).name}, {error}") from error


def _decoded(value: Any) -> Any:
    """The same with bytes in place of `{"b64": …}`."""
    if isinstance(value, dict) and set(value) == {"b64"}:
        return base64.b64decode(value["b64"], validate=True)
    return [_decoded(each) for each in value] if isinstance(value, list) else value


def _encoded(value: Any) -> Any:
    """Plain data of an array, or of a part of one."""
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    if isinstance(value, np.ndarray) and value.dtype == object:
        return _encoded(value.item()) if not value.ndim else [_encoded(each) for each in value]
    return value.tolist()


def _rows(outputs: dict[str, Any], count: int) -> list[Any]:
    """The outputs of each instance."""
    if any(value.ndim == 0 or len(value) != count for value in outputs.values()):
        raise BadRequest("instances: an output is not one for each; call with inputs instead")
    rows = [{key: _encoded(value[i]) for key, value in outputs.items()} for i in range(count)]
    return [next(iter(row.values())) if len(row) == 1 else row for row in rows]


def serve(folder: Path, name: str) -> Flask:
    """The application."""
    model, app = Model(folder), Flask(__name__)

    @app.errorhandler(HTTPException)
    def failed(error: HTTPException) -> tuple[Response, int]:
        return jsonify(error=error.description), error.code or 500

    @app.get(f"/v1/models/{name}")
    def status() -> Response:
        return jsonify(model_version_status=[{"version": "1", "state": "AVAILABLE"}])

    @app.get(f"/v1/models/{name}/metadata")
    def metadata() -> Response:
        return jsonify(model_spec={"name": name}, metadata={"signature_def": model.described()})

    @app.post(f"/v1/models/{name}:predict")
    def predict() -> Response:
        asked = request.get_json(force=True)
        if not isinstance(asked, dict) or ("inputs" in asked) == ("instances" in asked):
            raise BadRequest('expected an object with either "inputs" or "instances"')
        signature = asked.get("signature_name", DEFAULT)
        definition = model.definitions[signature] if signature in model.names else None
        only = next(iter(definition.inputs)) if definition and len(definition.inputs) == 1 else None

        def named(given: Any) -> dict[str, Any]:
            """An input without its name is the only one."""
            bare = not isinstance(given, dict) or set(given) == {"b64"}
            if not bare:
                return dict(given)
            if only is None:
                raise BadRequest("expected inputs by name")
            return {only: given}

        if "inputs" in asked:
            outputs = model.predict(signature, named(asked["inputs"]))
            plain = {key: _encoded(value) for key, value in outputs.items()}
            return jsonify(outputs=next(iter(plain.values())) if len(plain) == 1 else plain)
        instances = asked["instances"]
        rows = [named(row) for row in instances] if isinstance(instances, list) else []
        if not rows or any(set(row) != set(rows[0]) for row in rows):
            raise BadRequest("instances: expected one or more, all with the same inputs")
        columns = {key: [row[key] for row in rows] for key in rows[0]}
        return jsonify(predictions=_rows(model.predict(signature, columns), len(rows)))

    @app.route("/v1/models/<other>", methods=["GET"])
    @app.route("/v1/models/<other>:predict", methods=["POST"])
    def unknown(other: str) -> Response:
        raise NotFound(f"expected the model {name}, got {other}")

    return app


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", type=Path, help="folder of the SavedModel")
    parser.add_argument("--name", default="style")
    parser.add_argument("--host", default="127.0.0.1", help="default: this machine alone")
    parser.add_argument("--port", type=int, default=8501)
    options = parser.parse_args()
    if not (options.model / "saved_model.pb").is_file():
        parser.error(f"expected the folder of a SavedModel, got {options.model}")
    serve(options.model, options.name).run(options.host, options.port)


if __name__ == "__main__":
    main()
