"""Runs a client again and again, for each line of orders in a child of its own: to import it takes longer than what is asked of it.

An order is a JSON object, and so is the answer to it: `succeeded`, and what the client `said`. The first argument names the client.
"""

import json
import os
import sys
import tempfile
import traceback


def pip():
    """An order has the `arguments` of its command line."""
    import pip._internal.commands.download
    from pip._internal.cli.main import main

    return lambda order: main(order["arguments"]) == 0


def hub():
    """An order has the `endpoint`, the `repository`, and one `file` of it or none for all of them, whose names are said."""
    from huggingface_hub import hf_hub_download, snapshot_download

    def run(order):
        place = {"repo_id": order["repository"], "endpoint": order["endpoint"], "cache_dir": "cache", "token": False}
        if order.get("file"):
            print(os.path.getsize(hf_hub_download(filename=order["file"], **place)))
        else:
            folder = snapshot_download(**place)
            # Of a list without a file no folder is made.
            print(*sorted(os.listdir(folder) if os.path.isdir(folder) else []), sep="\n")
        return True

    return run


def child(run, order, folder):
    """Carries an order out in `folder`, and never returns."""
    said = os.open(os.path.join(folder, "said"), os.O_WRONLY | os.O_CREAT)
    os.dup2(said, 1)
    os.dup2(said, 2)
    os.chdir(folder)
    succeeded = False
    try:
        succeeded = run(order)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0 if succeeded else 1)


def main():
    run = {"pip": pip, "hub": hub}[sys.argv[1]]()
    for line in sys.stdin:
        with tempfile.TemporaryDirectory() as folder:
            pid = os.fork()
            if pid == 0:
                child(run, json.loads(line), folder)
            _, status = os.waitpid(pid, 0)
            with open(os.path.join(folder, "said"), errors="replace") as said:
                answer = {"succeeded": status == 0, "said": said.read()}
        print(json.dumps(answer), flush=True)


main()
