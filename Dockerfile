# SPDX-License-Identifier: Apache-2.0
# The node on ROS 2 Jazzy, as docs/install.md installs it on a robot:
#
#   docker build -t pixelrefer .
#   docker run --rm --net host --ipc host --gpus all pixelrefer \
#     ros2 launch pixelrefer pixelrefer.launch.py image:=/camera/image_raw device:=cuda
FROM ros:jazzy

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /ws

# What apt brings. By package.xml alone, so that a change of the sources does not repeat it.
COPY package.xml src/pixelrefer/
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && rosdep update --rosdistro jazzy \
    && rosdep install --from-paths src --ignore-src -y \
    && rm -rf /var/lib/apt/lists/*

# PyTorch and what else has no apt key. TORCH may name a version or a wheel; empty, where the base
# image has a PyTorch of its own, as on a Jetson.
ARG TORCH=torch
RUN python3 -m venv --system-site-packages /venv \
    && python3 -c 'import numpy; print("numpy==" + numpy.__version__)' > /tmp/constraints.txt \
    && /venv/bin/pip install --no-cache-dir --constraint /tmp/constraints.txt \
        ${TORCH} 'transformers>=4.57,<6' huggingface_hub tokenizers safetensors rosbags \
    && rm /tmp/constraints.txt
# The first python3 on the path is the one that runs the node.
ENV VIRTUAL_ENV=/venv PATH=/venv/bin:$PATH

COPY . src/pixelrefer
RUN . /opt/ros/jazzy/setup.bash \
    && colcon build --packages-select pixelrefer --cmake-args -DBUILD_TESTING=OFF \
    && rm -rf build log

# On SIGTERM `ros2 launch` leaves its nodes behind.
STOPSIGNAL SIGINT
ENTRYPOINT ["/bin/bash", "-c", ". /ws/install/setup.bash && exec \"$@\"", "--"]
CMD ["ros2", "launch", "pixelrefer", "pixelrefer.launch.py"]
