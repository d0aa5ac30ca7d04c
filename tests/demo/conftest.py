# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the demo's tests: real processes on a ROS domain of their own."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest


@pytest.fixture(scope='session')
def domain() -> Iterator[int]:
    """A domain that no other run on this machine uses."""
    from pixelrefer_ros.demo.processes import own_domain
    with own_domain() as number:
        yield number


@pytest.fixture
def ros(domain: int) -> Iterator[object]:
    """A context of this process on the run's own domain, and a node in it that is being spun."""
    rclpy = pytest.importorskip('rclpy')
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    node = rclpy.create_node('listener', context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)

    def spin() -> None:
        try:
            executor.spin()
        except ExternalShutdownException:
            return

    thread = threading.Thread(target=spin)
    thread.start()
    yield node
    executor.shutdown()
    rclpy.try_shutdown(context=context)
    thread.join()


@pytest.fixture
def start(domain: int) -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts `python -m MODULE ARGS...` on the run's domain; everything is ended afterwards."""
    started = []

    def popen(module: str, *args: object) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, '-m', module, *map(str, args)], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, 'ROS_DOMAIN_ID': str(domain)})
        started.append(process)
        return process

    yield popen
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()

