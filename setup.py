"""Packaging; the tools' settings are in pyproject.toml."""

from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent
VERSION = next(
    line.split('"')[1]
    for line in (HERE / "neural_style_tf" / "__init__.py").read_text().splitlines()
    if line.startswith("__version__")
)

setup(
    name="neural-style-tf",
    version=VERSION,
    description="Neural style transfer in TensorFlow 2 / Keras: a drop-in, faster neural-style",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    packages=[
        "neural_style_tf",
        "neural_style_tf.audio",
        "neural_style_tf.commands",
        "neural_style_tf.figures",
        "neural_style_tf.serving",
        "neural_style_tf.transform",
        "vgg",
    ],
    package_data={
        "neural_style_tf": ["py.typed"],
        "neural_style_tf.transform": ["nets/*"],
        "vgg": ["py.typed", "compact.npz"],
    },
    install_requires=[
        "tensorflow>=2.16",
        "keras>=3.3.3",  # TensorFlow's own; with earlier ones neither training nor export works
        "numpy>=1.26",
        "scipy>=1.11",
        "imageio>=2.34",
        "pillow>=11",  # imageio's own backend, of an edition that reads all that we do
        "absl-py>=2.1",
    ],
    extras_require={
        "audio": ["soundfile>=0.12", "soxr>=0.3"],
        "plot": ["matplotlib"],
        "serve": ["flask>=3"],
        "tensorboard": ["tensorboard"],
        "export": ["tf2onnx>=1.17"],
        "dev": [
            *(
                "pytest>=8",
                "pytest-xdist>=3.8",
                "ruff>=0.8",
                "mypy>=1.13",
                "matplotlib",
                "tensorboard",
            ),
            *(
                "tf2onnx>=1.17",
                "onnxruntime",
                "ai-edge-litert",
                "flask>=3",
                "soundfile>=0.12",
                "soxr>=0.3",
            ),
        ],
    },
    entry_points={"console_scripts": ["neural-style-tf = neural_style_tf.__main__:console"]},
)
