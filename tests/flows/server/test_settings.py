from glassplate.flows.server import settings


def test_telemetry_is_off_and_the_home_is_our_own(environment):
    environment["HOME"] = "/home/ada"
    settings.apply_settings()
    assert environment["DO_NOT_TRACK"] == "1"
    assert environment["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert environment["PREFECT_HOME"] == "/home/ada/.glassplate/prefect"
    assert environment["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] == "CRITICAL"
    assert environment["NO_PROXY"] == environment["no_proxy"] == "127.0.0.1"


def test_settings_of_the_user_are_kept(environment):
    given = {
        "PREFECT_HOME": "/srv/prefect",
        "PREFECT_LOGGING_LEVEL": "DEBUG",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "7",
        "NO_PROXY": "intranet,127.0.0.1",
    }
    environment.update(given)
    settings.apply_settings()
    assert given.items() <= environment.items()
    assert "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL" not in environment


def test_settings_are_known_to_prefect():
    """Prefect would silently ignore a setting that it has renamed."""
    import prefect.settings

    ours = [key for key in settings.SETTINGS if key.startswith("PREFECT_")]
    assert [key for key in ours if not hasattr(prefect.settings, key)] == []
    assert not hasattr(prefect.settings, "PREFECT_NO_SUCH_SETTING")
