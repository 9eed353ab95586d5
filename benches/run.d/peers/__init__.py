"""The servers under test. Each module says how one of them is started as a good operator would; its configuration lies beside it."""

import contextlib
import pathlib

HERE = pathlib.Path(__file__).resolve().parent


def write_config(name, folder, **values):
    """Writes a configuration with its `@NAMES@` replaced; answers where it is."""
    text = (HERE / name).read_text()
    for key, value in values.items():
        text = text.replace(f"@{key.upper()}@", str(value))
    target = pathlib.Path(folder) / name
    target.write_text(text)
    return target


@contextlib.contextmanager
def started(*starts):
    """Starts servers one after the other; whatever happens, those that have started are ended."""
    with contextlib.ExitStack() as stack:
        servers = []
        for start in starts:
            server = start()
            stack.callback(server.close)
            servers.append(server)
        yield servers


def generic_caches(bench, tls=None, varnish=True):
    """Larder and the caches that can stand before any origin."""
    from peers.larder import Larder
    from peers.nginx import Nginx
    from peers.varnish import Varnish

    origin = bench.stage.url
    starts = [lambda: Larder(bench.binary, bench.place, origin, tls=tls), lambda: Nginx(bench.place, origin, tls=tls)]
    return started(*starts, *([lambda: Varnish(bench.place, origin)] if varnish else []))
