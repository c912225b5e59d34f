"""MirrorMaker 2 is killed around an unplanned switch, and comes back with the lost cluster."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from application import Application
from disaster import back_and_forth, give_up_left, switched, work_on, work_on_up_to


@pytest.fixture
def flowing(app: Application) -> Iterator[Application]:
    """An application at work; whatever was killed runs again afterwards."""
    app.produce(2, rate=300)
    app.consume(2, commit="batch")
    app.wait_flowing()
    try:
        yield app
    finally:
        for name in app.lab.names:
            app.lab.start(name)


def come_back(app: Application) -> None:
    """LEFT and the mirror, which starts only when both clusters answer; then there and back."""
    app.lab.start("LEFT")
    app.lab.start("mm2")
    back_and_forth(app, "LEFT", "RIGHT")
    verdict = app.finish()
    assert verdict.ok, verdict.to_json()


def test_the_mirror_dies_before_the_cluster_that_it_copies(
    flowing: Application, chance: random.Random
) -> None:
    """All that was written since is nowhere else: the producers write it again."""
    flowing.lab.kill("mm2")
    lost = give_up_left(flowing, chance)
    assert lost.measured["replayed"] > 0, lost
    come_back(flowing)


def test_the_mirror_dies_during_the_switch(flowing: Application, chance: random.Random) -> None:
    flowing.lab.kill("LEFT")
    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(flowing.emergency, "RIGHT")
        work_on_up_to(1.5, chance)
        flowing.lab.kill("mm2")
        switched(going.result(60))
    come_back(flowing)


def test_the_mirror_dies_after_the_switch_and_again_after_it_has_copied_on(
    flowing: Application, chance: random.Random
) -> None:
    """What it had not noted as copied it sends again, behind the end of the lost epoch too."""
    give_up_left(flowing, chance)
    flowing.lab.kill("mm2")
    flowing.lab.start("LEFT")
    flowing.lab.start("mm2")
    work_on(1.0)
    flowing.lab.kill("mm2")
    come_back(flowing)
