# SPDX-License-Identifier: Apache-2.0
"""A reply that another thread makes later arrives with nothing else on the wire: no timer, no
parameters, no log topic that would wake the executor."""

import queue
import threading
from collections.abc import Iterator

import pytest
import rclpy
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from ros_support import WATCHDOG

from pixelrefer.srv import RemoveObjects
from pixelrefer_ros.demo.processes import own_domain
from pixelrefer_ros.replies import LateService, Reply

QUIET = {'enable_rosout': False, 'start_parameter_services': False}


def spin(executor) -> None:
    try:
        executor.spin()
    except ExternalShutdownException:
        return


@pytest.fixture(params=[SingleThreadedExecutor, lambda context: MultiThreadedExecutor(
    2, context=context)], ids=['one thread', 'two threads'])
def asked(request) -> Iterator[tuple[queue.Queue, object]]:
    """Replies that wait to be sent, as they come in, and a client that asks for them."""
    with own_domain() as domain:
        context = rclpy.Context()
        rclpy.init(context=context, domain_id=domain,
                   signal_handler_options=SignalHandlerOptions.NO)
        replies: queue.Queue[tuple[str, Reply]] = queue.Queue()
        server = rclpy.create_node('server', context=context, **QUIET)
        LateService(server, RemoveObjects, 'late',
                    lambda request, reply: replies.put((request.ids[0], reply)),
                    ReentrantCallbackGroup())
        client_node = rclpy.create_node('client', context=context, **QUIET)
        client = client_node.create_client(RemoveObjects, 'late')
        executors = [request.param(context=context), SingleThreadedExecutor(context=context)]
        threads = []
        for executor, node in zip(executors, (server, client_node)):
            executor.add_node(node)
            threads.append(threading.Thread(target=spin, args=(executor,)))
            threads[-1].start()
        assert client.wait_for_service(WATCHDOG)
        try:
            yield replies, client
        finally:
            for executor in executors:
                executor.shutdown()
            rclpy.try_shutdown(context=context)
            for thread in threads:
                thread.join()


def ask(client, name: str = '') -> tuple[threading.Event, object]:
    done = threading.Event()
    future = client.call_async(RemoveObjects.Request(ids=[name]))
    future.add_done_callback(lambda _: done.set())
    return done, future


def test_replies_of_another_thread_arrive_on_a_quiet_wire(asked):
    replies, client = asked
    for number in range(100):
        done, future = ask(client)
        _, reply = replies.get(timeout=WATCHDOG)
        reply.response.epoch = number
        reply.send(reply.response)
        assert done.wait(WATCHDOG) and future.result().epoch == number


def test_replies_may_come_in_another_order_than_the_requests(asked):
    replies, client = asked
    waiting = [ask(client, str(number)) for number in range(5)]
    # Two threads of an executor may hand requests over in any order: each says which it is.
    held = dict(replies.get(timeout=WATCHDOG) for _ in waiting)
    for number in (3, 0, 4, 2, 1):
        reply = held[str(number)]
        assert not reply.answered
        reply.response.epoch = 10 + number
        assert reply.send(reply.response)
    assert all(done.wait(WATCHDOG) for done, _ in waiting)
    assert [future.result().epoch for _, future in waiting] == [10, 11, 12, 13, 14]


def test_only_the_first_answer_of_a_request_counts(asked):
    replies, client = asked
    done, future = ask(client)
    _, reply = replies.get(timeout=WATCHDOG)
    first, second = RemoveObjects.Response(epoch=1), RemoveObjects.Response(epoch=2)
    assert reply.send(first) and not reply.send(second)
    assert done.wait(WATCHDOG) and future.result().epoch == 1
