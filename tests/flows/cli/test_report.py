"""`glassplate report` writes the page of a result or of a job, and says where."""

from glassplate.pipeline.pages.html import is_page


def test_a_result_has_its_page_beside_it(gp, done):
    run = gp("report", done)
    assert run.code == 0
    page = done.with_name("done.report.html")
    assert run.out.strip() == str(page)
    assert is_page(page)
    run = gp("report", done, "-o", done.with_name("other.html"))
    assert is_page(done.with_name("other.html"))


def test_a_job_has_its_table_in_its_folder(gp, done, tmp_path):
    job = tmp_path / "job.yaml"
    job.write_text(f"inputs: none*.fits\noutput: {tmp_path}\n")
    run = gp("report", job, "--pages")
    assert run.code == 0
    assert run.out.split() == [
        str(done.with_name("done.report.html")),
        str(tmp_path / "report.html"),
    ]
    assert "done.report.html" in (tmp_path / "report.html").read_text()


def test_what_is_neither_is_refused(gp, sky, done):
    run = gp("report", sky)
    assert run.code == 2
    assert "neither a result nor a job" in run.err
    run = gp("report", done, "--pages")
    assert run.code == 2
    assert "leave --pages out" in run.err
    target = sky.with_suffix(".html")
    target.write_text("mine")
    assert gp("report", done, "-o", target).code == 2
    assert gp("report", done, "-o", target, "--overwrite").code == 0
