"""What a page says of a result: noise, figures, where it comes from, and the command to make it again."""

from __future__ import annotations

import shlex
from pathlib import Path

from glassplate.pipeline.pages.shown_result import ShownResult
from glassplate.pipeline.provenance.folder import provenance_path
from glassplate.pipeline.provenance.identity import FileIdentity
from glassplate.pipeline.provenance.manifest import Manifest
from glassplate.pipeline.run.summary import summary_warnings
from glassplate.pipeline.text import amount, duration, number, plural, printable

Facts = list[tuple[str, str]]
"""Lines of a table: what it is, and its value."""


def noise_facts(shown: ShownResult) -> Facts:
    """What the noise of the input was taken for."""
    plan, summary, unit = shown.manifest.plan, shown.manifest.final_summary, shown.result.unit
    noise = plan.noise
    facts = [
        ("In words", noise_words(shown.manifest)),
        ("Where it comes from", summary.noise_model),
    ]
    if noise.floor + noise.slope > 0:
        facts.append(("Standard deviation of dark pixels", number(noise.floor**0.5, unit)))
    if noise.slope > 0:
        facts.append(("Variance for each unit of light", number(noise.slope)))
    if plan.noise_found is not None:
        found = plan.noise_found
        facts.append(("Correlation of neighbours", number(noise.lag1)))
        facts.append(("Side of a grain", f"{number(found.grain)} pixels"))
        facts.append(("Share of the image that shows little but noise", f"{found.flat:.0%}"))
    facts += [(line.split(",")[0], line) for line in summary.companions]
    return facts


def noise_words(manifest: Manifest) -> str:
    """The noise as it was found, or what was given."""
    found, noise = manifest.plan.noise_found, manifest.plan.noise
    if found is not None:
        return found.words
    if noise.floor + noise.slope <= 0:
        return f"none was measured ({noise.origin})"
    return f"a standard deviation of {number(noise.floor**0.5)} in dark pixels ({noise.origin})"


def figure_facts(shown: ShownResult) -> Facts:
    """The figures of the result."""
    summary, unit = shown.manifest.final_summary, shown.result.unit
    facts = [
        ("Noise in flat places, before", number(summary.noise_before, unit)),
        ("Noise in flat places, after", number(summary.noise_after, unit)),
        ("Iterations of a tile", f"{summary.iterations:.0f} on average"),
        ("Time of the fits", duration(summary.fit_seconds)),
    ]
    if summary.chi2 is not None:
        chi2 = summary.chi2
        facts.insert(
            2,
            (
                "chi2 of the tiles",
                f"{number(chi2.median)}, and {number(chi2.low)} to {number(chi2.high)} in nine of ten; 1 is "
                "expected",
            ),
        )
    counted = (
        ("Filled", summary.filled_pixels, "pixel"),
        ("Like rays, kept as measured", summary.kept_rays, "pixel"),
        ("Wild, taken for invalid", summary.wild_pixels, "pixel"),
        ("Faint sources given back", summary.guarded_pixels, "pixel"),
    )
    return facts + [(name, plural(count, noun)) for name, count, noun in counted if count]


def provenance_facts(shown: ShownResult) -> Facts:
    """Where the result comes from."""
    manifest = shown.manifest
    source, sessions = manifest.identity.source, manifest.sessions
    facts = [
        ("Input", printable(source.path)),
        ("SHA-256 of the input", source.sha256),
        ("Size of the input", amount(source.bytes)),
        ("Recipe", f"{manifest.recipe_name} ({manifest.recipe['task']})"),
        ("Run", manifest.run_id),
        ("Begun", manifest.created),
        ("Device", f"{manifest.plan.numerics.device}, {manifest.plan.numerics.precision}"),
        ("Seed", str(manifest.recipe.get("seed", 0))),
        ("Versions", ", ".join(f"{k} {v}" for k, v in manifest.identity.versions.items())),
    ]
    if sessions:
        machine = sessions[-1].machine
        processor = ", ".join(machine.gpus) or machine.processor
        facts.append(("Machine", f"{machine.host}, {processor}, Python {machine.python}"))
        facts.append(("Ended", sessions[-1].ended or "unknown"))
        if len(sessions) > 1:
            facts.append(("Resumed", plural(len(sessions) - 1, "time")))
    facts += [("Export", printable(record.path)) for record in manifest.exports]
    return facts


def command_again(shown: ShownResult) -> str:
    """The command that makes the result again, under another name."""
    manifest, store = shown.manifest, shown.store.absolute()
    identity = manifest.identity
    words = ["glassplate", "restore", identity.source.path]
    words += ["-o", str(store.with_name(f"{store.stem}-again.zarr"))]
    words += ["--recipe", str(provenance_path(store, "recipe.yaml"))]
    if identity.hdu is not None:
        words += ["--hdu", str(identity.hdu)]
    if identity.page is not None:
        words += ["--page", str(identity.page)]
    for role in ("mask", "variance", "psf", "guide", "hints", "overlay"):
        file = identity.file(role)
        # what was found by name is found again
        if file is not None and role not in identity.found:
            option = identity.noise_kind if role == "variance" else role
            words += [f"--{option}", _named(file)]
    for exposure in identity.exposures:
        words += ["--exposure", _named(exposure)]
    if manifest.plan.donor is not None:
        words += ["--donor", manifest.plan.donor.store]
    words += ["--device", manifest.plan.numerics.device]
    return shlex.join(words)


def _named(file: FileIdentity) -> str:
    return file.path if file.extension is None else f"{file.path}[{file.extension}]"


def result_warnings(shown: ShownResult) -> list[str]:
    """What a person should know before they use the result, one sentence each."""
    manifest, summary = shown.manifest, shown.manifest.final_summary
    path = Path(manifest.identity.source.path)
    denoised = shown.traits.denoises and not manifest.plan.removes_nothing
    warnings = [
        *manifest.plan.warnings,
        *summary_warnings(path, summary, denoised=denoised, planned=manifest.plan.warnings),
    ]
    if summary.quarantined:
        warnings.append(
            f"{len(summary.quarantined)} of {plural(manifest.tiles, 'tile')} could not be restored and are "
            "invalid; give the same command again to try them once more"
        )
    return [printable(warning.removeprefix(f"{path}: ")) for warning in warnings]
