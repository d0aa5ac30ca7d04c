# SPDX-License-Identifier: Apache-2.0
"""The lifecycle node: wiring of parameters, models, workers, services and topics."""

import gc
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from pixelrefer_model.errors import PixelReferError
from pixelrefer_ros import models, optional, parameters, shutdown, target_frame
from pixelrefer_ros.camera_output import CameraOutput
from pixelrefer_ros.cameras import Cameras
from pixelrefer_ros.connections import Connections
from pixelrefer_ros.counters import Counters
from pixelrefer_ros.diagnostics import ERROR, OK, WARN, Diagnostics, Status
from pixelrefer_ros.health import pipeline_statuses
from pixelrefer_ros.machine import cuda_values, machine_values
from pixelrefer_ros.objects import ObjectTable
from pixelrefer_ros.parameters import Settings
from pixelrefer_ros.pipeline import Pipeline
from pixelrefer_ros.publishing import Publishing
from pixelrefer_ros.services import Services
from pixelrefer_ros.worker import shutting_down

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class PixelReferNode(LifecycleNode):
    """Tracks selected objects in a camera's images and answers questions about them.

    configure loads the models; a checkpoint that cannot be used fails it, with the reason in the
    log and in /diagnostics, and it may be tried again. activate subscribes; deactivate answers
    what waits and joins the workers; cleanup frees the models.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__('pixelrefer', **options)
        self._engine: Any = None
        #: Ends the engine's memory: what waits is written.
        self._memory = ExitStack()
        self._pipeline: Pipeline | None = None
        self._ending = False
        #: Held through a transition and through the end, which may come in the middle of one.
        self._changing = threading.RLock()
        self._tuning = threading.Lock()
        self._watched_before = False
        self._phase = 'unconfigured'
        self._problem = ''
        parameters.declare(self, lambda: self._phase == 'unconfigured', self._tuned)
        self.settings = Settings.read(self)
        self.counters = Counters()
        self.table = ObjectTable(self.settings.max_objects)
        self.publishing = Publishing(self, self.table)
        #: By camera; made anew when the node is configured.
        self._outputs: dict[str, CameraOutput] = {}
        self._seen: dict[str, Counters] = {}
        self._served = Services(
            self, self._active_pipeline, lambda: self.table.epoch, self.publishing,
            self.settings.stream_goals)
        #: Callbacks that may wait for an answer at a time, each in a thread of the executor.
        self.waiting_callbacks = self.settings.stream_goals
        self._connections = Connections(self)
        self._missing = optional.missing()
        if self._missing:
            self.get_logger().info(self._missing)
        self._reporting = Diagnostics(self, self.settings.diagnostics_period, self._statuses)

    # --- lifecycle

    def start(self) -> None:
        """With `autostart`, configure and activate."""
        if self.settings.autostart and self.trigger_configure() == SUCCESS:
            self.trigger_activate()

    def finish(self) -> None:
        """Answer what waits, join the workers, let go of the models."""
        self._ending = True
        with self._changing:
            self._stop()
            self._free()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        with self._changing:
            return FAILURE if self._ending else self._configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        with self._changing:
            return FAILURE if self._ending else self._activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        with self._changing:
            return self._released('deactivated', self._stop) or super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        with self._changing:
            return self._released('cleaned up', self._free) or super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        with self._changing:
            return self._released('shut down', self._stop, self._free) or super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._problem = f'{self._problem or "a transition failed"}; configure the node again'
        self.get_logger().error(self._problem)
        with self._changing:
            super().on_deactivate(state)  # publishers too, whatever the failed transition got to
            self._stop()
            self._free()
        return SUCCESS

    def _configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._phase, self._problem = 'loading the models', ''
        try:
            self.settings = Settings.read(self)
            self._reporting.period = self.settings.diagnostics_period
            target_frame.check(self.settings.target_frame)
            self._engine = models.load(self.settings)
            self._memory = models.remembering(self._engine, self.settings)
            # A live parameter may have been set meanwhile.
            models.tune(self._engine, self.settings)
            self.publishing.configure(
                self.settings, models.name_of(self.settings.tracker_model))
            self.publishing.lateness.clear()
            cameras = Cameras(tuple(self.settings.cameras))
            self._seen = {name: Counters() for name in cameras.names}
            for name in cameras.names:
                self._outputs[name] = CameraOutput(self, cameras, name, self.publishing)
            # Models and libraries stay, and are many: whenever Python looked through them all for
            # garbage the tracker would stand still, for 0.35 s on two cores.
            gc.collect()
            gc.freeze()
        except Exception as error:  # edge of the transition: the node stays, to be tried again
            self._free()
            self._phase = 'unconfigured'
            return self._failed('configured', error)
        self.table.most = self.settings.max_objects
        self._phase = 'inactive'
        self.get_logger().info(
            f'configured: tracker {self.settings.tracker_model}, refer {self.settings.refer_model} '
            f'on {self.settings.device}')
        return super().on_configure(state)

    def _activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._problem = ''
        result = super().on_activate(state)
        try:
            pipeline = Pipeline(
                self, self._engine, self.settings, self.table, self.publishing, self._outputs,
                self.counters, self._seen,
                refer_model=models.name_of(self.settings.refer_model))
            if self._watched_before:
                # Where the objects are now is not known, and stamps may have begun anew.
                pipeline.begin_epoch('the node was activated again')
            self._watched_before = True
            self._pipeline = pipeline.__enter__()
            self._tuned()  # what was set meanwhile
        except Exception as error:  # edge of the transition: the node stays, to be tried again
            super().on_deactivate(state)
            return self._failed('activated', error)
        self._phase = 'active'
        self.get_logger().info('active: listening to ' + ', '.join(
            stream.topic for stream in pipeline.streams.values()))
        return result

    def _failed(self, what: str, error: Exception) -> TransitionCallbackReturn:
        """Say why a transition failed: in the log, in /diagnostics and to whoever asks."""
        said = error.message if isinstance(error, PixelReferError) else (
            f'{type(error).__name__}: {error}')
        self._problem = f'not {what}: {said}'
        self.get_logger().error(f'not {what}: ' + (
            str(error) if isinstance(error, PixelReferError) else traceback.format_exc()))
        # The sentence is enough for a wrong file; what a library raised behind it may not be.
        self.get_logger().debug(traceback.format_exc())
        return FAILURE

    def _released(self, what: str, *releases: Callable[[], None]
                  ) -> TransitionCallbackReturn | None:
        """Let go of something; ERROR where that fails, since rclpy would not say why."""
        try:
            for release in releases:
                release()
        except Exception as error:  # edge of the transition: on_error comes next
            self._failed(what, error)
            return TransitionCallbackReturn.ERROR
        return None

    def _stop(self) -> None:
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is not None:
            self._phase = 'inactive'
            pipeline.__exit__(None, None, None)

    def _free(self) -> None:
        if self._engine is None:
            return
        before = cuda_values(self.settings.device)
        self._memory.close()
        self._engine, self._phase = None, 'unconfigured'
        for output in self._outputs.values():
            output.__exit__(None, None, None)
        self._outputs = {}
        self.table.clear()
        gc.unfreeze()
        gc.collect()
        # PyTorch keeps freed memory of the device for itself, unless it is told.
        torch = sys.modules.get('torch')
        if torch is not None and torch.cuda.is_available():
            torch.cuda.empty_cache()
        if before:
            self.get_logger().info(
                'GPU memory held: {gpu_memory_held_mib:.0f} MiB before the clean-up, '.format(**before)
                + '{gpu_memory_held_mib:.0f} MiB after it'.format(
                    **cuda_values(self.settings.device)))

    def _tuned(self) -> None:
        """A parameter was set: those that are live take effect, the others wait to be read."""
        if self._phase == 'unconfigured':
            return
        # By several threads, of which one that read earlier must not write later.
        with self._tuning:
            self.settings = Settings.read(self)
            self._reporting.period = self.settings.diagnostics_period
            self.publishing.configure(self.settings, models.name_of(self.settings.tracker_model))
            engine, pipeline = self._engine, self._pipeline
            if engine is not None:
                models.tune(engine, self.settings)
            if pipeline is not None:
                pipeline.settings = self.settings

    def _active_pipeline(self) -> Pipeline:
        """The pipeline. Raises PixelReferError NOT_ACTIVE or SHUTTING_DOWN."""
        if self._ending:
            raise shutting_down()
        pipeline = self._pipeline
        if pipeline is None:
            raise PixelReferError(
                'NOT_ACTIVE', f'the node is {self._phase}; requests are allowed while it is '
                f'active{": " + self._problem if self._problem else ""}')
        return pipeline

    # --- diagnostics

    def _statuses(self) -> list[Status]:
        pipeline, unmatched = self._pipeline, self._connections.check()
        statuses = [Status(
            'node', ERROR if self._problem else OK, self._problem or self._phase,
            {'epoch': self.table.epoch, 'tracker_model': self.settings.tracker_model,
             'refer_model': self.settings.refer_model, 'device': self.settings.device,
             'lockstep': self.settings.lockstep, 'not_installed': self._missing}),
            Status('machine', OK, 'memory and temperature',
                   machine_values(self.settings.device)),
            Status('connections', WARN if unmatched else OK,
                   '; '.join(unmatched) or 'who is on a topic is reached', {})]
        return statuses + (pipeline_statuses(pipeline) if pipeline is not None else [])


def main(args: list[str] | None = None) -> None:
    """Run the node until SIGINT or SIGTERM."""
    shutdown.run(PixelReferNode, args)


if __name__ == '__main__':
    main()
