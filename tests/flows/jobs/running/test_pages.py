"""The page of a job is written as it goes, and pages of images where the job asks for them."""

import logging

import pytest
from assessed import made_result, starry_sky

from glassplate.flows.jobs.job import Job
from glassplate.flows.jobs.running import pages
from glassplate.flows.jobs.running.pages import JobPage, write_reports
from glassplate.flows.report.job_log import JobLog
from glassplate.pipeline.export.own_files import is_own_png
from glassplate.pipeline.pages.html import is_page


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Messages(logging.Handler):
    def __init__(self):
        super().__init__()
        self.texts = []

    def emit(self, record):
        self.texts.append(record.getMessage())


@pytest.fixture
def messages():
    return Messages()


@pytest.fixture
def log(messages):
    logger = logging.Logger("test")
    logger.addHandler(messages)
    return JobLog(logger)


def test_a_page_is_written_when_a_period_is_over(tmp_path, log):
    clock = Clock()
    page = JobPage(tmp_path, log, clock)
    made_result(tmp_path, starry_sky(), starry_sky())
    target = tmp_path / "report.html"
    page.image_ended()
    assert not target.exists()
    clock.now += pages.PERIOD_S
    page.image_ended()
    assert is_page(target)
    target.unlink()
    page.image_ended()
    assert not target.exists()


def test_a_slow_page_is_written_less_often(tmp_path, log, monkeypatch):
    clock, written = Clock(), []

    def slow(folder):
        clock.now += 60
        written.append(clock.now)
        return folder

    monkeypatch.setattr("glassplate.pipeline.pages.job_page.write_job_page", slow)
    page = JobPage(tmp_path, log, clock)
    for _ in range(10_000):
        clock.now += 1
        page.image_ended()
    assert len(written) * 60 <= 2 * pages.MOST_SHARE * clock.now


def test_the_page_of_another_stays_and_the_log_says_so(tmp_path, log, messages):
    made_result(tmp_path, starry_sky(), starry_sky())
    (tmp_path / "report.html").write_text("mine")
    assert JobPage(tmp_path, log).write() is None
    assert (tmp_path / "report.html").read_text() == "mine"
    (said,) = messages.texts
    assert "not written by glassplate" in said


def test_reports_are_beside_the_result_and_a_fault_is_a_warning(tmp_path):
    store, said = made_result(tmp_path, starry_sky(), starry_sky()), []
    write_reports(store, ("html", "png"), said.append)
    assert is_page(store.with_name(f"{store.stem}.report.html"))
    assert is_own_png(store.with_name(f"{store.stem}.report.png"))
    assert said == []
    store.with_name(f"{store.stem}.report.png").write_bytes(b"mine")
    write_reports(store, ("png",), said.append)
    assert "not written by glassplate" in said[0].message


@pytest.mark.parametrize(
    ("given", "taken"), [("html", ("html",)), (["png", "html"], ("png", "html")), ([], ())]
)
def test_a_job_asks_for_one_or_more(given, taken):
    assert Job(inputs="a.fits", output="out", reports=given).reports == taken
