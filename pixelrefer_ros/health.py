# SPDX-License-Identifier: Apache-2.0
"""What /diagnostics says of a running pipeline: a status for each camera and each worker."""

from pixelrefer_ros.camera_stream import CameraStream
from pixelrefer_ros.diagnostics import ERROR, OK, WARN, Status, camera_status
from pixelrefer_ros.pipeline import Pipeline
from pixelrefer_ros.transport import trouble_with

MIB = 1 << 20


def pipeline_statuses(pipeline: Pipeline) -> list[Status]:
    """The state of every part."""
    count, streams = pipeline.counters, list(pipeline.streams.values())
    seen = [stream.counters for stream in streams]
    observations, token_bytes = pipeline.engine.memory.held()
    objects, questions = len(pipeline.table.entries()), pipeline.language.waiting
    return [
        *(_camera('camera' if len(streams) == 1 else f'camera {stream.name}', stream)
          for stream in streams),
        Status('tracker', *pipeline.tracker.failures.verdict(_many(objects, 'object')),
               {'objects': objects,
                'tracking_rate_hz': sum(one.rate('tracked') for one in seen),
                'tracking_latency_ms': 1000 * max(one.latency('tracked') for one in seen),
                'prompts_waiting': pipeline.tracker.waiting}),
        *([] if pipeline.detection is None else [Status(
            'detector', *pipeline.detection.failures.verdict('looking for what prompts name'),
            {'detections': count['detected'],
             'detection_latency_ms': 1000 * count.latency('detected'),
             'words_looked_for': int(pipeline.detection.looking),
             'words_waiting': pipeline.detection.waiting})]),
        Status('encoder', *pipeline.encoder.failures.verdict(
            _many(observations, 'observation') + ' held'),
               {'observations_made': count['observations'],
                'observations_held': observations, 'token_mib': token_bytes / MIB,
                'keyframes_waiting': pipeline.encoder.waiting,
                'keyframes_superseded': count['superseded'],
                'encoding_latency_ms': 1000 * count.latency('encoded')}),
        Status('language', *pipeline.language.failures.verdict(
            _many(questions, 'question') + (' waits' if questions == 1 else ' wait')),
               {'answers': count['answered'], 'unanswered': count['unanswered'],
                'answer_latency_ms': 1000 * count.latency('answered'),
                'questions_waiting': questions}),
        memory_status(pipeline),
        Status('bond', WARN if pipeline.bond.lost else OK, pipeline.bond.state, {}),
        Status('lateness', OK, 'medians of what was published', dict(
            pipeline.lateness.figures())),
    ]


def memory_status(pipeline: Pipeline) -> Status:
    """Whether what is observed is remembered, and how much that is."""
    memory, mode = pipeline.engine.memory, pipeline.settings.memory
    recorder = getattr(memory, 'recorder', None)
    if recorder is None:
        return Status('memory', OK, 'none: no more than the newest observation is kept'
                      if mode == 'none' else mode, {})
    size = recorder.store.bytes()
    return Status(
        'memory', ERROR if recorder.problem else OK,
        recorder.problem or f'{mode}, {size / MIB:.0f} of {recorder.bounds.bytes // MIB} MiB',
        {'memory_mib': size / MIB, 'memory_objects': recorder.store.count('objects'),
         'memory_observations': recorder.store.count('observations'),
         'records_written': recorder.written, 'records_dropped': recorder.dropped,
         'observations_let_go': recorder.trimmed})


def _camera(part: str, stream: CameraStream) -> Status:
    frames, frame_bytes = stream.ring.held()
    count = stream.counters
    trouble = stream.unpublished or trouble_with(stream.camera.largest)
    stream.silence.check(stream.camera.quiet, trouble)
    return camera_status(part, stream.camera.quiet, {
        'frames_seen': count['seen'], 'frames_tracked': count['tracked'],
        'frames_dropped': stream.dropped, 'frames_rejected': count['rejected'],
        'frames_out_of_order': count['out_of_order'], 'frames_failed': count['failed'],
        'ring_frames': frames, 'ring_mib': frame_bytes / MIB}, trouble)


def _many(number: int, what: str) -> str:
    return f'{number or "no"} {what}' + ('' if number == 1 else 's')
