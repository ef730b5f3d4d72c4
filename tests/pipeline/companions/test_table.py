"""Every companion of the table has its field, option, key of a job, and place in a run's identity."""

from dataclasses import fields
from typing import get_args, get_type_hints

import pytest

from glassplate.flows.cli import options
from glassplate.flows.cli.image_options import ImageOptions
from glassplate.flows.jobs.job import ImageSettings
from glassplate.pipeline.companions.table import COMPANIONS
from glassplate.pipeline.provenance.identity import RunIdentity
from glassplate.pipeline.sources.source import COMPANION_FIELDS, SourceSpec


def test_the_table_has_all_companions():
    assert sorted(one.role for one in COMPANIONS) == sorted(COMPANION_FIELDS)


@pytest.mark.parametrize("companion", COMPANIONS, ids=lambda one: one.role)
def test_each_is_known_everywhere(companion):
    for record in (SourceSpec, RunIdentity):
        assert companion.role in {field.name for field in fields(record)}
    assert companion.role in ImageSettings.model_fields
    [_, found] = get_args(
        get_type_hints(ImageOptions, vars(options), include_extras=True)[companion.role]
    )
    assert companion.option in (found.default, *(found.param_decls or ()))


def test_messages_name_a_companion_as_the_user_does(tmp_path):
    labels = {
        one.role: one.label(SourceSpec(tmp_path, noise_kind="sigma"), "a") for one in COMPANIONS
    }
    assert labels["variance"] == "sigma a"
    assert labels["exposures"] == "exposure a"
    assert labels["mask"] == "mask a"
