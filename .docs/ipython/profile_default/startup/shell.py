"""Read by IPython where the pages run: a shell command that fails, fails its page."""

shell = get_ipython()  # type: ignore[name-defined] # noqa: F821


def _checked(command: str) -> None:
    shell.system_piped(command)
    if shell.user_ns["_exit_code"]:
        raise RuntimeError(f"exit status {shell.user_ns['_exit_code']}: {command}")


shell.system = _checked
