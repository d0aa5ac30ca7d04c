# SPDX-License-Identifier: Apache-2.0
"""The node's parameters: typed, described, ranged. They are read when the node is configured, but
for the live ones and those that are read at its start."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult)
from rclpy.node import Node
from rclpy.parameter import Parameter

from pixelrefer_ros.cameras import trouble_with_names

TRANSPORTS = ('raw', 'compressed')
DTYPES = ('float32', 'bfloat16', 'float16')
#: `off` would be a truth value in YAML.
MEMORIES = ('none', 'ram', 'disk')
KEYFRAMES = ('interval', 'change', 'events')


@dataclass(frozen=True)
class Rule:
    """What a parameter may be. low, high: bounds, both included; choices: the words allowed; live:
    whether it may change at any time; fixed: whether never, once the node has started;
    wrong(value): a sentence, where neither of these says what is allowed."""

    default: Any
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False
    fixed: bool = False
    wrong: Callable[[Any], str] = lambda _value: ''

    def trouble(self, name: str, value: Any) -> str:
        """What is wrong with a value, in a sentence; empty: nothing. ROS itself refuses what is
        out of range."""
        if self.choices and value not in self.choices:
            return f'{name} is {value!r}; {", ".join(self.choices)} are allowed'
        return self.wrong(value)

    @property
    def descriptor(self) -> ParameterDescriptor:
        """The rule in ROS's terms, so that a bad value is refused before it comes here."""
        when = ('may be set at any time' if self.live else 'read when the node starts'
                if self.fixed else 'may be set while the node is unconfigured')
        descriptor = ParameterDescriptor(
            description=self.description, read_only=self.fixed, additional_constraints='; '.join(
                [*(['one of: ' + ', '.join(self.choices)] if self.choices else []), when]))
        if self.low is not None and isinstance(self.default, int):
            descriptor.integer_range = [IntegerRange(
                from_value=int(self.low), to_value=int(self.high), step=1)]
        elif self.low is not None:
            descriptor.floating_point_range = [FloatingPointRange(
                from_value=float(self.low), to_value=float(self.high), step=0.0)]
        return descriptor


def _wrong_keyframes(names: list[str]) -> str:
    bad = [name for name in names if name not in KEYFRAMES]
    if bad or not names:
        return f'keyframes is {list(names)}; one or more of {", ".join(KEYFRAMES)} are allowed'
    return ''


RULES: dict[str, Rule] = {
    'autostart': Rule(True, 'Configure and activate at start, without a lifecycle manager.',
                      fixed=True),
    'cameras': Rule(['camera'], 'Names of the cameras. With several of them each has its topics '
                    'below its name (NAME/image, ~/NAME/objects), and ids begin with it '
                    '(NAME:mug).', wrong=trouble_with_names),
    'image_transport': Rule('raw', 'Subscribe to `image` or to `image/compressed`.',
                            choices=TRANSPORTS),
    'depth_transport': Rule('raw', 'Subscribe to `depth` or to `depth/compressedDepth`.',
                            choices=TRANSPORTS),
    'tracker_model': Rule('tiny', 'SAM 2 checkpoint: `tiny` (packaged), a folder, a .pt file, or '
                          'a name that was downloaded.'),
    'refer_model': Rule('tiny', 'PixelRefer checkpoint: `tiny` (packaged), a folder, or a name '
                        'that was downloaded.'),
    'detector_model': Rule('', 'Detector of what a prompt names in words: `tiny` (of the packaged '
                           'models, for the small world), a folder with a Grounding DINO or an '
                           'OWLv2, or a name that was downloaded; empty: none.'),
    'detector_score': Rule(0.0, 'Least score of what words select; less is UNSURE_MATCH; 0: as '
                           'suits the detector.', 0.0, 1.0),
    'detector_margin': Rule(0.0, 'How much less the next best has to score, or it is '
                            'SEVERAL_MATCHES; 0: as suits the detector.', 0.0, 1.0),
    'tracker_input_size': Rule(0, 'Side in pixels of the image that the tracker sees, a multiple '
                               'of 32 from 64 on; less is faster and loses small objects; 0: as '
                               'its checkpoint says (the released ones 1024).', 0, 4096),
    'tracker_memory_frames': Rule(0, 'Frames since its prompt that the tracker attends to for each '
                                  'object; 0: as many as its checkpoint was trained with.', 0, 64),
    'tracker_memory_stride': Rule(1, 'Of the frames in which an object was well seen the tracker '
                                  'attends to the newest and to every so-many-th before it: more '
                                  'reach further back at the same cost.', 1, 100),
    'tracker_compile': Rule(False, 'Compile the tracker\'s image encoder, on CUDA: configuring '
                            'takes a minute longer, tracking less; on other devices without '
                            'effect.'),
    'quantization': Rule('none', 'Of the language model\'s weights; needs torchao.',
                         choices=('none', 'int8', 'int4')),
    'attention': Rule('sdpa', 'Kernel of the vision tower\'s attention; flash needs CUDA, bfloat16 '
                      'or float16, and flash-attn.', choices=('sdpa', 'flash')),
    'cuda_graphs': Rule(False, 'Replay the language model\'s decode step as a CUDA graph: shorter '
                        'answer times for some memory; on other devices slower.'),
    'device': Rule('cpu', 'PyTorch device: cpu, cuda, cuda:0, ..., or auto: a CUDA GPU where there '
                   'is one.'),
    'dtype': Rule('float32', 'Type of the models\' numbers.', choices=DTYPES),
    'lockstep': Rule(False, 'Every frame in order, waiting for the tracker and the encoder, for '
                     'repeatable runs. The publisher has to be RELIABLE and KEEP_ALL: one that '
                     'keeps the last few overwrites frames that were not taken yet, and nobody '
                     'hears of it.'),
    'tracker_threads': Rule(0, 'CPU threads of the tracker; 0: half of the cores.', 0, 256),
    'encoder_threads': Rule(0, 'CPU threads of the encoder; 0: a quarter of the cores.', 0, 256),
    'language_threads': Rule(0, 'CPU threads of the language model; 0: a quarter of the cores.',
                             0, 256),
    'answers_give_way': Rule(0.1, 'Seconds that each token of an answer waits at most until the '
                             'frame in work is tracked, where both are on the CPU; 0: none.',
                             0.0, 60.0),
    'max_objects': Rule(32, 'Objects that may be tracked at a time.', 1, 1024),
    'keyframe_interval': Rule(0.5, 'Seconds of image time between observations of an object.',
                              0.0, 3600.0, live=True),
    'keyframes': Rule(['interval', 'events'], 'When an object is observed: `interval`, `change` '
                      '(of its mask, place or colour), `events` (it appeared, is back, moved, '
                      'stands still again, touched another).', live=True, wrong=_wrong_keyframes),
    'keyframe_apart': Rule(0.2, 'Seconds of image time between observations of an object at '
                           'least, whatever happens, or keyframe_interval where that is less.',
                           0.0, 3600.0, live=True),
    'keep_observations': Rule(32, 'Newest observations of each object that are kept at hand, the '
                              'oldest going first; the first one since its latest selection is '
                              'kept besides.', 1, 100_000),
    'memory': Rule('ram', 'What is remembered of objects: `none`, no more than the newest '
                   'observation while they are tracked; `ram`, until the node is cleaned up; '
                   '`disk`, in memory_folder, also after it ended.', choices=MEMORIES),
    'memory_folder': Rule('', 'Folder of the memory on disk, of one node at a time; empty: '
                          'pixelrefer/memory in $ROS_HOME (~/.ros).'),
    'memory_mib': Rule(0, 'MiB that the memory may hold: old detail goes before old objects; 0: '
                       '2048 on disk, 256 in RAM.', 0, 16_777_216),
    'memory_age': Rule(0.0, 'Seconds of image time after which an observation is let go of, but '
                       'for the first and the last of an object; 0: never.', 0.0, 1e9),
    'same_likeness': Rule(0.0, 'How alike a new object has to look to a remembered one, to be '
                          'offered as the same (MAYBE_SAME), and one that is back to what it was, '
                          'not to be doubted (MAYBE_OTHER): cosine of their tokens\' means; 0: as '
                          'was measured with the packaged checkpoint, and none with others.',
                          0.0, 1.0),
    'memory_observations': Rule(0, 'Observations remembered of each object; 0: any number.', 0,
                                10_000_000),
    'max_frames': Rule(4, 'Observations of one object in one question; with 1 a question about now '
                       'has no second look (now_looks).', 1, 64, live=True),
    'now_looks': Rule(0, 'Observations of each object that a question about now rests on: 1, the '
                      'newest that looks like it; 2, its first one as well, as it was selected; 0: '
                      'as the checkpoint was taught (the packaged one 2, released ones 1).', 0, 2,
                      live=True),
    'now_likeness': Rule(0.0, 'How alike an observation has to look to one before it, to count as '
                         'of the object where a question is about now: cosine of their tokens; '
                         '-1: the newest counts, whatever it shows; 0: as the checkpoint says '
                         '(the packaged one 0.55, released ones -1).',
                         -1.0, 1.0, live=True),
    'max_tokens': Rule(64, 'Tokens of an answer, where the request does not say.', 1, 2048,
                       live=True),
    'abstain_below': Rule(0.0, 'Answers of less confidence become "I cannot tell."; 0: none for '
                          'that reason.',
                          0.0, 1.0, live=True),
    'abstain_under_px': Rule(100, 'Answers about an object of which every observation that they '
                             'would rest on, of now the newest, has fewer pixels become "I cannot '
                             'tell."; 0: none for that reason.', 0, 1_000_000, live=True),
    'prefix_cache_mib': Rule(256, 'MiB of keys and values of past prompts, kept so that the next '
                             'question about the same objects costs only its own words; 0, and in '
                             'lockstep: none.',
                             0, 65_536),
    'temperature': Rule(0.0, 'Answers are drawn by chance, the more the higher; under 0.001: the '
                        'best token each time.', 0.0, 10.0, live=True),
    'top_p': Rule(0.9, 'With a temperature: only of the best tokens that have this probability '
                  'together.', 0.01, 1.0, live=True),
    'sampling_seed': Rule(0, 'With a temperature: the same seed gives the same answers.', 0,
                          2_147_483_647, live=True),
    'answer_deadline': Rule(30.0, 'Seconds to an answer, where the request does not say.', 0.01,
                            3600.0, live=True),
    'answer_batch': Rule(8, 'Questions that are decoded together at most; in lockstep only those '
                         'of one request.', 1, 64),
    'stream_goals': Rule(8, 'Goals of ~/ask_stream that may be under way; more are BUSY. Read at '
                         'start.', 1, 64, fixed=True),
    'question_queue': Rule(16, 'Requests for answers that may wait; more are BUSY.', 1, 1024),
    'prompt_queue': Rule(16, 'Requests to add objects that may wait, of each camera; more are '
                         'BUSY.', 1, 1024),
    'frame_ring_mib': Rule(128, 'MiB of recent frames of each camera that prompts may name.',
                           1, 65_536),
    'stamp_wait': Rule(0.5, 'Seconds that a prompt\'s stamp may lie after the newest frame, and '
                       'that are waited for it.', 0.0, 10.0),
    'click_corrects': Rule('', 'Id of the object that ~/click corrects, of the camera that sees it; '
                           'elsewhere, and if empty, a click selects a new object.', live=True),
    'click_label': Rule(1, 'Of a click that corrects: 1 on the object, 0 off it.', 0, 1, live=True),
    'facts_in_prompt': Rule(False, 'Tell the model, with a question about now, what depth says of '
                            'the objects: sizes, distances and how they lie to one another.',
                            live=True),
    'history_in_prompt': Rule(False, 'Tell the model, with a question, what happened to the objects '
                              'within its window, and when.', live=True),
    'depth_slop': Rule(0.02, 'Seconds that the stamp of a depth image may lie from that of the '
                       'image.', 0.0, 1.0),
    'measure_slop': Rule(0.1, 'Seconds that the depth images of two objects may lie apart, for '
                         '~/measure in target_frame: how far something moves meanwhile is how far '
                         'off the measure is.', 0.0, 10.0),
    'target_frame': Rule('', 'TF frame that positions are given in, one with z up as map, odom or '
                         'base_link; needs tf2_ros; empty: that of the depth image. An object for '
                         'which TF has no transform at the stamp of its depth image has no '
                         'position.'),
    'jump_backward': Rule(1.0, 'Seconds that stamps may step back (the frame is dropped); beyond, '
                          'a new epoch begins.', 0.0, 3600.0),
    'jump_forward': Rule(10.0, 'Seconds that stamps may run ahead of the time that went by; '
                         'beyond, a new epoch begins.', 0.1, 1e9),
    'publish_masks': Rule(False, 'Masks as run lengths in ~/objects.', live=True),
    'overlay_quality': Rule(80, 'JPEG quality of ~/overlay/compressed.', 1, 100, live=True),
    'bond_timeout': Rule(4.0, 'Seconds without a heartbeat after which a lifecycle manager and the '
                         'node count each other as gone, where bondpy is installed; 0: no bond.',
                         0.0, 3600.0),
    'diagnostics_period': Rule(1.0, 'Seconds between two /diagnostics.', 0.1, 60.0, live=True),
}


@dataclass(frozen=True)
class Settings:
    """The values of the parameters, see RULES."""

    autostart: bool
    cameras: list[str]
    image_transport: str
    depth_transport: str
    tracker_model: str
    refer_model: str
    detector_model: str
    detector_score: float
    detector_margin: float
    tracker_input_size: int
    tracker_memory_frames: int
    tracker_memory_stride: int
    tracker_compile: bool
    quantization: str
    attention: str
    cuda_graphs: bool
    device: str
    dtype: str
    lockstep: bool
    tracker_threads: int
    encoder_threads: int
    language_threads: int
    answers_give_way: float
    max_objects: int
    keyframe_interval: float
    keyframes: list[str]
    keyframe_apart: float
    keep_observations: int
    memory: str
    memory_folder: str
    memory_mib: int
    memory_age: float
    same_likeness: float
    memory_observations: int
    max_frames: int
    now_looks: int
    now_likeness: float
    max_tokens: int
    abstain_below: float
    abstain_under_px: int
    prefix_cache_mib: int
    temperature: float
    top_p: float
    sampling_seed: int
    answer_deadline: float
    answer_batch: int
    stream_goals: int
    question_queue: int
    prompt_queue: int
    frame_ring_mib: int
    stamp_wait: float
    click_corrects: str
    click_label: int
    facts_in_prompt: bool
    history_in_prompt: bool
    depth_slop: float
    measure_slop: float
    target_frame: str
    jump_backward: float
    jump_forward: float
    publish_masks: bool
    overlay_quality: int
    bond_timeout: float
    diagnostics_period: float

    @classmethod
    def read(cls, node: Node) -> 'Settings':
        """The parameters as they are now."""
        return cls(**{field.name: node.get_parameter(field.name).value for field in fields(cls)})


def declare(node: Node, may_change: Callable[[], bool], on_change: Callable[[], None]) -> None:
    """Declare every parameter of RULES; one that is set while `may_change()` is false and is not
    live, or to a word that is not allowed, is refused with the reason. on_change(): called after
    others were set."""
    for name, rule in RULES.items():
        node.declare_parameter(name, rule.default, rule.descriptor)

    def check(changes: list[Parameter]) -> SetParametersResult:
        for change in changes:
            rule = RULES.get(change.name)
            if rule is None:
                continue
            if said := rule.trouble(change.name, change.value):
                return SetParametersResult(successful=False, reason=said)
            if not rule.live and not may_change():
                return SetParametersResult(successful=False, reason=(
                    f'{change.name} is read when the node is configured; clean it up first'))
        return SetParametersResult(successful=True)

    for name, rule in RULES.items():
        if said := rule.trouble(name, node.get_parameter(name).value):
            raise ValueError(said)
    node.add_on_set_parameters_callback(check)
    node.add_post_set_parameters_callback(lambda _changes: on_change())
